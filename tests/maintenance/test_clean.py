"""clean.py: what is unused is removed, what is used stays, and nothing outside is touched."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.config import Config
from pipeline.config.schema import CATALOG_FILES
from pipeline.errors import BusyError
from pipeline.locks import lock
from pipeline.maintenance.clean import Removal, clean
from pipeline.maintenance.verify import verify
from pipeline.search.query import Item
from tests.conftest import ENGINE, Color, Shop, tree

A, B, C = (10, 0, 0), (20, 0, 0), (30, 0, 0)
ITEMS: dict[str, list[Color]] = {"a": [A], "b": [B], "c": [C]}


@pytest.fixture
def built(shop: Shop) -> Shop:
    """Two models with vectors and a build each; the second of each is published, and kept."""
    keep_one(shop)
    shop.build(ITEMS)
    shop.use_model("newer")
    shop.build(ITEMS)
    return shop


def keep_one(shop: Shop) -> None:
    """Let `clean` keep one publication; the Shop's own builds keep two."""
    index = shop.config.index.model_copy(update={"keep_publications": 1})
    shop.config = shop.config.model_copy(update={"index": index})


def folders(shop: Shop) -> dict[str, set[str]]:
    return {
        place: {path.name for path in (shop.engine.folder / place).iterdir() if path.is_dir()}
        for place in ("model", "segments", "builds")
    }


def in_use(shop: Shop) -> dict[str, set[str]]:
    build = shop.engine.builds.current()
    assert build is not None
    return {
        "model": {shop.model.path.name},
        "segments": set(build.manifest["segments"]),
        "builds": {build.path.name},
    }


def test_what_another_model_left_is_removed(built: Shop) -> None:
    used = in_use(built)
    before = folders(built)
    files = tree(built.engine.folder)
    removed = clean(built.config)
    assert folders(built) == used
    gone = {f"{place}/{name}" for place in used for name in before[place] - used[place]}
    assert removed.pop(0).path == built.folder / "publications" / "1"
    assert {str(one.path.relative_to(built.engine.folder)) for one in removed} == gone
    assert len(gone) == 3  # of each kind one
    for one in removed:
        inside = f"{one.path.relative_to(built.engine.folder)}/"
        assert one.bytes == sum(len(data) for name, data in files.items() if inside in name) > 0
    assert tree(built.engine.folder) == {
        name: data
        for name, data in files.items()
        if not any(name.startswith(f"{place}/") for place in gone)
    }


def test_what_is_left_is_whole_and_answers(built: Shop) -> None:
    before = built.searcher().search(Item(1)).hits
    clean(built.config)
    assert verify(built.config).problems == []
    assert built.searcher().search(Item(1)).hits == before


def test_the_model_of_the_index_is_used_though_another_is_in_use(built: Shop) -> None:
    built.use_model("newest")
    before = folders(built)
    clean(built.config)
    after = folders(built)
    assert len(before["model"]) == 3
    assert len(after["model"]) == 2
    build = built.engine.builds.current()
    assert build is not None
    assert after["segments"] == set(build.manifest["segments"])
    assert {built.model.path.name, build.manifest["model"]} == after["model"]


def test_superseded_builds_are_removed(shop: Shop) -> None:
    keep_one(shop)
    shop.build({"a": [A]})
    shop.build(ITEMS)
    used = in_use(shop)
    removed = clean(shop.config)
    assert [one.path.parent.name for one in removed] == ["publications", "builds", "segments"]
    assert folders(shop) == used


def test_unfinished_work_is_removed(built: Shop) -> None:
    for place in ("model/.0123.training", "model/.0123.pixels", "builds/.0123.tmp"):
        (built.engine.folder / place).mkdir()
    clean(built.config)
    assert folders(built) == in_use(built)


def test_there_is_nothing_to_remove_the_second_time(built: Shop) -> None:
    assert clean(built.config)
    before = tree(built.folder)
    assert clean(built.config) == []
    assert tree(built.folder) == before


def test_the_catalog_and_its_photos_stay(built: Shop) -> None:
    photos = tree(built.folder / "images")
    clean(built.config)
    assert tree(built.folder / "images") == photos
    assert len(photos) == 3
    assert built.catalog.counts() == {"available": {"": 3}}


