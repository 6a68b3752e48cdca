"""Engines of type `onnx`: small encoders that the tests make, against NumPy and Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data
from PIL import Image

import pipeline
from pipeline import models
from pipeline.config import Config, OnnxSettings
from pipeline.errors import DamagedArtifactError, WeightsError
from pipeline.models import onnx_file
from pipeline.models.keras_runtime import keras
from pipeline.models.runtimes.base import difference
from pipeline.models.store import ModelStore

Array = npt.NDArray[Any]
SIDE, DIM = 8, 5
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
KERNEL = np.random.default_rng(7).standard_normal((3, DIM)).astype(np.float32)
PIXELS = np.random.default_rng(8).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)

NCHW = ("n", 3, SIDE, SIDE)
NHWC = ("n", SIDE, SIDE, 3)
FLOAT, HALF, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


def encoder(
    file: Path,
    shape: tuple[Any, ...] = NCHW,
    dtype: int = FLOAT,
    kernel: Array = KERNEL,
    change: Callable[[Any], None] = lambda model: None,
) -> Path:
    """Write a network that multiplies each pixel's colors by KERNEL.

    Its outputs: `map` in the input's layout, `tokens` (n, pixels, DIM), `vector` the first token.
    """
    is_nchw = shape[-1] != 3
    nodes = [
        helper.make_node("Cast", ["photo"], ["cast"], to=FLOAT),
        helper.make_node("Transpose", ["cast"], ["hwc"], perm=(0, 2, 3, 1) if is_nchw else None)
        if is_nchw
        else helper.make_node("Identity", ["cast"], ["hwc"]),
        helper.make_node("MatMul", ["hwc", "kernel"], ["colors"]),
        helper.make_node("Transpose", ["colors"], ["map"], perm=(0, 3, 1, 2))
        if is_nchw
        else helper.make_node("Identity", ["colors"], ["map"]),
        helper.make_node("Reshape", ["colors", "token_shape"], ["tokens"]),
        helper.make_node("Gather", ["tokens", "zero"], ["vector"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("photo", dtype, shape)],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in ("vector", "tokens", "map")],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.array([0, -1, DIM]), "token_shape"),
            numpy_helper.from_array(np.array(0), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    change(model)
    file.write_bytes(model.SerializeToString())
    return file


def only_vector(model: Any) -> None:
    del model.graph.output[1:]


def settings(file: Path, **changes: Any) -> OnnxSettings:
    defaults = {"file": str(file), "mean": MEAN, "std": STD, "output": "vector", "normalize": False}
    return OnnxSettings.model_validate({"type": "onnx", **defaults, **changes})


def fetched(tmp_path: Path, given: OnnxSettings) -> models.NetworkModel:
    return models.load("net", onnx_file.fetch("net", given, ModelStore(tmp_path / "model")))


def colors(pixels: Array = PIXELS, mean: Any = MEAN, std: Any = STD) -> Array:
    """(n, pixels, DIM): what the encoder makes of each pixel."""
    scaled = (pixels / 255 - np.array(mean)) / np.array(std)
    made: Array = (scaled @ KERNEL.astype(np.float64)).reshape(len(pixels), SIDE * SIDE, DIM)
    return made


@pytest.mark.parametrize("shape", [NCHW, NHWC, (1, 3, SIDE, SIDE), ("n", "c", "h", "w")])
def test_vectors_are_those_of_the_formula(shape: tuple[Any, ...], tmp_path: Path) -> None:
    file = encoder(tmp_path / "net.onnx", shape)
    extra = {"layout": "nchw", "input_size": SIDE} if shape[1] == "c" else {}
    model = fetched(tmp_path, settings(file, **extra))
    assert (model.dim, model.input_size) == (DIM, (SIDE, SIDE))
    assert difference(model.encode(PIXELS), colors()[:, 0]) <= 1e-6
    assert model.encode(PIXELS[:0]).shape == (0, DIM)
    np.testing.assert_array_equal(model.encode(PIXELS[1:2]), model.encode(PIXELS)[1:2])


@pytest.mark.parametrize("shape", [NCHW, NHWC])
@pytest.mark.parametrize(
    ("output", "pooling", "expected"),
    [
        ("tokens", "cls", lambda tokens: tokens[:, 0]),
        ("tokens", "avg", lambda tokens: tokens.mean(1)),
        ("tokens", "max", lambda tokens: tokens.max(1)),
        ("map", "avg", lambda tokens: tokens.mean(1)),
        ("map", "max", lambda tokens: tokens.max(1)),
    ],
)
def test_tokens_and_maps_are_pooled(
    output: str,
    pooling: str,
    expected: Callable[[Array], Array],
    shape: tuple[Any, ...],
    tmp_path: Path,
) -> None:
    file = encoder(tmp_path / "net.onnx", shape)
    model = fetched(tmp_path, settings(file, output=output, pooling=pooling))
    assert difference(model.encode(PIXELS), expected(colors())) <= 1e-6


def test_types_channels_and_lengths(tmp_path: Path) -> None:
    plain = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    as_bytes = encoder(tmp_path / "bytes.onnx", dtype=BYTE)
    found = fetched(tmp_path / "1", settings(as_bytes, **plain)).encode(PIXELS)
    assert difference(found, 255 * colors(mean=0, std=1)[:, 0]) <= 1e-6
    halves = encoder(tmp_path / "half.onnx", dtype=HALF)
    found = fetched(tmp_path / "2", settings(halves)).encode(PIXELS)
    assert found.dtype == np.float32
    assert 1e-6 < difference(found, colors()[:, 0]) < 1e-2
    file = encoder(tmp_path / "net.onnx")
    found = fetched(tmp_path / "3", settings(file, channels="bgr")).encode(PIXELS)
    assert difference(found, colors(PIXELS[..., ::-1])[:, 0]) <= 1e-6
    found = fetched(tmp_path / "4", settings(file, normalize=True)).encode(PIXELS)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)


def two_inputs(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("input_ids", FLOAT, ["n", 77]))


def custom_operator(model: Any) -> None:
    model.graph.node[0].domain, model.graph.node[0].op_type = "ai.company", "Preprocess"


def unknown_operator(model: Any) -> None:
    model.graph.node[0].op_type = "Castt"


def weights_elsewhere(location: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)

    return change


def of_numbers(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


@pytest.mark.parametrize(
    ("made", "given", "message"),
    [
        ({"change": two_inputs}, {}, "not one input but photo, input_ids"),
        ({"change": custom_operator}, {}, "the custom operators ai.company.Preprocess"),
        ({"change": unknown_operator}, {}, "ONNX Runtime cannot run it: "),
        ({"change": of_numbers}, {}, "no picture of float32, float16 or uint8"),
        ({"change": weights_elsewhere("../../etc/passwd")}, {}, "outside of its folder"),
        ({"change": weights_elsewhere("gone.data")}, {}, "'gone.data', which is not beside it"),
        ({"shape": ("n", 3, 8)}, {}, "no picture"),
        ({"shape": (4, 3, SIDE, SIDE)}, {}, "it takes 4 photos at a time"),
        ({"shape": ("n", 1, SIDE, SIDE)}, {}, "has not three channels"),
        ({"shape": ("n", "c", SIDE, "w")}, {}, "net.layout: whether ? × ? × 8 × ? is"),
        ({"shape": ("n", "c", "h", "w")}, {"layout": "nchw"}, "input_size: the file takes any"),
        ({}, {"layout": "nhwc"}, "net.layout: its input, "),
        ({}, {"input_size": 9}, "input_size: the file takes 8 × 8 pixels"),
        ({}, {"output": None}, "several outputs; give one of vector, tokens, map"),
        ({}, {"output": "logits"}, "it has no 'logits'; give one of vector"),
        ({}, {"output": "tokens"}, "pooling: the output 'tokens' is 1 × 64 × 5"),
        ({}, {"output": "map", "pooling": "cls"}, "give avg or max"),
        ({}, {"pooling": "avg"}, "is 1 × 5 for a photo; give none"),
        ({"kernel": np.full((3, DIM), np.nan, np.float32)}, {}, "vectors are not finite"),
        ({"dtype": BYTE}, {}, "mean: the file takes pixels as they are"),
        ({}, {"sha256": "0" * 64}, "sha256: "),
    ],
)
def test_what_does_not_fit_is_one_line(
    made: dict[str, Any], given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = encoder(tmp_path / "net.onnx", **made)
    with pytest.raises(WeightsError) as error:
        onnx_file.fetch("net", settings(file, **given), ModelStore(tmp_path / "model"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "model").glob("[0-9a-f]*"))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", b"not an onnx file at all" * 9])
def test_other_files_are_named_as_such(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="it is no ONNX file"):
        onnx_file.fetch("net", settings(file), ModelStore(tmp_path / "model"))
    with pytest.raises(WeightsError, match="there is no file"):
        onnx_file.fetch("net", settings(tmp_path / "gone"), ModelStore(tmp_path / "model"))


def test_weights_in_files_beside_it_belong_to_the_model(tmp_path: Path) -> None:
    file = encoder(tmp_path / "inline.onnx", change=only_vector)
    graph = onnx.load(file)
    set_external_data(graph.graph.initializer[0], "w.data")
    onnx.save(graph, tmp_path / "net.onnx")
    given = settings(tmp_path / "net.onnx", output=None)
    store = ModelStore(tmp_path / "model")
    folder = onnx_file.fetch("net", given, store)
    assert folder.is_made_by(onnx_file.recipe(given))
    vectors = models.load("net", folder).encode(PIXELS)
    assert difference(vectors, colors()[:, 0]) <= 1e-6
    data = tmp_path / "w.data"
    data.write_bytes(data.read_bytes()[:-4] + b"\0\0\0\0")
    assert not folder.is_made_by(onnx_file.recipe(given))
    data.unlink()
    (tmp_path / "net.onnx").unlink()
    assert folder.is_made_by(onnx_file.recipe(given))  # a copy is kept
    np.testing.assert_array_equal(models.load("net", folder).encode(PIXELS), vectors)
    (copy,) = folder.path.rglob("w.data")
    copy.write_bytes(bytes([copy.read_bytes()[0] ^ 1]) + copy.read_bytes()[1:])
    with pytest.raises(DamagedArtifactError, match=r"w\.data"):
        models.load("net", folder)


def test_mobilenet_as_a_stranger_would_export_it_equals_keras(tmp_path: Path) -> None:
    """Floats in, scaled to -1 to 1 outside of the file, as `pretrained` has it inside."""
    whole = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, include_top=False, weights=None)
    block = whole.get_layer("block_2_add").output  # what follows repeats the same layers
    network = keras.Model(whole.input, keras.layers.GlobalAveragePooling2D()(block))
    photos = np.random.default_rng(9).integers(0, 256, (4, 64, 64, 3), np.uint8)
    expected = np.array(network(photos / np.float32(127.5) - 1, training=False))
    file = tmp_path / "mobilenet.onnx"
    network.export(file, format="onnx", verbose=False)
    half = (0.5, 0.5, 0.5)
    found = fetched(tmp_path, settings(file, mean=half, std=half, output=None)).encode(photos)
    assert difference(found, expected) <= 1e-5


def test_a_catalog_is_built_and_asked_with_it(tmp_path: Path) -> None:
    file = encoder(tmp_path / "net.onnx", ("n", 3, 8, 12))
    engine = settings(file, output="map", pooling="avg", crop=0.9).model_dump(mode="json")
    config = Config.model_validate(
        {
            "root": tmp_path / "indexes",
            "source": {"type": "sample", "photos": 8, "near_duplicates": 0, "size": 64},
            "engines": {"colors": engine},
        }
    )
    report = pipeline.build(config)
    assert report.engines["colors"].new_model
    assert not pipeline.build(config).engines["colors"].new_model
    with pipeline.open(config) as searcher:
        photo = searcher.catalog.item_photo(7)
        assert photo is not None
        (first, *_) = searcher.search(photo, k=3)["colors"].hits
    assert (first.item.id, first.distance) == (7, 0.0)


@pytest.mark.parametrize("size", [(224, 224), (8, 12), (50, 50)])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.5])
@pytest.mark.parametrize("sides", [(300, 200), (123, 457), (224, 224), (31, 32)])
def test_a_crop_is_the_middle_of_the_scaled_photo(
    sides: tuple[int, int], crop: float, size: tuple[int, int]
) -> None:
    spots = np.random.default_rng(3).integers(0, 256, (9, 7, 3), np.uint8)
    image = Image.fromarray(spots).resize(sides, Image.Resampling.BICUBIC)
    height, width = size
    scale = max(int(height / crop) / image.height, int(width / crop) / image.width)
    whole = image.resize(
        (int(image.width * scale + 1e-6), int(image.height * scale + 1e-6)),
        Image.Resampling.BICUBIC,
    )
    left, top = (whole.width - width) // 2, (whole.height - height) // 2
    expected = np.asarray(whole.crop((left, top, left + width, top + height)), np.int16)
    found = pipeline.images.resize(image, size, "bicubic", crop=crop)
    assert found.shape == (height, width, 3)
    assert np.abs(found - expected).max() <= 2  # rounded between two passes


def test_a_crop_of_a_line_takes_no_more_memory_than_its_result() -> None:
    line = Image.new("RGB", (60_000, 1), "red")
    found = pipeline.images.resize(line, (224, 224), "bicubic", crop=0.5)
    assert (found == (255, 0, 0)).all()
