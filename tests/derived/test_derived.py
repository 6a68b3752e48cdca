"""Engines that are made of another engine's vectors, with a small network that the test makes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.decomposition import PCA

import pipeline
from pipeline import Item
from pipeline.artifacts import remove
from pipeline.config import Config
from pipeline.derived.metric import fit_metric
from pipeline.engine import Engine
from pipeline.errors import NotBuiltError, TrainingError
from pipeline.evaluation.evaluate import EvaluationOptions, evaluate
from pipeline.evaluation.results import LabelHeldOut
from pipeline.maintenance.info import DerivedModelInfo, catalog_info
from pipeline.maintenance.verify import verify
from pipeline.models.projection import Projection
from pipeline.models.runtimes.onnx import OnnxNetwork
from pipeline.report.tables import evaluation_tables
from pipeline.stages import build
from tests.conftest import tree

SIDE, DIM, PER_KIND = 4, 12, 20
KINDS = ("bag", "hat", "pen")
Matrix = npt.NDArray[Any]

SMALL = {"type": "reduced", "of": "net", "dim": 3}
HEAD = {"type": "head", "of": "net", "label": "kind"}


def write_network(file: Path) -> None:
    """Write a network that multiplies a photo's pixels by random numbers."""
    kernel = np.random.default_rng(7).standard_normal((SIDE * SIDE * 3, DIM)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["photo"], ["flat"]),
        helper.make_node("MatMul", ["flat", "kernel"], ["vector"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, ("n", SIDE, SIDE, 3))],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, file)


def write_photos(folder: Path, kinds: Sequence[str] = KINDS, per_kind: int = PER_KIND) -> None:
    """Photos whose kind is one pattern of pixels, less strong than what else they show."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(3)
    patterns = {kind: random.normal(0, 12, (SIDE, SIDE, 3)) for kind in kinds}
    with (folder / "photos.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "kind", "side"])
        for number in range(per_kind):
            for kind in kinds:
                pixels = 128 + patterns[kind] + random.normal(0, 24, (SIDE, SIDE, 3))
                photo = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
                name = f"{kind}-{number:02d}.png"
                photo.save(folder / name)
                rows.writerow([name, kind, "left" if number % 2 else "right"])


def config_of(root: Path, **engines: dict[str, object]) -> Config:
    """Settings with the network `net`, and engines made of it."""
    net = {"type": "onnx", "file": str(root / "net.onnx"), "input_size": SIDE}
    return Config.model_validate(
        {
            "name": "shop",
            "root": str(root),
            "source": {
                "type": "folder",
                "path": str(root / "photos"),
                "metadata": {"file": "photos.csv", "key": "file", "category": "kind"},
            },
            "images": {"min_side": 1},
            "embedding": {"shard_size": 16},
            "engines": {**engines, "net": net},  # what is made of it comes first: its order differs
        }
    )


def prepare(root: Path, **engines: dict[str, object]) -> Config:
    """Write photos and the network, and return settings."""
    write_network(root / "net.onnx")
    write_photos(root / "photos")
    return config_of(root, **engines)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A built catalog; not to be changed."""
    chain = {"type": "reduced", "of": "head", "dim": 2, "whiten": True, "normalize": False}
    made = prepare(tmp_path_factory.mktemp("derived"), small=SMALL, head=HEAD, chain=chain)
    build(made)
    return made


def vectors_of(config: Config, name: str) -> tuple[Matrix, Matrix]:
    """An engine's index: (n, 32) hashes, sorted, and (n, dim) vectors."""
    with pipeline.open(config, [name]) as searcher:
        opened = searcher.engines[name]
        order = np.lexsort(opened.build.photos.T[::-1])
        return opened.build.photos[order], opened.index.vectors(np.arange(len(order)))[order]


def test_reduced_vectors_are_principal_components(config: Config) -> None:
    photos, full = vectors_of(config, "net")
    same_photos, small = vectors_of(config, "small")
    np.testing.assert_array_equal(photos, same_photos)
    expected = PCA(3, svd_solver="full").fit_transform(full.astype(np.float64))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    signs = np.sign((expected * small).sum(axis=0))
    np.testing.assert_allclose(small, expected * signs, atol=1e-5)
    whitened = vectors_of(config, "chain")[1]
    np.testing.assert_allclose(np.cov(whitened.T, bias=True), np.eye(2), atol=1e-4)


