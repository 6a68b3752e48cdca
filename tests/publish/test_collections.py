"""Publishing to Milvus Lite: a collection of each index, and an alias for the one that answers."""

from __future__ import annotations

from contextlib import closing
from uuid import uuid4

import numpy as np
import pytest

from pipeline.catalog.ingest import ingest
from pipeline.config import MilvusSettings
from pipeline.engine import Engine
from pipeline.errors import VectorDatabaseError
from pipeline.index.milvus import index as searching
from pipeline.index.milvus.index import MilvusIndex
from pipeline.index.milvus.server import MilvusServer
from pipeline.maintenance.clean import clean
from pipeline.maintenance.info import ServedBuildInfo, catalog_info
from pipeline.maintenance.problems import Remedy
from pipeline.maintenance.verify_published import collection_problems
from pipeline.maintenance.verify_recall import check_recall
from pipeline.progress import SILENT
from pipeline.publish import collections as publishing
from pipeline.publish.collections import drop_collections
from pipeline.publish.opening import open_catalog
from pipeline.publish.store import PublicationStore
from pipeline.publish.switching import roll_back
from pipeline.search.engine_searcher import open_engine
from pipeline.search.query import Item
from pipeline.sources.base import SourceItem, SourcePhoto
from tests.conftest import ENGINE, Color, ListSource, Shop, png
from tests.milvus_server import lite_settings, lite_uri, use_milvus

RED, BLUE, GREEN, PINK = (200, 0, 0), (0, 0, 200), (0, 200, 0), (220, 20, 60)
ITEMS: dict[str, list[Color]] = {"a": [RED], "b": [BLUE, RED], "c": [GREEN]}


@pytest.fixture
def milvus(shop: Shop) -> MilvusServer:
    use_milvus(shop, lite_settings(prefix=f"p{uuid4().hex[:8]}"))
    return MilvusServer(shop.config.index.milvus)


def collections(shop: Shop, server: MilvusServer) -> set[str]:
    prefix = str(shop.config.index.milvus.prefix)
    return {name for name in server.call("list_collections") if name.startswith(prefix)}


def named(shop: Shop) -> list[str]:
    """The collection of each publication."""
    return [one.collections[ENGINE].name for one in PublicationStore(shop.config).all()]


def answering(shop: Shop, server: MilvusServer) -> str:
    alias = f"{shop.config.index.milvus.prefix}_{ENGINE}"
    return str(server.call("describe_collection", alias)["collection_name"])


def test_a_catalog_is_searched_by_the_server(shop: Shop, milvus: MilvusServer) -> None:
    with closing(milvus):
        shop.build(ITEMS | {"d": [PINK]})
        (name,) = named(shop)
        assert collections(shop, milvus) == {name}
        assert answering(shop, milvus) == name
        with shop.searcher() as searcher:
            assert isinstance(searcher.index, MilvusIndex)
            hits = searcher.search(Item(shop.id_of("a")), k=3).hits
            some = searcher.search(np.float32([0, 0, 0]), k=3, where="key in ('c', 'd')").hits
        distance = float(np.linalg.norm(np.subtract(RED, PINK)))
        assert [(hit.item.key, hit.distance) for hit in hits[:2]] == [("b", 0.0), ("d", distance)]
        assert [hit.item.key for hit in some] == ["c", "d"]


def test_the_alias_follows_what_answers_and_unneeded_collections_go(
    shop: Shop, milvus: MilvusServer
) -> None:
    with closing(milvus):
        others = f"{shop.config.index.milvus.prefix}_2_{ENGINE}_{'0' * 16}_{'f' * 16}"
        milvus.call("create_collection", others, dimension=4)
        shop.build(ITEMS)
        with shop.searcher() as pinned:
            shop.build(ITEMS | {"d": [PINK]})
            first, second = named(shop)
            assert answering(shop, milvus) == second
            assert collections(shop, milvus) == {first, second, others}
            assert (
                len(pinned.search(Item(1), k=9).hits) == 2
            )  # of the three that it was opened with
            roll_back(shop.config)
            assert answering(shop, milvus) == first
            roll_back(shop.config, 2)
        shop.build(ITEMS | {"e": [PINK]})
        assert {*named(shop), others} == collections(shop, milvus)
        assert first not in collections(shop, milvus)


