"""Real Milvus servers give what `flat` gives, also while publications change and processes die."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
import pytest

from pipeline.catalog.condition_parser import parse
from pipeline.config import MilvusSettings
from pipeline.errors import PipelineError, VectorDatabaseError
from pipeline.index import open_index, write_index
from pipeline.index.base import F32Matrix, Ids, VectorIndex
from pipeline.index.milvus import index as searching
from pipeline.index.milvus import narrowed
from pipeline.index.milvus.collection import Collection
from pipeline.index.milvus.columns import Columns
from pipeline.index.milvus.index import MilvusIndex
from pipeline.index.milvus.server import MilvusServer
from pipeline.index.milvus.writing import write_collection
from pipeline.index.recall import Recall, found_shares
from pipeline.progress import SILENT
from pipeline.publish.store import PublicationStore
from tests.cluster.milvus_servers import Cluster, Secured, Standalone, wait_until
from tests.conftest import ENGINE, Shop
from tests.milvus_server import lite_uri, use_milvus

AnyServer = TypeVar("AnyServer", bound=Standalone)
ROWS, QUERIES, CLIENTS = 4000, 200, 8


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with running(Standalone(tmp_path_factory.mktemp("standalone"))) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(Cluster(tmp_path_factory.mktemp("cluster"))) as server:
        yield server


@contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Lite:
    """In this process."""

    @property
    def uri(self) -> str:
        return lite_uri()


@pytest.fixture(params=["lite", "standalone", "cluster"])
def server(request: pytest.FixtureRequest) -> Lite | Standalone:
    made: Standalone = Lite() if request.param == "lite" else request.getfixturevalue(request.param)
    return made


def settings_of(server: Lite | Standalone, **changes: Any) -> MilvusSettings:
    return MilvusSettings(**{"uri": server.uri, "timeout": 60, "publish_timeout": 120, **changes})


def vectors_of(dim: int, is_normalized: bool) -> F32Matrix:
    """In clusters, as those of photos are; some of them twice. At most 4 MB."""
    count = min(ROWS, (4 << 20) // (4 * dim))
    rng = np.random.default_rng(dim)
    centers = rng.standard_normal((40, dim))
    xb = centers[rng.integers(0, 40, count)] + 0.3 * rng.standard_normal((count, dim))
    xb[:50] = xb[50:100]
    if is_normalized:
        xb /= np.linalg.norm(xb, axis=1, keepdims=True)
    return xb.astype(np.float32)


def flat_of(folder: Path, xb: F32Matrix) -> VectorIndex:
    folder.mkdir()
    write_index("flat", folder, *xb.shape, [(np.arange(len(xb)), xb)])
    return open_index("flat", folder)


def columns_of(rows: Ids) -> list[Columns | None]:
    return [{"category": f"c{row % 5}", "price": row / 2} for row in rows.tolist()]


def written(
    settings: MilvusSettings, flat: VectorIndex, promise: float | None = None
) -> MilvusIndex:
    server = MilvusServer(settings)
    collection = Collection(f"t{uuid4().hex}", flat.rows, flat.dim, promise)
    with SILENT.task("", None, "") as advance:
        collection = write_collection(server, collection, flat, columns_of, advance)
    return MilvusIndex(server, collection, flat)


def differing(one: VectorIndex, flat: VectorIndex, queries: F32Matrix, *args: Any) -> int:
    """How many queries find other rows, or other distances."""
    got, wanted = one.search(queries, *args), flat.search(queries, *args)
    same = (got.rows == wanted.rows) & (got.distances == wanted.distances)
    return int((~same.all(axis=1)).sum())


@pytest.mark.parametrize(("dim", "is_normalized"), [(1280, False), (128, True)])
def test_two_hundred_queries_find_what_flat_finds(
    server: Lite | Standalone,
    dim: int,
    is_normalized: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    xb = vectors_of(dim, is_normalized)
    flat = flat_of(tmp_path / "flat", xb)
    rng = np.random.default_rng(1)
    rows = np.arange(len(xb))
    queries = xb[rng.choice(rows, QUERIES)] + np.float32(0.01) * rng.standard_normal(
        (QUERIES, dim)
    ).astype(np.float32)
    with closing(written(settings_of(server), flat)) as index:
        assert differing(index, flat, queries, 10) == 0
        assert differing(index, flat, xb[:QUERIES], 10) == 0
        assert differing(index, flat, queries, 10, rng.choice(rows, 300, replace=False)) == 0
        monkeypatch.setattr(searching, "MAX_ROW_LIST", 5)
        rare = narrowed(index, parse("category = 'c1' and price between 100 and 300"))
        met = rows[(rows % 5 == 1) & (rows >= 200) & (rows <= 600)]
        assert differing(rare, flat, queries, 10, met) == 0
        common = narrowed(index, parse("category in ('c1', 'c2') or price < 400"))
        met = rows[(rows % 5 == 1) | (rows % 5 == 2) | (rows < 800)]
        assert differing(common, flat, queries, 10, met) == 0


def test_a_promise_of_recall_is_kept_and_conditions_are_met_exactly(
    server: Lite | Standalone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    xb = vectors_of(128, is_normalized=False)
    flat = flat_of(tmp_path / "flat", xb)
    rows, queries = np.arange(len(xb)), xb[:QUERIES] + np.float32(0.05)
    with closing(written(settings_of(server), flat, promise=0.98)) as index:
        assert index.collection.levels
        assert index.collection.recall
        assert index.collection.recall.measured.low >= 0.98
        found, nearest = index.search(queries, 8), flat.search(queries, 8)
        shares = found_shares(found.distances, nearest.distances)
        assert Recall.of(shares, 8).high >= 0.98
        for allowed in (rows[::2], rows[::100], rows[::500]):
            assert differing(index, flat, queries, 8, allowed) == 0
        monkeypatch.setattr(searching, "MAX_ROW_LIST", 5)
        for where, allowed in (
            ("price >= 0", rows),
            ("price < 1000", rows[:2000]),
            ("category = 'c1'", rows[1::5]),
            ("price < 20", rows[:40]),
            ("category = 'c1' and price < 20", rows[1:40:5]),
        ):
            assert differing(narrowed(index, parse(where)), flat, queries, 8, allowed) == 0, where


class Clients:
    """Threads that ask until they are stopped, and note what failed and when."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self.ask, self.answers = ask, 0
        self.errors: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.answers > CLIENTS)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.ask()
                self.answers += 1
            except (PipelineError, AssertionError) as error:
                self.errors.append((time.monotonic(), str(error)))


