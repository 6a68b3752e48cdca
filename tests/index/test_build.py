"""index.py: an index follows from the vectors and the catalog, and from nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest

import pipeline
from pipeline.config import Config
from pipeline.errors import DamagedArtifactError, NotBuiltError, QueryError
from pipeline.index.builds import Build
from pipeline.maintenance.info import catalog_info
from pipeline.maintenance.verify import verify
from pipeline.search.query import Item
from tests.conftest import ENGINE, Color, Shop, png, tree

A, B, C, D = (10, 0, 0), (20, 0, 0), (30, 0, 0), (40, 0, 0)


def colors(build: Build) -> list[Color]:
    """The colors of the rows, as another FAISS program reads them."""
    indexes = [faiss.read_index(str(segment.file)) for segment in build.segments]
    vectors = np.concatenate([index.reconstruct_n(0, index.ntotal) for index in indexes])
    return [(int(r), int(g), int(b)) for r, g, b in vectors[build.segment_rows.is_live]]


def current(shop: Shop) -> str:
    return (shop.engine.folder / "CURRENT").read_text().strip()


def die(*_: object) -> None:
    raise KeyboardInterrupt


def test_rows_are_distinct_photos_and_each_knows_its_items(shop: Shop) -> None:
    build = shop.build({"a": [A, B], "b": [B], "c": [C, A, A], "d": []})
    assert colors(build) == [A, B, C]
    assert build.ids.tolist() == [[0, 1], [0, 3], [1, 1], [1, 2], [2, 3]]
    shown = {photo.sha256: photo.path.read_bytes() for photo in shop.catalog.photos()}
    assert [shown[row.tobytes()] for row in build.photos] == [png(c) for c in (A, B, C)]


def test_the_manifest_says_what_the_build_holds(shop: Shop) -> None:
    build = shop.build({"a": [A, B], "b": [B], "c": []}, keep=5)
    manifest = json.loads((build.path / "manifest.json").read_bytes())
    assert len(manifest.pop("checksum")) == 64
    assert sorted(manifest.pop("files")) == ["calibration.json", "changes.npy"]
    (segment,) = build.segments
    assert manifest.pop("segments") == [segment.name]
    assert manifest.pop("generation") == shop.catalog.seal_generation()
    assert segment.index_files == ["index.faiss"]
    assert (segment.rows, segment.manifest["fingerprint"]) == (2, shop.model.fingerprint)
    assert manifest == {
        "engine": ENGINE,
        "fingerprint": shop.model.fingerprint,
        "model": shop.model.path.name,
        "random_weights": False,
        "dim": 3,
        "rows": 2,
        "without_direction": 0,
        "without_vector": 0,
        "items": 2,
        "index": {"type": "flat"},
        "metric": "Euclidean",
    }


def test_the_same_catalog_and_vectors_make_the_same_build(shop: Shop) -> None:
    items = {"a": [A, B], "b": [C], "c": [D]}
    build = shop.build(items)
    files = tree(shop.engine.folder)
    made = build.path.stat().st_ino
    again = shop.build(items)
    assert again.path == build.path
    assert again.path.stat().st_ino == made, "it was made again though it was there"
    shutil.rmtree(shop.engine.builds.segments.folder)
    shutil.rmtree(build.path)
    shop.embed(shard_size=1)
    third = shop.index(keep=1)
    assert third.path == build.path
    assert tree(shop.engine.folder) == files


def test_adding_changing_and_removing_items_publish_further_builds(shop: Shop) -> None:
    first = shop.build({"a": [A], "b": [B]}, keep=9)
    before = tree(first.path)
    added = shop.build({"a": [A], "b": [B], "c": [C]}, keep=9)
    changed = shop.build({"a": [A], "b": [D], "c": [C]}, keep=9)
    removed = shop.build({"b": [D], "c": [C]}, keep=9)
    builds = [first, added, changed, removed]
    assert len({build.path for build in builds}) == 4
    shown = [[A, B], [A, B, C], [A, C, D], [C, D]]
    assert [sorted(colors(build)) for build in builds] == shown
    assert current(shop) == removed.path.name
    assert shop.engine.builds.all() == [build.path for build in builds]
    assert tree(first.path) == before


def test_another_vector_of_a_photo_makes_another_build(shop: Shop) -> None:
    first = shop.build({"a": [A], "b": [B]})
    vectors = shop.engine.embeddings(shop.model.fingerprint)
    photos = [*map(bytes, first.photos)]
    shutil.rmtree(shop.engine.builds.segments.folder)
    vectors.write(photos, np.float32([[1, 2, 3], B]))
    second = shop.index()
    assert first.path != second.path
    assert colors(second)[1] == B


def test_an_item_that_only_shares_a_photo_makes_another_build(shop: Shop) -> None:
    first = shop.build({"a": [A]})
    second = shop.build({"a": [A], "b": [A]})
    assert first.path != second.path
    assert colors(first) == colors(second) == [A]


def test_items_that_show_other_photos_make_another_build(shop: Shop) -> None:
    first = shop.build({"a": [A, B], "b": [A]})
    second = shop.build({"a": [A, B], "b": [B]})
    assert first.path != second.path
    assert first.ids.tolist() == [[0, 1], [0, 2], [1, 1]]
    assert second.ids.tolist() == [[0, 1], [1, 1], [1, 2]]
    assert colors(first) == colors(second)


def test_going_back_uses_the_build_that_is_there(shop: Shop) -> None:
    first = shop.build({"a": [A]}, keep=2)
    made = first.path.stat().st_ino
    shop.build({"a": [A], "b": [B]}, keep=2)
    assert shop.build({"a": [A]}, keep=2).path == first.path
    assert first.path.stat().st_ino == made
    assert current(shop) == first.path.name


def test_a_pruned_index_answers_as_the_flat_one(shop: Shop) -> None:
    many: list[Color] = [(r, g, b) for r in range(0, 99, 9) for g in (0, 5) for b in (0, 70)]
    flat = shop.build({f"k{n}": [color] for n, color in enumerate(many)})
    query = np.array([40, 3, 30], np.float32)
    with shop.searcher() as searcher:
        expected = searcher.search(query, 20).hits
    settings = {**shop.config.model_dump(), "index": {"type": "pruned"}}
    shop.config = Config.model_validate(settings)
    pruned = shop.index()
    assert pruned.path != flat.path
    (ours,), (theirs,) = pruned.segments, flat.segments
    assert ours.file.read_bytes() == theirs.file.read_bytes()
    assert "bounds.json" in ours.manifest["files"]
    with shop.searcher() as searcher:
        assert searcher.search(query, 20).hits == expected
    assert verify(shop.config).problems == []


def test_only_the_newest_builds_are_kept(shop: Shop) -> None:
    items: dict[str, list[Color]] = {}
    builds = []
    for number in range(4):
        items[str(number)] = [(number, 0, 0)]
        builds.append(shop.build(items, keep=2).path)
        assert shop.engine.builds.all() == builds[-2:]


def test_names_and_metadata_do_not_make_another_build(shop: Shop) -> None:
    first = shop.build({"a": [A]})
    shop.catalog.put("a", "new name", "", {"price": 1}, shop.catalog.images(1))
    assert shop.index().path == first.path


def test_another_model_makes_another_build(shop: Shop) -> None:
    first = shop.build({"a": [A]})
    shop.use_model("other")
    shop.embed()
    second = shop.index()
    assert first.path != second.path
    assert first.fingerprint != second.fingerprint == shop.model.fingerprint


def test_photos_without_vectors_are_left_out(shop: Shop) -> None:
    shop.build({"a": [A]})
    shop.offer({"a": [A], "b": [B], "c": [B, A]})
    build = shop.index()
    assert colors(build) == [A]
    assert build.ids.tolist() == [[0, shop.id_of("a")], [0, shop.id_of("c")]]
    assert build.manifest["items"] == 2


def test_a_photo_without_a_direction_is_nobodys_neighbor(shop: Shop) -> None:
    black = (0, 0, 0)
    items = {"a": [A, black], "b": [B], "blank": [black]}
    assert colors(shop.build(items)) == [A, black, B]  # no directions: black is a place as others
    shop.use_model("directions", embedding={"normalize": True})
    build = shop.build(items)
    assert (colors(build), build.without_direction) == ([A, B], 1)
    assert catalog_info(shop.config).engines[ENGINE].build.without_direction == 1  # type: ignore[union-attr]
    assert verify(shop.config).problems == []
    with pipeline.open(shop.config) as searcher:
        with pytest.raises(QueryError, match="color sees nothing in the photo"):
            searcher.search(png(black))
        with pytest.raises(QueryError, match="not in the index"):
            searcher.search(Item(shop.id_of("blank")))
        assert [hit.item.key for hit in searcher.search(png(B))[ENGINE].hits] == ["b", "a"]
    shop.build({"a": [A]})
    assert shop.engine.current_build().without_direction == 0  # only what could be shown counts
    assert verify(shop.config).problems == []


def test_vectors_without_items_are_left_out(shop: Shop) -> None:
    shop.build({"a": [A], "b": [B], "c": [C]})
    assert colors(shop.build({"c": [C]})) == [C]


def test_rows_have_the_order_of_the_ledger_and_not_of_the_shards(shop: Shop) -> None:
    for items in ({"b": [B]}, {"a": [A], "b": [B]}, {"a": [A], "b": [C, B]}):
        shop.offer(items)
        shop.embed()
    build = shop.index()
    assert colors(build) == [C, A, B]
    a, b = shop.id_of("a"), shop.id_of("b")
    assert build.ids.tolist() == [[0, b], [1, a], [2, b]]


def test_without_vectors_there_is_nothing_to_index(shop: Shop) -> None:
    shop.offer({"a": [A]})
    with pytest.raises(NotBuiltError, match=f"{shop.folder}: no photo of {ENGINE} has a vector"):
        shop.index()
    assert not (shop.engine.folder / "CURRENT").exists()


@pytest.mark.parametrize("name", ["changes.npy", "calibration.json", "manifest.json"])
def test_a_damaged_build_is_made_again(shop: Shop, name: str) -> None:
    build = shop.build({"a": [A], "b": [B]})
    files = tree(build.path)
    (build.path / name).write_bytes(b"")
    with pytest.raises(DamagedArtifactError):
        shop.searcher()
    assert shop.index().path == build.path
    assert tree(build.path) == files
    assert shop.searcher().search(Item(1)).hits[0].item.id == 2


def test_a_damaged_shard_publishes_nothing(shop: Shop) -> None:
    first = shop.build({"a": [A]})
    shop.offer({"a": [A], "b": [B]})
    shop.embed()
    last = sorted(shop.engine.folder.glob("embeddings/*/*.npy"))[-1]
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(DamagedArtifactError, match=str(last)):
        shop.index()
    assert current(shop) == first.path.name
    assert [path.name for path in first.path.parent.iterdir()] == [first.path.name]
    assert shop.engine.builds.segments.paths() == [one.path for one in first.segments]


@pytest.mark.parametrize(
    "step", ["sealing.write_index", "build.write_calibration", "builds.write_atomic"]
)
def test_current_moves_only_when_the_build_is_whole(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    first = shop.build({"a": [A]})
    with monkeypatch.context() as patch:
        patch.setattr(f"pipeline.index.{step}", die)
        with pytest.raises(KeyboardInterrupt):
            shop.build({"a": [A], "b": [B]})
    assert current(shop) == first.path.name
    assert shop.searcher().build.path == first.path
    assert colors(shop.index()) == [A, B]
    assert list(Path(shop.folder).rglob(".*.tmp")) == []


def test_an_index_of_many_shards_holds_every_vector_in_its_row(shop: Shop) -> None:
    rng = np.random.default_rng(4)
    chosen: list[Color] = [(n, int(rng.integers(256)), int(rng.integers(256))) for n in range(60)]
    for count in (10, 35, 60):
        shop.offer({str(n): [chosen[n]] for n in range(count)})
        shop.embed(shard_size=7)
    assert colors(shop.index()) == chosen
