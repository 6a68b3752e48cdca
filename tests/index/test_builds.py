"""builds.py and models/store.py: what is published, which one is in use, what is kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import publish
from pipeline.errors import DamagedArtifactError
from pipeline.index.builds import Build, BuildStore
from pipeline.models.store import (
    WEIGHTS,
    ModelFolder,
    ModelStore,
    parse_arrays,
    save_arrays,
)

PAIRS = np.array([[0, 7], [1, 2], [1, 3], [1, 9], [2, 4], [3, 2]], np.int64)
CHANGES = np.array([[2, -1], [3, 2], [3, 7]], np.int64)  # row 2 is shown no more, row 3 by 7 too
NOW = np.array([[0, 7], [1, 2], [1, 3], [1, 9], [2, 2], [2, 7]], np.int64)  # without row 2


def make_build(store: BuildStore, name: str, **content: Any) -> Path:
    manifest = {"engine": "e", "fingerprint": f"of {name}", "model": "m", "dim": 3, "index": {}}
    counts = {"rows": 4, "items": 4}
    segment = {"fingerprint": "f", "dim": 3, "rows": 4, "index": {}, "without_direction": []}
    segments = {"segments": ["5e9"]}
    with publish(store.segments.folder / "5e9", segment) as aside:
        np.save(aside / "ids.npy", PAIRS)
        np.save(aside / "photos.npy", np.arange(4 * 32, dtype=np.uint8).reshape(4, 32))
    with publish(store.folder / name, {**manifest, **counts, **segments, **content}) as aside:
        np.save(aside / "changes.npy", CHANGES)
    return store.folder / name


def age(path: Path, seconds: int) -> None:
    """Make a folder look as if it had been used in this second."""
    os.utime(path, (seconds, seconds))


@pytest.fixture
def builds(tmp_path: Path) -> BuildStore:
    return BuildStore(tmp_path / "engine")


@pytest.fixture
def build(builds: BuildStore) -> Build:
    make_build(builds, "a1")
    builds.use("a1")
    current = builds.current()
    assert current is not None
    return current


# -- Builds ----------------------------------------------------------------------------------------


def test_there_is_no_build_at_first(builds: BuildStore) -> None:
    assert builds.current() is None
    assert builds.all() == []


def test_the_build_in_use_is_the_one_that_current_names(builds: BuildStore) -> None:
    make_build(builds, "a1")
    make_build(builds, "b2")
    assert builds.current() is None
    builds.use("a1")
    assert builds.current_file.read_text() == "a1\n"
    current = builds.current()
    assert current is not None
    assert (current.path, current.fingerprint) == (builds.folder / "a1", "of a1")
    (segment,) = current.segments
    assert segment.file == builds.segments.folder / "5e9" / "index.faiss"


def test_a_current_build_that_was_deleted_is_no_build(builds: BuildStore) -> None:
    builds.folder.mkdir(parents=True)
    builds.current_file.write_text("a1\n")
    assert builds.current() is None


def test_a_current_that_is_not_text_names_no_build(builds: BuildStore, build: Build) -> None:
    builds.current_file.write_bytes(b"\xff\xfe\n")
    assert builds.current() is None


def test_a_current_build_that_is_not_whole_is_refused(builds: BuildStore, build: Build) -> None:
    (build.path / "manifest.json").unlink()
    with pytest.raises(DamagedArtifactError, match=r"a1/manifest.json: damaged: it is missing"):
        builds.current()


def test_what_an_earlier_version_made_is_no_build_and_does_not_answer(builds: BuildStore) -> None:
    with publish(builds.folder / "a1", {"engine": "e"}):
        pass
    builds.use("a1")
    assert builds.current() is None
    with pytest.raises(
        DamagedArtifactError, match=r"manifest.json: damaged: it describes no index"
    ):
        builds.open("a1")


def test_builds_that_are_not_needed_are_removed(builds: BuildStore) -> None:
    for name in "abcd":
        make_build(builds, name)
    builds.use("b")
    builds.remove_unneeded({"c", "e"})
    assert {path.name for path in builds.all()} == {"b", "c"}


def test_an_unfinished_build_is_not_listed(builds: BuildStore, build: Build) -> None:
    (builds.folder / ".b2.tmp").mkdir()
    assert builds.all() == [build.path]


def test_rows_and_items_are_the_pairs_of_the_file(build: Build) -> None:
    assert build.ids.tolist() == NOW.tolist()
    rows = np.array([2, 0, 2, 1])
    entries, times = build.expand_rows(rows)
    shown = [build.ids[part, 1].tolist() for part in np.split(entries, np.cumsum(times)[:-1])]
    assert shown == [[i for r, i in NOW.tolist() if r == row] for row in rows]
    for item in range(11):
        assert build.rows_of(item).tolist() == [r for r, i in NOW.tolist() if i == item]
    assert build.photos[2].tobytes() == bytes(range(96, 128))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("changes.npy", CHANGES.astype(np.int32)),
        ("changes.npy", CHANGES[:, 0]),
        ("ids.npy", PAIRS[:, 0]),
        ("photos.npy", np.zeros((4, 32), np.int8)),
        ("photos.npy", np.array([[None]])),
    ],
)
def test_an_array_of_another_type_or_shape_is_refused(
    build: Build, name: str, array: np.ndarray
) -> None:
    folder = build.path if name == "changes.npy" else build.segments[0].path
    np.save(folder / name, array, allow_pickle=True)
    fresh = Build(build.path, build.manifest)
    with pytest.raises(DamagedArtifactError, match=f"{name}: damaged: "):
        _ = fresh.ids


def test_an_array_file_that_is_no_array_is_refused(build: Build) -> None:
    (build.path / "changes.npy").write_bytes(b"no array")
    changed = r"changes.npy: damaged: its content has changed"
    with pytest.raises(DamagedArtifactError, match=changed):
        _ = Build(build.path, build.manifest).ids
    np.save(build.path / "changes.npy", CHANGES)
    (build.segments[0].path / "photos.npy").unlink()
    fresh = Build(build.path, build.manifest)
    with pytest.raises(DamagedArtifactError, match=r"photos.npy: damaged: it is missing"):
        _ = fresh.photos


# -- Models ----------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "model")


def make_model(
    store: ModelStore,
    name: str,
    recipe: dict[str, Any],
    embedding: dict[str, Any] | None = None,
    weights: str = "w",
    **arrays: np.ndarray,
) -> ModelFolder:
    content = {"recipe": recipe, "embedding": embedding or {}, "dim": 3, "weights": weights}
    with publish(store.folder / name, content) as aside:
        (aside / WEIGHTS).write_bytes(b"weights")
        (aside / "loss.png").write_bytes(b"a picture")
        for file, array in arrays.items():
            np.save(aside / file, array)
    return store.open(name)


def test_there_is_no_model_at_first(models: ModelStore) -> None:
    assert models.current() is None
    assert models.with_recipe({}) == []


def test_the_model_in_use_is_the_one_last_told(models: ModelStore) -> None:
    first, second = (make_model(models, name, {"name": name}) for name in ("a1", "b2"))
    assert models.current() is None
    for model in (first, second, first):
        assert models.use(model) is model
        assert models.current() == model
    assert (first.path, first.recipe, first.dim) == (models.folder / "a1", {"name": "a1"}, 3)


def test_models_are_found_by_their_recipe_and_the_one_in_use_comes_first(
    models: ModelStore,
) -> None:
    recipe = {"size": 64, "training": {"epochs": 3}}
    make_model(models, "a1", recipe)
    make_model(models, "b2", {**recipe, "size": 65})
    last = make_model(models, "c3", {**recipe, "sha256": "of a file that is gone"})
    (models.folder / ".d4.training").mkdir()
    assert [m.path.name for m in models.with_recipe(recipe)] == ["a1", "c3"]
    models.use(last)
    assert [m.path.name for m in models.with_recipe(recipe)] == ["c3", "a1"]
    assert models.with_recipe({**recipe, "training": {"epochs": 4}}) == []
    assert models.with_recipe({**recipe, "more": 1}) == []


def test_a_model_that_may_know_more_of_its_making_is_not_found_by_what_differs(
    models: ModelStore,
) -> None:
    make_model(models, "a1", {"weights": "file", "sha256": "of a", "obtained": True})
    make_model(models, "b2", {"weights": "file", "obtained": False})

    def found(**recipe: object) -> list[str]:
        return [model.path.name for model in models.with_recipe({"weights": "file", **recipe})]

    assert found() == ["a1", "b2"]
    assert found(obtained=True) == found(sha256="of a") == ["a1"]
    assert found(obtained=True, sha256="of b") == []


@pytest.mark.parametrize(
    ("content", "random"),
    [({}, False), ({"random_weights": True}, True), ({"random_weights": False}, False)],
)
def test_a_model_says_whether_its_weights_are_random(
    models: ModelStore, content: dict[str, Any], random: bool
) -> None:
    described = {"recipe": {}, "embedding": {}, "dim": 3, "weights": "w", **content}
    with publish(models.folder / "a1", described):
        pass
    assert models.open("a1").has_random_weights is random


def test_a_model_is_opened_by_its_name(models: ModelStore) -> None:
    made = make_model(models, "a1", {})
    assert models.get("a1") == made
    assert models.get("b2") is None


def test_a_model_that_was_deleted_is_no_model(models: ModelStore) -> None:
    models.folder.mkdir()
    (models.folder / "CURRENT").write_text("a1\n")
    assert models.current() is None


def test_a_current_that_is_not_text_names_no_model(models: ModelStore) -> None:
    models.use(make_model(models, "a1", {}))
    (models.folder / "CURRENT").write_bytes(b"\xff\xfe\n")
    assert models.current() is None


def test_a_model_that_is_not_whole_is_refused(models: ModelStore) -> None:
    model = models.use(make_model(models, "a1", {}))
    model.weights_file.write_bytes(b"weight")
    with pytest.raises(DamagedArtifactError, match="its content has changed"):
        models.with_recipe({})


def test_a_model_is_used_without_what_only_people_look_at(models: ModelStore) -> None:
    model = models.use(make_model(models, "a1", {}))
    (model.path / "loss.png").unlink()
    assert models.with_recipe({}) == [model]


def test_a_manifest_that_describes_no_model_is_refused(models: ModelStore) -> None:
    with publish(models.folder / "a1", {"recipe": {}}):
        pass
    with pytest.raises(
        DamagedArtifactError, match=r"manifest.json: damaged: it describes no model"
    ):
        models.open("a1")


def test_the_fingerprint_changes_with_whatever_changes_a_vector(models: ModelStore) -> None:
    layer = {"layer": "fc1"}
    first = make_model(models, "a1", {"epochs": 1}, layer).fingerprint
    assert make_model(models, "a2", {"epochs": 2}, layer).fingerprint == first
    assert make_model(models, "a3", {"epochs": 1}, {"layer": "fc2"}).fingerprint != first
    assert make_model(models, "a4", {"epochs": 1}, layer, weights="v").fingerprint != first


def test_a_model_knows_the_photos_it_was_trained_on(models: ModelStore) -> None:
    assert make_model(models, "a1", {}).photos("training").shape == (0, 32)
    model = make_model(models, "a2", {}, training=np.ones((2, 32), np.uint8))
    assert model.photos("training").tolist() == [[1] * 32] * 2
    assert model.photos("validation").shape == (0, 32)
    (model.path / "training.npy").unlink()
    with pytest.raises(DamagedArtifactError, match=r"a2/training.npy: damaged: it is missing"):
        model.photos("training")


def test_arrays_are_read_back_in_their_order(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(5)}
    save_arrays(tmp_path / "last.npz", arrays)
    found = parse_arrays(tmp_path / "last.npz", (tmp_path / "last.npz").read_bytes())
    assert list(found) == ["b", "a"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_archive_of_arrays_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.npz"
    with pytest.raises(DamagedArtifactError, match=f"{path}: damaged: it is not an archive"):
        parse_arrays(path, content)