def test_stored_photos_that_no_item_shows_go(built: Shop) -> None:
    photos = set(built.folder.glob("images/*/*"))
    built.offer({"a": [A], "b": []})
    clean(built.config)
    assert set(built.folder.glob("images/*/*")) == photos, "what is published shows them"
    built.index()
    shown = {photo.path for photo in built.catalog.photos()}
    removed = [one.path for one in clean(built.config)]
    stored = set(built.folder.glob("images/*/*"))
    assert stored == shown
    assert len([path for path in removed if "images" in path.parts]) == 2


@pytest.mark.parametrize("everything", [False, True])
def test_what_is_removed_is_said_before_and_nothing_is_where_that_is_refused(
    built: Shop, everything: bool
) -> None:
    announced: list[Removal] = []

    def refuse(removals: Sequence[Removal]) -> None:
        announced.extend(removals)
        raise KeyboardInterrupt

    built.catalog.close()
    (built.folder / ".lock").touch()
    before = tree(built.folder)
    with pytest.raises(KeyboardInterrupt):
        clean(built.config, everything=everything, announce=refuse)
    assert tree(built.folder) == before
    assert announced
    assert clean(built.config, everything=everything) == announced
    assert not any(removal.path.exists() for removal in announced)


def test_everything_is_everything_of_this_catalog_only(built: Shop, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.png").write_bytes(b"x")
    built.catalog.close()
    sizes: Counter[str] = Counter()
    for name, data in tree(built.folder).items():
        sizes[name.partition("/")[0]] += len(data)
    removed = clean(built.config, everything=True)
    assert set(removed) == {
        Removal(built.folder / name, size) for name, size in sizes.items() if name != ".lock"
    }
    assert {one.path.name for one in removed} >= {"images", "catalog.sqlite", ENGINE}
    assert tree(tmp_path) == {"other/photo.png": b"x"}
    assert not built.folder.exists()


def test_everything_is_the_report_too_and_what_killed_runs_left(built: Shop) -> None:
    built.catalog.close()
    for name in (*CATALOG_FILES, ".report.html.1.tmp"):
        if not (built.folder / name).exists():
            (built.folder / name).write_bytes(b"written by a pipeline")
    removed = clean(built.config, everything=True)
    assert {one.path.name for one in removed} == {*CATALOG_FILES, ENGINE}
    assert not built.folder.exists()


@pytest.mark.parametrize("name", CATALOG_FILES)
def test_no_engine_has_the_name_of_what_is_written_beside_it(shop: Shop, name: str) -> None:
    settings = shop.config.model_dump(mode="json")
    settings["engines"] = {name: settings["engines"][ENGINE]}
    with pytest.raises(ValidationError, match="is taken in a catalog's folder"):
        Config.model_validate(settings)


def test_what_a_pipeline_did_not_write_stays(built: Shop) -> None:
    mine = {"notes.txt": b"mine", "photos/1.jpg": b"a photo", "catalog.csv": b"rows"}
    for name, data in mine.items():
        (built.folder / name).parent.mkdir(exist_ok=True)
        (built.folder / name).write_bytes(data)
    built.catalog.close()
    clean(built.config, everything=True)
    left = tree(built.folder)
    left.pop(".lock", None)
    assert left == mine
    assert clean(built.config, everything=True) == []


def test_links_are_removed_and_not_what_they_point_to(built: Shop, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_bytes(b"x")
    (built.folder / "images" / "mine").symlink_to(tmp_path / "mine")
    clean(built.config, everything=True)
    assert tree(tmp_path) == {"mine/photo.png": b"x"}


def test_a_folder_of_the_catalog_may_be_a_link(built: Shop, tmp_path: Path) -> None:
    (built.folder / "images").rename(tmp_path / "big disk")
    (built.folder / "images").symlink_to(tmp_path / "big disk")
    photos = tree(tmp_path / "big disk")
    clean(built.config, everything=True)
    assert not built.folder.exists()
    assert tree(tmp_path / "big disk") == photos != {}


@pytest.mark.parametrize("everything", [False, True])
def test_a_catalog_that_is_being_written_is_left_alone(built: Shop, everything: bool) -> None:
    before = tree(built.engine.folder)
    with lock(built.folder), pytest.raises(BusyError):
        clean(built.config, everything=everything)
    assert tree(built.engine.folder) == before


@pytest.mark.parametrize("everything", [False, True])
def test_a_catalog_that_is_not_there_is_not_made(shop: Shop, everything: bool) -> None:
    shop.catalog.close()
    shutil.rmtree(shop.folder)
    assert clean(shop.config, everything=everything) == []
    assert not shop.folder.exists()
