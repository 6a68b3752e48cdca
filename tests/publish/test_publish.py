"""publish/: what answers together, what is kept, rolling back, and what no answer mixes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import pipeline
from pipeline.catalog.catalog import Catalog
from pipeline.errors import (
    BusyError,
    DamagedArtifactError,
    GateError,
    NotBuiltError,
    PipelineError,
    QueryError,
)
from pipeline.maintenance.publications import publications
from pipeline.maintenance.verify import verify
from pipeline.publish import publish
from pipeline.publish.publish import GateVerdict
from pipeline.publish.store import Pointer, PublicationStore
from pipeline.publish.switching import changing, force, roll_back
from pipeline.search.query import Item
from pipeline.workspace import Workspace
from tests.conftest import ENGINE, Color, Shop

A, B, C, D = (10, 0, 0), (20, 0, 0), (30, 0, 0), (40, 0, 0)


def store(shop: Shop) -> PublicationStore:
    return PublicationStore(shop.config)


def nearest(shop: Shop, publication: int | str | None = None) -> list[str]:
    """The keys of what a photo of color A finds, and that all of it is of one publication."""
    with pipeline.open(shop.config, publication=publication) as searcher:
        result = searcher.search(np.float32(A), 9)
        assert result.publication == result.to_dict()["publication"] == searcher.publication.number
        return [hit.item.key for hit in result[ENGINE].hits]


def grown(shop: Shop, count: int, keep: int = 9, first: int = 1) -> None:
    """Publish the first n items, k1, k2, …, for n from `first` to `count`."""
    for n in range(first, count + 1):
        colors: dict[str, list[Color]] = {f"k{m}": [(10 * m, 0, 0)] for m in range(1, n + 1)}
        shop.build(colors, keep)


def refuse(shop: Shop, *faults: str) -> None:
    ws = Workspace(shop.config, shop.catalog)
    publish.publish(ws, lambda *_: GateVerdict({}, faults))


# -- What is published -----------------------------------------------------------------------------


def test_a_publication_says_what_answers(shop: Shop) -> None:
    build = shop.build({"a": [A], "b": [B]})
    (one,) = store(shop).all()
    published = one.engines[ENGINE]
    assert (one.number, one.parent, one.changes) == (1, None, None)
    assert (published.build, published.fingerprint) == (build.path.name, shop.model.fingerprint)
    assert (published.photos, published.items) == (2, 2)
    assert one == store(shop).get(1) == store(shop).current()
    shop.build({"a": [A], "b": [C], "c": [D]})
    newest = store(shop).current()
    assert newest is not None
    assert (newest.number, newest.parent) == (2, 1)
    assert newest.changes == {"added": 1, "changed": 1, "removed": 0}


def test_nothing_new_publishes_nothing(shop: Shop) -> None:
    shop.build({"a": [A]})
    before = (shop.folder / "CURRENT").read_bytes()
    shop.build({"a": [A]})
    assert store(shop).numbers() == [1]
    assert (shop.folder / "CURRENT").read_bytes() == before


def test_a_change_that_no_index_shows_is_published(shop: Shop) -> None:
    first = shop.build({"a": [A]})
    with shop.catalog.transaction():
        shop.catalog.put("a", "New name", "", {}, shop.catalog.images(1))
    with pipeline.open(shop.config) as before:
        assert shop.index().path == first.path
        for searcher, name, found in (
            (before, "A", []),
            (pipeline.open(shop.config), "New name", ["a"]),
        ):
            hits = searcher.search(np.float32(A), 1)[ENGINE].hits
            assert [hit.item.name for hit in hits] == [name]
            hats = searcher.search(np.float32(A), 1, where="name = 'New name'")[ENGINE].hits
            assert [hit.item.key for hit in hats] == found
    assert store(shop).numbers() == [1, 2]


def test_nothing_answers_before_it_is_published(shop: Shop) -> None:
    with pytest.raises(NotBuiltError, match=f"{shop.folder}: nothing is published yet; run"):
        pipeline.open(shop.config)
    with pytest.raises(NotBuiltError, match="nothing is published yet"):
        roll_back(shop.config)
    with pytest.raises(NotBuiltError, match="nothing is published yet"):
        publications(shop.config)


def test_engines_that_were_not_published_are_named(shop: Shop) -> None:
    shop.build({"a": [A]})
    engines = dict.fromkeys((ENGINE, "other"), shop.config.engines[ENGINE])
    more = shop.config.model_copy(update={"engines": engines})
    with pipeline.open(more) as searcher:
        assert searcher.search(np.float32(A)).notes == ("publication 1 has no index of other",)
    with pytest.raises(NotBuiltError, match="publication 1 has no index of other; run"):
        pipeline.open(more, ["other"])


# -- Rolling back ----------------------------------------------------------------------------------


def test_a_parent_that_is_not_kept_is_named_as_that(shop: Shop) -> None:
    grown(shop, 3)
    shutil.rmtree(PublicationStore(shop.config).folder / "2")
    with pytest.raises(QueryError, match="publication 2, the parent of 3, is not kept any more"):
        roll_back(shop.config)
    assert roll_back(shop.config, 1).number == 1


def test_rolling_back_and_forward_again(shop: Shop) -> None:
    grown(shop, 4)
    assert nearest(shop) == ["k1", "k2", "k3", "k4"]
    assert roll_back(shop.config).number == 3
    assert nearest(shop) == ["k1", "k2", "k3"]
    assert roll_back(shop.config, "1").number == 1
    assert (nearest(shop), nearest(shop, 3)) == (["k1"], ["k1", "k2", "k3"])
    with pytest.raises(QueryError, match="publication 1 has no parent"):
        roll_back(shop.config)
    assert roll_back(shop.config, 4).number == 4
    assert nearest(shop) == ["k1", "k2", "k3", "k4"]
    with pytest.raises(QueryError, match="there is no publication 5"):
        roll_back(shop.config, 5)


def test_after_rolling_back_only_a_change_is_published(shop: Shop) -> None:
    grown(shop, 3)
    roll_back(shop.config, 2)
    ws = Workspace(shop.config, shop.catalog)
    report = publish.publish(ws, lambda *_: GateVerdict({}))
    assert report.to_dict() == {"number": 3, "new": False, "answering": 2}
    assert nearest(shop) == ["k1", "k2"]
    grown(shop, 4, first=4)
    newest = store(shop).current()
    assert newest is not None
    assert (newest.number, newest.parent, newest.changes) == (
        4,
        2,
        {"added": 2, "changed": 0, "removed": 0},
    )


def test_the_model_of_a_publication_goes_back_with_it(shop: Shop) -> None:
    shop.build({"a": [A], "b": [B]})
    first = shop.model.fingerprint
    shop.use_model("retrained")
    shop.build({"a": [A], "b": [B]})
    assert [one.new_models for one in publications(shop.config)] == [[ENGINE], []]
    roll_back(shop.config)
    with pipeline.open(shop.config) as searcher:
        assert searcher.engines[ENGINE].model.fingerprint == first
        assert searcher.search(Item(1))[ENGINE].hits[0].item.key == "b"


# -- What is kept ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "kept"), [(1, [5]), (2, [4, 5]), (4, [2, 3, 4, 5])])
def test_as_many_are_kept_as_the_settings_say(shop: Shop, keep: int, kept: list[int]) -> None:
    grown(shop, 5, keep)
    assert store(shop).numbers() == kept
    builds = {one.engines[ENGINE].build for one in store(shop).all()}
    assert {path.name for path in shop.engine.builds.all()} == builds
    generations = [one.generation for one in store(shop).all()]
    assert shop.catalog.sealed_generations() == generations


def test_a_model_goes_once_another_is_trained_in_its_place(shop: Shop) -> None:
    shop.build({"a": [A]}, keep=1)
    other = shop.use_model("by other settings", recipe={"layer": "another"})
    retrained = []
    for weights in ("1", "2", "3"):
        retrained.append(shop.use_model(weights))
        shop.build({"a": [A]}, keep=2)
    kept = {other.path, retrained[1].path, retrained[2].path}
    assert set(shop.engine.models.folders()) == kept
    assert roll_back(shop.config).engines[ENGINE].model == retrained[1].path.name
    assert nearest(shop) == ["a"]


def test_what_is_tagged_is_kept_and_answers_by_its_name(shop: Shop) -> None:
    grown(shop, 2)
    with changing(shop.config) as (publications_, _):
        publications_.tag(1, "christmas")
    grown(shop, 5, keep=1, first=3)
    assert store(shop).numbers() == [1, 5]
    assert nearest(shop, "christmas") == ["k1"]
    assert roll_back(shop.config, "christmas").number == 1
    with changing(shop.config) as (publications_, _):
        publications_.remove_tag("christmas")
    roll_back(shop.config, 5)
    shop.index(keep=1)
    assert store(shop).numbers() == [5]


@pytest.mark.parametrize("name", ["", "7", "a b", "../x", "-x", ".x"])
def test_what_cannot_be_a_tag_is_refused(shop: Shop, name: str) -> None:
    grown(shop, 1)
    with pytest.raises(QueryError, match="cannot be a tag"):
        store(shop).tag(1, name)


def test_what_is_open_is_kept_until_it_is_closed(shop: Shop) -> None:
    grown(shop, 1)
    with pipeline.open(shop.config) as searcher:
        expected = searcher.search(np.float32(A), 9)
        grown(shop, 4, keep=1, first=2)
        assert store(shop).numbers() == [1, 4]
        assert searcher.search(np.float32(A), 9) == expected
        assert nearest(shop, 1) == ["k1"]
    shop.index(keep=1)
    assert store(shop).numbers() == [4]


def test_what_answers_and_the_newest_are_kept(shop: Shop) -> None:
    grown(shop, 5, keep=3)
    roll_back(shop.config, 3)
    shop.index(keep=1)
    assert store(shop).numbers() == [3, 5]


# -- The gate --------------------------------------------------------------------------------------


def test_what_the_gate_refuses_is_kept_aside_and_can_be_forced(shop: Shop) -> None:
    grown(shop, 1)
    shop.offer({"k1": [A], "k2": [B]})
    shop.embed()
    shop.build_only()
    for _ in range(2):
        with pytest.raises(GateError, match=r"publications/2: not published: it smells; mend"):
            refuse(shop, "it smells")
        assert (store(shop).pointer(), store(shop).numbers()) == (Pointer(1, 1), [1, 2])
        assert nearest(shop) == ["k1"]
    assert [one.refused for one in publications(shop.config)] == [("it smells",), ()]
    with pytest.raises(GateError, match="publication 2 has never answered"):
        roll_back(shop.config, 2)
    assert force(shop.config).number == 2
    assert nearest(shop) == ["k1", "k2"]
    with pytest.raises(QueryError, match="no publication is kept aside"):
        force(shop.config)


def test_what_is_mended_takes_the_place_of_what_was_refused(shop: Shop) -> None:
    grown(shop, 1)
    shop.offer({"k1": [A], "k2": [B]})
    shop.embed()
    shop.build_only()
    with pytest.raises(GateError):
        refuse(shop, "it smells")
    grown(shop, 3, first=2)
    assert store(shop).numbers() == [1, 2, 3]
    assert nearest(shop, 2) == ["k1", "k2"]
    assert [one.refused for one in publications(shop.config)] == [(), (), ()]


def test_what_was_refused_is_not_replaced_while_it_is_open(shop: Shop) -> None:
    grown(shop, 1)
    shop.offer({"k1": [A], "k2": [B]})
    shop.embed()
    shop.build_only()
    with pytest.raises(GateError):
        refuse(shop, "it smells")
    with pipeline.open(shop.config, publication=2) as searcher:
        with pytest.raises(BusyError, match="publication 2 is in use; end what searches"):
            grown(shop, 3, first=3)
        found = searcher.search(np.float32(A), 9, where="name <> ''")
        assert [hit.item.key for hit in found[ENGINE].hits] == ["k1", "k2"]
    grown(shop, 3, first=3)
    assert nearest(shop, 2) == ["k1", "k2", "k3"]


# -- What is damaged or lost -----------------------------------------------------------------------


def test_a_pointer_that_is_lost_is_made_again(shop: Shop) -> None:
    grown(shop, 3)
    before = (shop.folder / "CURRENT").read_bytes()
    (shop.folder / "CURRENT").unlink()
    assert "nothing is published yet" in str(verify(shop.config).problems[0])
    grown(shop, 3, first=3)
    assert (shop.folder / "CURRENT").read_bytes() == before
    assert verify(shop.config).problems == []


def test_a_publication_that_is_deleted_is_followed_by_another(shop: Shop) -> None:
    grown(shop, 2)
    shutil.rmtree(store(shop).folder / "2")
    with pytest.raises(DamagedArtifactError, match=r"publications/2/manifest.json: damaged: it is"):
        nearest(shop)
    assert "names publication 2, which is not here" in str(verify(shop.config).problems[0])
    grown(shop, 2, first=2)
    assert (store(shop).numbers(), nearest(shop)) == ([1, 3], ["k1", "k2"])


@pytest.mark.parametrize("name", ["CURRENT", "tags.json", "publications/1/manifest.json"])
def test_what_says_which_one_answers_is_checked(shop: Shop, name: str) -> None:
    grown(shop, 1)
    store(shop).tag(1, "sale")
    data = (shop.folder / name).read_bytes()
    (shop.folder / name).write_bytes(data.replace(b"1", b"2", 1))
    with pytest.raises(DamagedArtifactError, match=f"{name}: damaged: "):
        nearest(shop, "sale" if name == "tags.json" else None)
    assert [problem.where for problem in verify(shop.config).problems] == [shop.folder / name]


@pytest.mark.parametrize("part", ["builds", "model"])
def test_what_a_publication_lacks_is_told(shop: Shop, part: str) -> None:
    grown(shop, 1)
    shop.use_model("newer")
    grown(shop, 2, first=2)
    first = store(shop).get(1)
    assert first is not None
    engine = first.engines[ENGINE]
    shutil.rmtree(shop.engine.folder / part / {"builds": engine.build, "model": engine.model}[part])
    (problem,) = verify(shop.config).problems
    assert (problem.where, "is missing" in problem.fault) == (store(shop).folder / "1", True)
    with pytest.raises(PipelineError):
        roll_back(shop.config, 1)
    assert nearest(shop) == ["k1", "k2"]


# -- Columns that are kept beside a publication ----------------------------------------------------


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the columns of few items, too."""
    keep = Catalog.keep_columns
    monkeypatch.setattr(Catalog, "keep_columns", lambda self, folder: keep(self, folder, 1))


