"""Text towers that the tests make, with random weights, against NumPy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import pipeline
from pipeline import models
from pipeline.config import Config, OnnxSettings
from pipeline.errors import WeightsError
from pipeline.models import onnx_file
from pipeline.models.store import ModelFolder, ModelStore

tokenizers = pytest.importorskip("tokenizers")

Array = npt.NDArray[Any]
DIM, LENGTH, SIDE = 4, 6, 8
WORDS = {"<s>": 0, "</s>": 1, "<unk>": 2, "<pad>": 3, "red": 4, "green": 5, "blue": 6, "photo": 7}
TABLE = np.random.default_rng(3).standard_normal((len(WORDS), DIM)).astype(np.float32)
COLORS = np.random.default_rng(4).standard_normal((3, DIM)).astype(np.float32)


def tokenizer(file: Path) -> Path:
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(WORDS, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    ends = [("<s>", 0), ("</s>", 1)]
    made.post_processor = tokenizers.processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=ends
    )
    made.save(str(file))
    return file


def text_encoder(
    file: Path, dtype: int = TensorProto.INT64, *, masked: bool = True, table: Array = TABLE
) -> Path:
    """Write a network that gives each token the row of a table: `tokens`, and `vector`, their sum.

    With a mask, tokens that are not masked count only.
    """
    names = ["input_ids", "attention_mask"] if masked else ["input_ids"]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["rows"])]
    if masked:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["float_mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["float_mask", "last"], ["column"]),
            helper.make_node("Mul", ["rows", "column"], ["tokens"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["rows"], ["tokens"]))
    nodes.append(helper.make_node("ReduceSum", ["tokens", "middle"], ["vector"], keepdims=0))
    _save(file, nodes, names, dtype, ("n", "length"), {"table": table})
    return file


def image_encoder(file: Path) -> Path:
    """Write a network that gives a photo the mean of its colors, by a matrix."""
    nodes = [
        helper.make_node("ReduceMean", ["photo"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "colors"], ["vector"]),
    ]
    _save(file, nodes, ["photo"], TensorProto.FLOAT, ("n", 3, SIDE, SIDE), {"colors": COLORS})
    return file


def _save(
    file: Path,
    nodes: list[Any],
    inputs: list[str],
    dtype: int,
    shape: tuple[Any, ...],
    weights: dict[str, Array],
) -> None:
    made = {name for node in nodes for name in node.output}
    weights = {**weights, "last": np.array([-1]), "middle": np.array([1])}
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(name, dtype, shape) for name in inputs],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("vector", "tokens")
            if name in made
        ],
        [numpy_helper.from_array(w, name) for name, w in weights.items() if name in used],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    file.write_bytes(model.SerializeToString())


def settings(folder: Path, **text: Any) -> OnnxSettings:
    given = {"tokenizer": str(tokenizer(folder / "tokenizer.json")), "output": "vector"}
    given |= {"context_length": LENGTH, "file": str(folder / "text.onnx"), **text}
    image = str(image_encoder(folder / "image.onnx"))
    content = {"type": "onnx", "file": image, "normalize": False, "text": given}
    return OnnxSettings.model_validate(content)


def fetched(folder: Path, given: OnnxSettings) -> ModelFolder:
    return onnx_file.fetch("clip", given, ModelStore(folder / "model"))


def encoded(folder: Path, given: OnnxSettings, *texts: str) -> Array:
    tower = models.load_text_tower(fetched(folder, given))
    assert tower is not None
    return tower.encode(texts)


def rows(*words: str) -> Array:
    """The rows of the table for some words."""
    return TABLE[[WORDS[word] for word in words]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, rows("<s>", "red", "<unk>", "</s>").sum(0)),
        ({"output": "tokens", "pooling": "cls"}, rows("<s>")[0]),
        ({"output": "tokens", "pooling": "last"}, rows("</s>")[0]),
        ({"output": "tokens", "pooling": "avg"}, rows("<s>", "red", "<unk>", "</s>").mean(0)),
        ({"template": "photo {}"}, rows("<s>", "photo", "red", "<unk>", "</s>").sum(0)),
        ({"context_length": 3}, rows("<s>", "red", "</s>").sum(0)),  # cut, but for its end
    ],
)
def test_vectors_are_those_of_the_formula(
    options: dict[str, Any], expected: Array, tmp_path: Path
) -> None:
    for dtype in (TensorProto.INT64, TensorProto.INT32):
        text_encoder(tmp_path / "text.onnx", dtype)
        (vector,) = encoded(tmp_path, settings(tmp_path, **options), "red shirt")
        np.testing.assert_allclose(vector, expected, rtol=1e-5)


def test_an_encoder_without_a_mask_sees_what_a_text_is_filled_up_with(tmp_path: Path) -> None:
    text_encoder(tmp_path / "text.onnx", masked=False)
    (vector,) = encoded(tmp_path, settings(tmp_path, pad_token="<pad>"), "red")
    expected = rows("<s>", "red", "</s>", "<pad>", "<pad>", "<pad>").sum(0)
    np.testing.assert_allclose(vector, expected, rtol=1e-5)
    (vector,) = encoded(tmp_path, settings(tmp_path), "red")
    np.testing.assert_allclose(vector, rows("<s>", "red", "</s>", *3 * ["<s>"]).sum(0), rtol=1e-5)


def test_the_vectors_of_photos_do_not_depend_on_it(tmp_path: Path) -> None:
    text_encoder(tmp_path / "text.onnx")
    given = settings(tmp_path)
    plain = fetched(tmp_path, given.model_copy(update={"text": None}))
    assert "text" not in plain.manifest
    assert plain.recipe.keys() == onnx_file.recipe(given.model_copy(update={"text": None})).keys()
    both = fetched(tmp_path, given)
    assert both.path != plain.path
    assert both.fingerprint == plain.fingerprint
    assert both.is_made_by(onnx_file.recipe(given))
    assert not plain.is_made_by(onnx_file.recipe(given, read_file=False))
    text_encoder(tmp_path / "text.onnx", table=TABLE + 1)
    assert not both.is_made_by(onnx_file.recipe(given))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": "none.onnx"}, "engines.clip.text.file: there is no file none.onnx"),
        ({"tokenizer": "none.json"}, "engines.clip.text.tokenizer: there is no file"),
        ({"output": "nothing"}, "engines.clip.text.output: it has no 'nothing'"),
        ({"output": "tokens"}, "engines.clip.text.pooling: no pooling none"),
        ({"pooling": "last"}, "engines.clip.text.pooling: no pooling last"),
        ({"pad_token": "<none>"}, "it has no token '<none>'"),
        ({"sha256": "0" * 64}, "engines.clip.text.sha256: .* has not this SHA-256"),
    ],
)
def test_what_does_not_fit_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    text_encoder(tmp_path / "text.onnx")
    with pytest.raises(WeightsError, match=message):
        fetched(tmp_path, settings(tmp_path, **options))
    assert not (tmp_path / "model" / "CURRENT").exists()


def test_files_that_are_something_else_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text_encoder(tmp_path / "text.onnx", table=TABLE[:, :3])
    with pytest.raises(WeightsError, match="its vectors have 3 numbers, those of photos 4"):
        fetched(tmp_path, settings(tmp_path))
    with pytest.raises(WeightsError, match="takes no tokens"):
        fetched(tmp_path, settings(tmp_path, file=str(image_encoder(tmp_path / "other.onnx"))))
    text_encoder(tmp_path / "text.onnx")
    given = settings(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match="it is no tokenizer"):
        fetched(tmp_path, given)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(WeightsError, match="pip install 'imgsearch"):
        fetched(tmp_path, given)


def test_words_are_searched_with_as_photos_are(tmp_path: Path) -> None:
    photos, table = tmp_path / "photos", TABLE.copy()
    photos.mkdir()
    colors = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    for name, color in colors.items():
        Image.new("RGB", (80, 80), color).save(photos / f"{name[0]}.png")
        table[WORDS[name]] = 9 * np.array(color) / 255 @ COLORS
    text_encoder(tmp_path / "text.onnx", table=table)
    engine = settings(tmp_path).model_copy(update={"normalize": True})
    config = Config.model_validate(
        {
            "root": str(tmp_path / "out"),
            "source": {"type": "folder", "path": str(photos)},
            "engines": {"clip": engine.model_dump(mode="json")},
        }
    )
    pipeline.build(config)
    with pipeline.open(config) as searcher:
        for name in colors:
            result = searcher.search(pipeline.Text(name))
            hits = result["clip"].hits
            assert hits[0].item.name == name[0]
            assert (hits[0].percentile, result.no_match, result.text) == (None, [], ())
        photo = searcher.search(Image.new("RGB", (80, 80), (250, 10, 10)), k=1)
        assert photo["clip"].hits[0].item.name == "r"