def test_columns_that_change_make_another_collection(shop: Shop, milvus: MilvusServer) -> None:
    with closing(milvus):
        shop.build({"a": [RED], "c": [GREEN]})
        shop.build({"a": [RED], "b": [RED], "c": [GREEN]})
        shop.build({"a": [RED], "b2": [RED], "c": [GREEN]})
        assert len(set(named(shop))) == 2
        with shop.searcher() as searcher:
            assert len(searcher.search(Item(1), k=9, where="key = 'b2'").hits) == 1


def priced(shop: Shop, prices: list[int]) -> None:
    """Publish items whose only difference is their price; the first photo is black."""
    offers = [
        SourceItem(
            str(number),
            "",
            "",
            (SourcePhoto(f"{number}.png", data=png((number, 0, 0))),),
            {"price": price},
        )
        for number, price in enumerate(prices)
    ]
    ingest(ListSource(offers), shop.catalog, shop.limits)
    shop.embed()
    shop.index()


def cheap(shop: Shop, number: int) -> list[str]:
    """What a publication finds by a condition, of which Milvus is told."""
    with open_engine(shop.config, ENGINE, number) as searcher:
        hits = searcher.search(np.zeros(3, np.float32), k=9, where="price < 5").hits
    return [hit.item.key for hit in hits]