def test_a_photo_finds_itself_and_the_source_looks_at_it_once(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    call = OnnxNetwork.__call__

    def counting(self: OnnxNetwork, pixels: Any) -> Any:
        calls.append(len(pixels))
        return call(self, pixels)

    with pipeline.open(config) as searcher:
        item = searcher.catalog.item_by_key("bag-00.png")
        photo = config.folder.parent / "photos" / "bag-00.png"
        monkeypatch.setattr(OnnxNetwork, "__call__", counting)
        result = searcher.search(photo, k=2)
        assert calls == [1]
        assert item is not None
        for name in ("net", "small", "head", "chain"):
            best = result[name].hits[0]
            assert (best.item.id, best.distance) == (item.id, 0)
            others = searcher.select([name]).search(Item(item.id), k=1)
            assert others[name].hits[0].item.id == result[name].hits[1].item.id


def test_a_head_is_judged_on_items_held_out(config: Config) -> None:
    info = catalog_info(config).engines["head"].model
    assert isinstance(info, DerivedModelInfo)
    held_out = info.fit["held_out"]
    assert (held_out["folds"], held_out["queries"]) == (5, PER_KIND * len(KINDS))
    assert held_out["P@3"] > held_out["P@3 of net"] + 0.1
    assert f"P@3 {held_out['P@3']:.3f}, P@3 of net {held_out['P@3 of net']:.3f}" in info.told
    evaluation = evaluate(config, EvaluationOptions("kind", cost=False, resamples=50, ablate=True))
    judged = evaluation.held_out["head"]
    assert isinstance(judged, LabelHeldOut)
    assert (judged.learned, judged.source) == ("kind", "net")
    assert 0 < judged.queries < judged.trained_on
    assert judged.scores is not None
    assert judged.source_scores is not None
    assert judged.scores["P@3"].mean > judged.source_scores["P@3"].mean
    assert evaluation.held_out["chain"].trained_on == judged.trained_on
    assert set(evaluation.held_out) == {"head", "chain", "fused"}
    assert evaluation.held_out["fused"].queries == judged.queries
    stages = {(one.stage, one.of): one.queries for one in evaluation.stages}
    assert stages["expand", "head"] == stages["measured", "chain"] == judged.queries
    assert stages["expand", "net"] == evaluation.scored
    assert {n for (stage, _), n in stages.items() if stage == "weighted"} == {judged.queries}
    lines = [str(line) for line in evaluation_tables(evaluation)]
    assert any(line.startswith("head learned kind from items of") for line in lines)


def test_a_second_run_does_nothing_and_new_photos_are_projected(tmp_path: Path) -> None:
    config = prepare(tmp_path, small=SMALL, head=HEAD)
    build(config)
    before = tree(config.folder / "small")
    again = build(config).engines
    assert [again[name].new_model for name in config.engines] == [False] * 3
    assert tree(config.folder / "small") == before
    write_photos(tmp_path / "photos", per_kind=PER_KIND + 1)
    grown = build(config).engines
    for name in ("small", "head"):
        done = grown[name].embedding
        assert done is not None
        assert (done.embedded, done.failed, grown[name].new_model) == (3, 0, False)
    assert verify(config).problems == []
    write_photos(tmp_path / "photos", ("bag", "mug", "cup"), per_kind=PER_KIND)
    changed = build(config, accept_removals=True).engines
    assert changed["head"].new_model  # other labels
    assert verify(config).problems == []


def test_a_run_that_was_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    config = prepare(tmp_path, small=SMALL)
    build(config, ("ingest", "train", "embed"))
    shards = config.folder / "small" / "embeddings"
    whole = tree(shards)
    for file in sorted(shards.rglob("0000[23].*")):
        remove(file)
    build(config, ("embed",))
    assert tree(shards) == whole


def test_another_model_of_the_source_makes_other_vectors(tmp_path: Path) -> None:
    config = prepare(tmp_path, small=SMALL)
    build(config)
    first = Engine("small", config).model.fingerprint
    other = config.engines["net"].model_copy(update={"normalize": False})
    changed = config.model_copy(update={"engines": {**config.engines, "net": other}})
    with pytest.raises(NotBuiltError, match=r"engines\.net"):
        build(changed, ("embed",))
    assert build(changed).engines["small"].new_model
    assert Engine("small", changed).model.fingerprint != first
    assert verify(changed).problems == []


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({**SMALL, "dim": 13}, r"engines.x.dim: 13 of 12 dimensions; give 12 or less"),
        ({**HEAD, "label": "colour"}, r"engines.x.label: no item has a column 'colour'"),
        ({**HEAD, "label": "name"}, r"engines.x.label: 9 labeled photos are too few"),
        ({**SMALL, "dim": 9}, r"engines.x.dim: 9 photos .*; add photos, or give 8 or less"),
    ],
)
def test_what_cannot_be_made_is_one_line(
    tmp_path: Path, engine: dict[str, object], message: str
) -> None:
    write_network(tmp_path / "net.onnx")
    write_photos(tmp_path / "photos", per_kind=3)
    with pytest.raises(TrainingError, match=message) as raised:
        build(config_of(tmp_path, x=engine))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("engines", "message"),
    [
        ({"a": {**SMALL, "of": "b"}}, "engines.a.of: 'b' is no engine here; others: net"),
        (
            {"a": {**SMALL, "of": "b"}, "b": {**HEAD, "of": "a"}},
            "engines.a.of: a → b → a is a circle",
        ),
        ({"a": {**SMALL, "of": "a"}}, "engines.a.of: a → a is a circle"),
    ],
)
def test_an_engine_needs_one_that_sees_photos(
    tmp_path: Path, engines: dict[str, dict[str, object]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(tmp_path, **engines)


def test_a_metric_stretches_what_the_label_tells_and_shrinks_what_differs_within() -> None:
    random = np.random.default_rng(5)
    labels = np.repeat([0, 1], 200)
    x = random.standard_normal((400, 3)) * [1, 1, 4]
    x[:, 0] += 3 * labels
    lengths = {
        strength: np.linalg.norm(fit_metric(x, labels, strength), axis=1) for strength in (0.0, 4.0)
    }
    for of_axes in lengths.values():
        assert 0.2 < of_axes[2] / of_axes[1] < 0.4
    assert lengths[0.0][0] / lengths[0.0][1] == pytest.approx(1, abs=0.1)
    assert lengths[4.0][0] / lengths[4.0][1] > 1.5


def test_a_metric_of_photos_that_are_alike_within_labels_changes_nothing() -> None:
    x = np.eye(3)[[0, 0, 1, 1, 2, 2]]
    labels = np.array([0, 0, 1, 1, 2, 2])
    learned = fit_metric(x, labels, 0.0)
    np.testing.assert_allclose(learned, np.eye(3), atol=1e-12)


def test_rounding_grows_with_the_projection() -> None:
    random = np.random.default_rng(5)
    components = 9 * random.standard_normal((4, 6))
    for normalize in (False, True):
        projection = Projection(np.zeros(6), components, normalize)
        x = random.standard_normal((50, 6)).astype(np.float32)
        moved = x + 1e-3 * (random.standard_normal((50, 6)).astype(np.float32))
        errors = np.linalg.norm(moved - x, axis=1)
        off = np.linalg.norm(projection.project(moved) - projection.project(x), axis=1)
        limits = np.array(projection.rounding(x, errors.tolist()))
        assert (off <= 1.01 * limits).all()
        assert off.max() > 0.2 * limits.min()


def test_zeros_have_no_direction_in_a_projection_either() -> None:
    projection = Projection(np.ones(3), np.eye(3), normalize=False, keeps_zeros=True)
    x = np.float32([[0, 0, 0], [1, 2, 3]])
    np.testing.assert_array_equal(projection.project(x), [[0, 0, 0], [0, 1, 2]])