def test_the_alias_is_switched_ten_times_under_load(server: Lite | Standalone, shop: Shop) -> None:
    use_milvus(shop, settings_of(server, prefix=f"p{uuid4().hex[:8]}"))
    alias = f"{shop.config.index.milvus.prefix}_{ENGINE}"
    # Of publication n the nearest photo to black is n away from it.
    shop.build({"a": [(1, 0, 0)], "b": [(200, 200, 200)]})

    def ask() -> None:
        with shop.searcher() as searcher:
            result = searcher.search(np.zeros(3, np.float32), k=1)
            assert result.hits[0].distance == searcher.publication.number

    def ask_alias() -> None:
        # Another program, which tries again too: Milvus 2.3 loses its way for a moment at a switch.
        (hits,) = outside.call("search", alias, [np.zeros(3, np.float32)], limit=9, seconds=10)
        assert len(hits) == 2

    with closing(MilvusServer(settings_of(server))) as outside, Clients(ask) as clients:
        with Clients(ask_alias) as others:
            for number in range(2, 12):
                shop.build({f"a{number}": [(number, 0, 0)], "b": [(200, 200, 200)]})
        assert PublicationStore(shop.config).current_number() == 11
    assert clients.errors == []
    assert others.errors == []
    assert min(clients.answers, others.answers) > 10