def test_few_columns_that_change_are_looked_up_and_many_make_another_collection(
    shop: Shop, milvus: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MAX_ROW_LIST", 0)
    monkeypatch.setattr(publishing, "MAX_STALE", 2)
    with closing(milvus):
        priced(shop, [1, 9, 9, 9])
        priced(shop, [1, 1, 9, 9])
        assert len(set(named(shop))) == 1
        assert (cheap(shop, 1), cheap(shop, 2)) == (["0"], ["0", "1"])
        drop_collections(shop.config, named(shop))
        later = PublicationStore(shop.config).get(2)
        assert later is not None
        with open_catalog(shop.config, later) as catalog:  # it writes it again
            publishing.write_collections(shop.config, later, catalog, SILENT)
        assert (cheap(shop, 1), cheap(shop, 2)) == (["0"], ["0", "1"])
        priced(shop, [9, 1, 9, 9])
        assert (cheap(shop, 2), cheap(shop, 3)) == (["0", "1"], ["1"])
        priced(shop, [9, 1, 1, 9])
        assert len(set(named(shop))) == 2
        assert (cheap(shop, 3), cheap(shop, 4)) == (["1"], ["1", "2"])


@pytest.mark.parametrize("step", ["insert", "load_collection", "alter_alias"])
def test_where_the_server_fails_the_old_one_answers_and_the_next_run_ends_it(
    shop: Shop, milvus: MilvusServer, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(milvus):
        shop.build(ITEMS)
        with monkeypatch.context() as patch:
            call = MilvusServer.call

            def failing(
                self: MilvusServer, method: str, *args: object, **options: object
            ) -> object:
                if method == step:
                    raise VectorDatabaseError("it is gone", where="there")
                return call(self, method, *args, **options)

            patch.setattr(MilvusServer, "call", failing)
            with pytest.raises(VectorDatabaseError, match="it is gone"):
                shop.build(ITEMS | {"d": [PINK]})
            assert PublicationStore(shop.config).current_number() == 1
        assert answering(shop, milvus) == named(shop)[0]
        shop.index()
        assert PublicationStore(shop.config).current_number() == 2
        assert answering(shop, milvus) == named(shop)[-1]
        with shop.searcher() as searcher:
            assert len(searcher.search(Item(1), k=9).hits) == 3


def test_a_server_that_lost_its_data_gets_it_again(shop: Shop, milvus: MilvusServer) -> None:
    with closing(milvus):
        shop.build(ITEMS)
        (name,) = named(shop)
        milvus.call("drop_alias", f"{shop.config.index.milvus.prefix}_{ENGINE}")
        milvus.call("drop_collection", name)
        with (
            shop.searcher() as searcher,
            pytest.raises(VectorDatabaseError, match="imgsearch build"),
        ):
            searcher.search(Item(1))
        shop.index()
        assert answering(shop, milvus) == name
        assert len(named(shop)) == 1
        with shop.searcher() as searcher:
            assert len(searcher.search(Item(1), k=9).hits) == 2


def test_verify_and_repair_know_what_the_server_holds(shop: Shop, milvus: MilvusServer) -> None:
    with closing(milvus):
        shop.build(ITEMS)
        shop.build(ITEMS | {"d": [PINK]})
        first, second = named(shop)
        assert [*collection_problems(shop.config)] == []
        milvus.call("drop_collection", first)
        milvus.call("delete", second, filter="row == 1")
        found = [(one.collection, one.remedy) for one in collection_problems(shop.config)]
        assert found == [(first, Remedy.BUILD), (second, Remedy.REWRITE)]
        drop_collections(shop.config, [second])
        (_, _, alias) = collection_problems(shop.config)
        assert "alias" in alias.fault
        shop.index()
        assert [*collection_problems(shop.config)] == []
        roll_back(shop.config, 1)
        assert answering(shop, milvus) == first


def test_a_server_that_does_not_answer_is_one_problem(
    shop: Shop, milvus: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.build(ITEMS)
    use_milvus(shop, MilvusSettings(uri="http://127.0.0.1:1", timeout=0.2))
    (problem,) = collection_problems(shop.config)
    assert (problem.remedy, problem.is_mendable) == (Remedy.WAIT, False)
    assert str(problem).startswith("http://127.0.0.1:1: Milvus failed (has_collection)")
    with pytest.raises(VectorDatabaseError):
        clean(shop.config, everything=True)
    assert PublicationStore(shop.config).current_number() == 1


def test_clean_drops_what_is_of_this_catalog(shop: Shop, milvus: MilvusServer) -> None:
    with closing(milvus):
        shop.build(ITEMS)
        (name,) = named(shop)
        unfinished = name[:-16] + "0" * 16
        others = f"{shop.config.index.milvus.prefix}_2_{ENGINE}_{'0' * 16}_{'f' * 16}"
        for one in (unfinished, others):
            milvus.call("create_collection", one, dimension=4)
        gone = clean(shop.config)
        assert [removal.path for removal in gone] == [f"{lite_uri()}/{unfinished}"]
        assert collections(shop, milvus) == {name, others}
        clean(shop.config, everything=True)
        assert collections(shop, milvus) == {others}


def test_a_promise_of_recall_is_shown_and_measured_again(shop: Shop, milvus: MilvusServer) -> None:
    with closing(milvus):
        index = shop.config.index.model_copy(update={"recall": 0.9})
        shop.config = shop.config.model_copy(update={"index": index})
        shop.engine = Engine(ENGINE, shop.config)
        shop.build({f"a{n}": [(n, 0, n % 7)] for n in range(60)})
        (check,) = check_recall(shop.config, seed=1)
        assert check.is_kept
        assert check.now.queries == 60
        shown = catalog_info(shop.config).engines[ENGINE].build
        assert isinstance(shown, ServedBuildInfo)
        assert (shown.collection, shown.recall) == (named(shop)[0], check.built)


def test_without_milvus_a_publication_says_nothing_of_it(shop: Shop) -> None:
    shop.build(ITEMS)
    (publication,) = PublicationStore(shop.config).all()
    assert "collections" not in publication.to_dict()
    assert "milvus" not in shop.engine.current_build().manifest["index"]