def column_files(shop: Shop, number: int) -> dict[str, int]:
    """Name → inode."""
    files = store(shop).columns_folder(number).glob("*.column")
    return {file.name: file.stat().st_ino for file in files}


def test_a_publication_begins_with_the_columns_of_the_one_before(shop: Shop, keeping: None) -> None:
    grown(shop, 1)
    assert len(column_files(shop, 1)) == 2  # the states, and which columns there are
    with pipeline.open(shop.config) as searcher:
        searcher.search(np.float32(A), 1, where="key = 'k1'")
    before = column_files(shop, 1)
    assert len(before) == 3
    grown(shop, 2, first=2)
    assert column_files(shop, 2).keys() == before.keys()
    for where, expected in (("key = 'k1'", ["k1"]), ("key <> 'k1'", ["k2"])):
        with pipeline.open(shop.config) as searcher:
            result = searcher.search(np.float32(A), 3, where=where)
            assert [hit.item.key for hit in result[ENGINE].hits] == expected
    assert verify(shop.config).problems == []


def test_columns_of_another_ledger_are_not_taken_over(shop: Shop, keeping: None) -> None:
    grown(shop, 2)
    with pipeline.open(shop.config) as searcher:
        searcher.search(np.float32(A), 1, where="key = 'k1'")
    assert len(column_files(shop, 2)) == 3
    with shop.catalog.transaction():
        shop.catalog.set_meta("published", None)  # as of a ledger that was made anew
    grown(shop, 3, first=3)
    assert len(column_files(shop, 3)) == 2