def test_a_server_that_is_killed_during_a_publish(
    tmp_path: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(Standalone(tmp_path / "killed")) as server:
        use_milvus(shop, settings_of(server, prefix="killed", publish_timeout=60))
        shop.build({"a": [(1, 0, 0)]})
        for number, step in enumerate(("insert", "flush", "load_collection", "alter_alias"), 2):
            call, quick = MilvusServer.call, {"seconds": 3}

            def killing(self: MilvusServer, method: str, *args: Any, **options: Any) -> Any:
                if method == step:  # noqa: B023
                    server.kill()
                    options |= quick  # noqa: B023
                return call(self, method, *args, **options)  # noqa: B023

            items = {f"a{number}": [(number, 0, 0)]}
            with monkeypatch.context() as patch:
                patch.setattr(MilvusServer, "call", killing)
                with pytest.raises(VectorDatabaseError):
                    shop.build(items)
            server.start()
            wait_until(lambda: assert_answers(shop, number - 1))  # noqa: B023  it is loaded anew
            shop.build(items)
            assert_answers(shop, number)


def assert_answers(shop: Shop, number: int) -> bool:
    """Publication n answers: the nearest photo to black is n away; and so does the alias."""
    name = PublicationStore(shop.config).current()
    assert name is not None
    settings = shop.config.index.milvus
    with shop.searcher() as searcher, closing(MilvusServer(settings)) as server:
        found = searcher.search(np.zeros(3, np.float32), k=1)
        assert found.hits[0].distance == searcher.publication.number == number
        alias = server.call("describe_collection", f"{settings.prefix}_{ENGINE}")
        assert alias["collection_name"] == name.collections[ENGINE].name
    return True


def test_credentials_and_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def collections(**changes: Any) -> Any:
        with closing(MilvusServer(settings_of(server, **changes))) as client:
            return client.call("list_collections", seconds=20)

    with running(Secured(tmp_path / "secured")) as server:
        monkeypatch.setenv("IMGSEARCH_MILVUS_USER", "root")
        monkeypatch.setenv("IMGSEARCH_MILVUS_PASSWORD", "Milvus")
        wait_until(lambda: collections(ca_file=server.certificate) == [])
        with pytest.raises(VectorDatabaseError):
            collections()  # it is signed by no one that the system knows
        with pytest.raises(VectorDatabaseError, match="there is no such file"):
            collections(ca_file=tmp_path / "none.pem")
        monkeypatch.setenv("IMGSEARCH_MILVUS_PASSWORD", "hunter22")
        with pytest.raises(VectorDatabaseError, match="IMGSEARCH_MILVUS_TOKEN") as caught:
            collections(ca_file=server.certificate)
        assert "hunter22" not in str(caught.value)


def test_a_query_node_that_is_killed_under_load(cluster: Cluster, tmp_path: Path) -> None:
    xb = vectors_of(64, is_normalized=False)
    flat = flat_of(tmp_path / "flat", xb)
    queries = xb[:20] + np.float32(0.125)
    wanted = flat.search(queries, 10)

    def ask() -> None:
        got = index.search(queries, 10)
        assert (got.rows == wanted.rows).all(), "other rows"
        assert (got.distances == wanted.distances).all(), "other distances"

    with closing(written(settings_of(cluster, replicas=2, timeout=10), flat)) as index:
        with Clients(ask) as clients:
            killed = time.monotonic()
            cluster.kill("querynode1")
            before = clients.answers
            wait_until(lambda: time.monotonic() > killed + 20 and clients.answers > before + 100)
        assert all("other" not in error for _, error in clients.errors)
        assert all(when <= killed + 5 for when, _ in clients.errors), clients.errors
        cluster.run("querynode2", "querynode")
        assert differing(index, flat, queries, 10) == 0
