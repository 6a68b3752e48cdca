"""Chains of 3×3 convolutions in ncnn, compared with Keras."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.errors import DamagedArtifactError
from pipeline.models.keras_runtime import keras
from pipeline.models.runtimes import ncnn
from pipeline.models.runtimes.chain import Chain, Dense, find_chain
from pipeline.models.runtimes.dense import DenseLayer, block_rows
from pipeline.models.runtimes.keras_weights import KerasWeights
from pipeline.models.store import CHAIN, WEIGHTS

pytestmark = pytest.mark.skipif(bool(ncnn.unavailable()), reason="ncnn is not installed here")

Floats = npt.NDArray[np.float32]
Draw = Callable[[tuple[int, ...]], npt.NDArray[np.floating[Any]]]


def random_chain(random: np.random.Generator) -> tuple[Any, Any]:
    """A network of VGG's kind from pixels to vectors, and the part of it that has weights."""
    size = tuple(random.integers(8, 41, 2).tolist())
    images = features = keras.Input((*size, 3))
    activations, use_bias = ("relu", "relu", "linear"), [True, True, False]
    for _ in range(random.integers(1, 4)):
        for _ in range(random.integers(1, 4)):
            features = keras.layers.Conv2D(
                int(random.integers(1, 50)),
                3,
                padding="same",
                activation=random.choice(activations),
                use_bias=bool(random.choice(use_bias)),
            )(features)
        if random.random() < 0.8:
            features = keras.layers.MaxPooling2D(2)(features)
    layers = keras.layers
    ends = (layers.Flatten, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
    features = ends[random.integers(3)]()(features)
    for _ in range(random.integers(0, 3)):
        units, activation = int(random.integers(1, 70)), random.choice([*activations, "softmax"])
        bias = bool(random.choice(use_bias))
        features = layers.Dense(units, activation=activation, use_bias=bias)(features)
    inner = keras.Model(images, features)
    fill(inner, lambda shape: random.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]) / 2))
    return behind_preprocessing(inner, random.choice(["vgg16", "mobilenet", "densenet"])), inner


def fill(network: Any, draw: Draw) -> None:
    network.set_weights([draw(weight.shape) for weight in network.get_weights()])


def behind_preprocessing(inner: Any, network: str) -> Any:
    pixels = keras.Input(inner.input_shape[1:])
    preprocess = getattr(keras.applications, network).preprocess_input
    return keras.Model(pixels, inner(preprocess(pixels)))


def small_chain(*, dense: int = 5, filters: int = 8, size: int = 12) -> tuple[Any, Any]:
    images = keras.Input((size, size, 3))
    maps = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="a")(images)
    maps = keras.layers.MaxPooling2D(2)(maps)
    maps = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="b")(maps)
    vector = keras.layers.Dense(dense, name="fc")(keras.layers.Flatten()(maps))
    inner = keras.Model(images, vector)
    random = np.random.default_rng(0)
    fill(inner, lambda shape: random.standard_normal(shape) / 5)
    return behind_preprocessing(inner, "vgg16"), inner


def opened(folder: Path, network: Any, inner: Any, **options: Any) -> ncnn.NcnnNetwork:
    inner.save_weights(folder / WEIGHTS)
    assert ncnn.export(network, folder)
    return ncnn.open_network(folder, **options)


def photos(network: Any, count: int, seed: int = 1) -> npt.NDArray[np.uint8]:
    shape = (count, *network.input_shape[1:])
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def by_keras(network: Any, pixels: npt.NDArray[np.uint8]) -> Floats:
    result: Floats = np.asarray(network(pixels.astype(np.float32), training=False))
    return result


def difference(found: Floats, expected: Floats) -> float:
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))


@pytest.mark.soak
def test_random_chains_equal_keras(tmp_path: Path, soak: bool) -> None:
    for seed in range(200 if soak else 8):
        network, inner = random_chain(np.random.default_rng(seed))
        pixels = photos(network, 3)
        found = opened(tmp_path, network, inner)(pixels)
        assert difference(found, by_keras(network, pixels)) < 1e-5, seed


@pytest.mark.parametrize("layer", ["block1_conv1", "block2_conv2", "block3_pool"])
def test_a_cut_vgg_equals_keras(tmp_path: Path, layer: str) -> None:
    vgg = keras.applications.VGG19(weights=None, include_top=False, input_shape=(33, 33, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(vgg.get_layer(layer).output)
    inner = keras.models.clone_model(keras.Model(vgg.input, pooled))
    network = behind_preprocessing(inner, "vgg19")
    pixels = photos(network, 2)
    found = opened(tmp_path, network, inner)(pixels)
    assert difference(found, by_keras(network, pixels)) < 1e-5


@pytest.mark.parametrize("seed", [0, 1])
def test_heavy_tailed_weights_equal_keras(tmp_path: Path, seed: int) -> None:
    network, inner = small_chain(filters=48, size=32)
    random = np.random.default_rng(seed)
    fill(inner, lambda shape: random.standard_t(2, shape) / np.sqrt(np.prod(shape[:-1])))
    pixels = photos(network, 3)
    expected = by_keras(network, pixels)
    assert np.abs(expected).max() > 1000
    assert difference(opened(tmp_path, network, inner)(pixels), expected) < 1e-5


def test_a_photo_alone_has_the_bits_that_it_has_in_any_batch(tmp_path: Path) -> None:
    network, inner = small_chain(dense=70, filters=32, size=18)  # 2,592 features
    one, two = (opened(tmp_path, network, inner, threads=threads) for threads in (1, 2))
    pixels = photos(network, 40)
    vectors = two(pixels)
    np.testing.assert_array_equal(one(pixels), vectors)
    np.testing.assert_array_equal(two(pixels[::-1]), vectors[::-1])
    np.testing.assert_array_equal(two(pixels[7:20]), vectors[7:20])
    for row in (0, 31, 39):
        np.testing.assert_array_equal(two(pixels[row : row + 1])[0], vectors[row])
    assert two(pixels[:0]).shape == (0, 70)
    assert vectors.flags.c_contiguous


def test_for_queries_a_photo_alone_is_the_same_but_for_rounding(tmp_path: Path) -> None:
    network, inner = small_chain(dense=70, filters=32, size=18)
    embedding, asking = (opened(tmp_path, network, inner, for_queries=q) for q in (False, True))
    pixels = photos(network, 3)
    vectors = embedding(pixels)
    np.testing.assert_array_equal(asking(pixels), vectors)
    for row in range(3):
        assert difference(asking(pixels[row : row + 1]), vectors[row : row + 1]) < 1e-6


def test_rows_are_multiplied_so_many_at_a_time_that_they_are_alike() -> None:
    class Uneven(np.ndarray):  # as OpenBLAS with AVX2, which rounds the last rows differently
        limit = 8

        def __rmatmul__(self, rows: Floats) -> Floats:
            product = rows @ self.view(np.ndarray)
            product[self.limit :] += 1e-3
            return product

    kernel = np.random.default_rng(0).standard_normal((100, 20), np.float32)
    assert block_rows(kernel.view(Uneven)) == 8
    Uneven.limit = 2
    assert block_rows(kernel.view(Uneven)) == 1


def test_a_dense_layer_in_parts_equals_the_whole(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((5000,)), keras.layers.Dense(30, name="fc")])
    random = np.random.default_rng(0)
    fill(inner, random.standard_normal)
    inner.save_weights(tmp_path / WEIGHTS)
    layer = Dense(name="fc", units=30, bias=True, activation="relu")
    rows = random.standard_normal((40, 5000)).astype(np.float32)
    with KerasWeights(tmp_path / WEIGHTS) as weights:
        found = DenseLayer(layer, weights, 5000)(rows)
    kernel, bias = (array.astype(np.float64) for array in inner.get_weights())
    assert difference(found, np.maximum(rows @ kernel + bias, 0)) < 1e-6


def conv(**changes: Any) -> Any:
    options = {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu"}
    return keras.layers.Conv2D(**(options | changes))


def layer(name: str, *arguments: Any, **options: Any) -> Any:
    return getattr(keras.layers, name)(*arguments, **options)


NOT_COVERED: dict[str, Callable[[], list[Any]]] = {
    "stride 2": lambda: [conv(strides=2)],
    "5×5": lambda: [conv(kernel_size=5)],
    "3×1": lambda: [conv(kernel_size=(3, 1))],
    "dilated": lambda: [conv(dilation_rate=2)],
    "grouped": lambda: [conv(filters=3, groups=3)],
    "valid": lambda: [conv(padding="valid")],
    "gelu": lambda: [conv(activation="gelu")],
    "float16": lambda: [conv(dtype="mixed_float16")],
    "shared": lambda: [conv(filters=3)] * 2,
    "depthwise": lambda: [conv(), layer("DepthwiseConv2D", 3, padding="same")],
    "transposed": lambda: [conv(), layer("Conv2DTranspose", 4, 3, padding="same")],
    "batch norm": lambda: [conv(), layer("BatchNormalization")],
    "average pooling": lambda: [conv(), layer("AveragePooling2D", 2)],
    "pooling of 3×3": lambda: [conv(), layer("MaxPooling2D", 3)],
    "overlapping pooling": lambda: [conv(), layer("MaxPooling2D", 2, strides=1)],
    "same pooling": lambda: [conv(), layer("MaxPooling2D", 2, padding="same")],
    "no convolution": lambda: [layer("MaxPooling2D", 2)],
    "resized before": lambda: [layer("Resizing", 9, 9), conv()],
    "squared before": lambda: [keras.ops.square, conv()],
    "flipped before": lambda: [lambda pixels: keras.ops.flip(pixels, 1), conv()],
    "residual": lambda: [conv(filters=3), lambda maps: maps + conv(filters=3)(maps)],
}


@pytest.mark.parametrize("name", NOT_COVERED)
def test_other_networks_are_refused(tmp_path: Path, name: str) -> None:
    pixels = maps = keras.Input((11, 11, 3))
    for step in NOT_COVERED[name]():
        maps = step(maps)
    network = keras.Model(pixels, layer("GlobalAveragePooling2D", dtype="float32")(maps))
    assert not ncnn.export(network, tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_ends_and_inputs_are_refused() -> None:
    pixels, sizeless = keras.Input((10, 10, 3)), keras.Input((None, None, 3))
    ends = keras.layers.GlobalAveragePooling2D
    vector = ends()(conv()(pixels))
    others = [
        keras.Model(pixels, conv()(pixels)),
        keras.Model(pixels, ends(keepdims=True)(conv()(pixels))),
        keras.Model(pixels, keras.layers.Dense(3, activation="tanh")(vector)),
        keras.Model(pixels, keras.layers.UnitNormalization()(vector)),
        keras.Model(pixels, [vector, vector]),
        keras.Model([pixels, sizeless], ends()(conv()(pixels)) + ends()(conv()(sizeless))),
        keras.Model(sizeless, ends()(conv()(sizeless))),
    ]
    twice = keras.layers.Rescaling(0.5)
    others.append(keras.Model(pixels, ends()(conv()(twice(twice(pixels))))))
    assert [find_chain(network) for network in others] == [None] * len(others)


def test_preprocessing_is_found_exactly() -> None:
    network, _ = small_chain()
    chain = find_chain(network)
    assert chain is not None
    assert chain.mixing == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert chain.offset == [-103.939, -116.779, -123.68]
    assert Chain.model_validate_json(chain.model_dump_json()) == chain


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    network, inner = small_chain()
    opened(tmp_path, network, inner)
    weights, chain = tmp_path / WEIGHTS, tmp_path / CHAIN
    good = {file: file.read_bytes() for file in (weights, chain)}
    for file, content in (
        (weights, good[weights][:-100]),
        (weights, b""),
        (chain, good[chain][:-10]),
        (chain, good[chain].replace(b'"max_pooling"', b'"pooling"')),
    ):
        file.write_bytes(content)
        with pytest.raises(DamagedArtifactError, match=file.name):
            ncnn.open_network(tmp_path)
        file.write_bytes(good[file])
    for old, new in ((b'"filters": 8', b'"filters": 9'), (b'"fc"', b'"fc2"')):
        chain.write_bytes(good[chain].replace(old, new))
        with pytest.raises(DamagedArtifactError, match=WEIGHTS):
            ncnn.open_network(tmp_path)
    chain.unlink()
    with pytest.raises(DamagedArtifactError, match=CHAIN):
        ncnn.open_network(tmp_path)


def test_codes_of_ncnn_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.models.runtimes import ncnn_net

    network, inner = small_chain()
    vectors = opened(tmp_path, network, inner)
    with pytest.raises(ncnn_net.NcnnError, match="extract"):
        vectors._convolutions(np.empty((0, 0, 0), np.float32))
    monkeypatch.setattr(ncnn_net, "_weight_data", lambda *_: iter([np.zeros(1, np.float32)]))
    with pytest.raises(ncnn_net.NcnnError, match="load_model"):
        ncnn.open_network(tmp_path)
    monkeypatch.setattr(ncnn_net, "layer_list", lambda _: "nonsense")
    with pytest.raises(ncnn_net.NcnnError, match="load_param"):
        ncnn.open_network(tmp_path)


def test_ncnn_computes_in_float32_on_one_thread(tmp_path: Path) -> None:
    # On some processors, as of ARM, other options would give other numbers; here they may not.
    options = opened(tmp_path, *small_chain())._convolutions._net.opt
    assert options.num_threads == 1
    imprecise = [name for name in dir(options) if name.startswith(("use_fp", "use_bf", "use_int"))]
    assert len(imprecise) >= 9
    assert [name for name in imprecise if getattr(options, name)] == []


def test_it_says_why_ncnn_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    ncnn.unavailable.cache_clear()
    assert ncnn.unavailable() is None
    ncnn.unavailable.cache_clear()
    monkeypatch.setitem(sys.modules, "ncnn", None)
    assert "ncnn" in str(ncnn.unavailable())
    ncnn.unavailable.cache_clear()
