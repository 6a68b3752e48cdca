"""Milvus Lite gives what `flat` gives: the same rows, and the same distances to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from pipeline.catalog.condition_parser import parse
from pipeline.config import MilvusSettings
from pipeline.errors import QueryError, VectorDatabaseError
from pipeline.index import open_index, tuning, write_index
from pipeline.index.base import F32Matrix, Ids, VectorIndex
from pipeline.index.milvus import checking, narrowed, writing
from pipeline.index.milvus import collection as describing
from pipeline.index.milvus import index as searching
from pipeline.index.milvus.collection import Collection
from pipeline.index.milvus.columns import Columns
from pipeline.index.milvus.expression import MAX_TERMS, to_expression
from pipeline.index.milvus.index import MilvusIndex
from pipeline.index.milvus.server import MilvusServer
from pipeline.index.recall import found_shares
from pipeline.progress import SILENT
from tests.milvus_server import lite_settings

ROWS, DIM = 300, 24
KINDS = ("shoe", "hat", "Ø'sock")


def kind(row: int) -> str:
    return KINDS[row % len(KINDS)]


def columns_of(rows: Ids) -> list[Columns | None]:
    """Every seventh row has none, as if several items showed it."""
    return [
        None if row % 7 == 0 else {"category": kind(row), "price": row / 2} for row in rows.tolist()
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[MilvusServer]:
    with closing(MilvusServer(lite_settings())) as made:
        yield made


@pytest.fixture(scope="module")
def vectors() -> F32Matrix:
    """Of which some are equal, and some so near to each other that float32 cannot tell."""
    rng = np.random.default_rng(3)
    xb = rng.standard_normal((ROWS, DIM)).astype(np.float32) + 40
    xb[50:90] = xb[50]
    xb[100:140] = xb[100] + rng.standard_normal((40, DIM)).astype(np.float32) * 1e-5
    return xb


@pytest.fixture(scope="module")
def flat(vectors: F32Matrix, tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    folder: Path = tmp_path_factory.mktemp("flat")
    write_index("flat", folder, *vectors.shape, [(np.arange(ROWS), vectors)])
    return open_index("flat", folder)


@pytest.fixture(scope="module")
def milvus(server: MilvusServer, flat: VectorIndex) -> MilvusIndex:
    return written(server, flat)


def written(server: MilvusServer, flat: VectorIndex, promise: float | None = None) -> MilvusIndex:
    collection = Collection(f"t{uuid4().hex}", flat.rows, flat.dim, promise)
    with SILENT.task("", None, "") as advance:
        collection = writing.write_collection(server, collection, flat, columns_of, advance)
    assert checking.is_ready(server, collection)
    return MilvusIndex(server, collection, flat)


def assert_same(found: VectorIndex, flat: VectorIndex, queries: F32Matrix, *args: object) -> None:
    got, wanted = found.search(queries, *args), flat.search(queries, *args)  # type: ignore[arg-type]
    np.testing.assert_array_equal(got.rows, wanted.rows)
    np.testing.assert_array_equal(got.distances, wanted.distances)


@pytest.mark.parametrize("k", [1, 10, 60, ROWS, ROWS + 5])
def test_it_finds_what_flat_finds(
    milvus: MilvusIndex, flat: VectorIndex, vectors: F32Matrix, k: int
) -> None:
    rng = np.random.default_rng(k)
    near = vectors[[0, 50, 100, 120, 299]]
    queries = np.concatenate([near, near + rng.standard_normal(near.shape).astype(np.float32)])
    assert_same(milvus, flat, queries, k)
    allowed = rng.choice(ROWS, 120, replace=False)
    assert_same(milvus, flat, queries, k, allowed)
    assert_same(milvus, flat, queries, k, np.array([], np.int64))


@pytest.mark.parametrize(
    "where",
    [
        "category = 'hat'",
        "category in ('hat', 'shoe') and price < 50",
        "price between 20 and 60.5 and not category = 'hat'",
        "category like 'h%' and price >= 10",
        "category = 'hat' or price > 100",
    ],
)
def test_a_condition_is_pushed_down_where_rows_are_too_many(
    milvus: MilvusIndex,
    flat: VectorIndex,
    vectors: F32Matrix,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(searching, "MAX_ROW_LIST", 5)
    monkeypatch.setattr(searching, "MAX_LIMIT", 250)
    expression = to_expression(parse(where))
    assert expression
    met = milvus._server.call("query", milvus.collection.name, filter=expression, limit=ROWS)
    allowed = np.sort([row["row"] for row in met])
    rest = {row for row in range(ROWS) if meets(where, row)}
    assert rest <= set(allowed.tolist())  # it holds wherever the condition does
    allowed = np.array(sorted(rest))
    assert_same(narrowed(milvus, parse(where)), flat, vectors[::40] + np.float32(0.25), 10, allowed)


def meets(where: str, row: int) -> bool:
    """The oracle: a condition in Python; rows without columns meet all."""
    text = where.replace(" = ", " == ").replace("category like 'h%'", "category.startswith('h')")
    text = text.replace("price between 20 and 60.5", "20 <= price <= 60.5")
    return row % 7 == 0 or bool(eval(text, {"category": kind(row), "price": row / 2}))


def test_what_milvus_cannot_filter_by_is_refused_in_words(
    milvus: MilvusIndex, flat: VectorIndex, vectors: F32Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MAX_ROW_LIST", 5)
    monkeypatch.setattr(searching, "MAX_LIMIT", 100)
    far = np.argsort(((vectors - vectors[0]) ** 2).sum(axis=1))[-60:]
    with pytest.raises(QueryError, match="fewer than 10 are among the 100 nearest"):
        narrowed(milvus, parse("name like 'x%'")).search(vectors[:1], 10, far)
    half = np.arange(0, ROWS, 2)
    assert_same(narrowed(milvus, parse("name like 'x%'")), flat, vectors[:3], 10, half)


def test_where_a_filter_cuts_the_paths_of_a_graph_the_disk_is_searched(
    milvus: MilvusIndex, flat: VectorIndex, vectors: F32Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MAX_ROW_LIST", 5)
    propose = MilvusIndex._propose

    def cut(self: MilvusIndex, *args: Any) -> Iterator[Ids]:
        return (rows[:3] for rows in propose(self, *args))

    monkeypatch.setattr(MilvusIndex, "_propose", cut)
    hats = np.array([row for row in range(ROWS) if kind(row) == "hat"])
    assert_same(narrowed(milvus, parse("category = 'hat'")), flat, vectors[:3], 10, hats)


@pytest.mark.parametrize(
    ("where", "expression"),
    [
        ("price < 2000", 'columns["price"] < 2000'),
        ("price = ' 40 '", 'columns["price"] == 40'),
        ("price >= -2.5", 'columns["price"] >= -2.5'),
        ("\"a b\" = 'Ø'", 'columns["a b"] == "Ø"'),
        (
            "is_new = true and (a = 1 or b = 2)",
            '(columns["is_new"] == 1 and (columns["a"] == 1 or columns["b"] == 2))',
        ),
        ("a = 1 and b <> 2", 'columns["a"] == 1'),
        ("x.y = 1", None),
        ("a = 1 or not b = 2", None),
        ("a is null", None),
        ("a like 'x%'", None),
        ("a = 'it''s'", None),
        ("a = 9007199254740993", None),
        ("a < 1e-9", None),
        (f"a in ({', '.join(map(str, range(MAX_TERMS + 1)))})", None),
        ("not " * 50 + "a = 1", None),
    ],
)
def test_conditions_become_expressions(where: str, expression: str | None) -> None:
    wanted = expression and f"(shared == true or {expression})"
    assert to_expression(parse(where)) == wanted


def test_a_collection_with_other_rows_is_not_believed(
    server: MilvusServer, flat: VectorIndex, vectors: F32Matrix, tmp_path: Path
) -> None:
    index = written(server, flat)
    name = index.collection.name
    more = {"row": ROWS, "shared": True, "columns": {}, "vector": vectors[9]}
    server.call("insert", name, [more])
    with (
        pytest.raises(VectorDatabaseError, match="301 rows instead of 300"),
        SILENT.task("", None, "") as advance,
    ):
        writing.write_collection(server, index.collection, flat, columns_of, advance)

    write_index("flat", tmp_path, ROWS, DIM, [(np.arange(ROWS), vectors[::-1].copy())])
    other = open_index("flat", tmp_path)
    index = written(server, flat)
    with (
        pytest.raises(VectorDatabaseError, match="finds other photos"),
        SILENT.task("", None, "") as advance,
    ):
        writing.write_collection(server, index.collection, other, columns_of, advance)
    assert not checking.is_ready(server, index.collection)


def test_a_promise_of_recall_is_kept_and_conditions_are_met_exactly(
    server: MilvusServer,
    flat: VectorIndex,
    vectors: F32Matrix,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As of a larger collection: levels from near neighbors, and as many lists as it would have.
    monkeypatch.setattr(tuning, "NEIGHBORS", {16: 100})
    monkeypatch.setattr(describing, "ROWS_PER_LIST", 1)
    index = written(server, flat, promise=0.9)
    levels, recall = index.collection.levels, index.collection.recall
    assert 1 < levels[-1].lists < index.collection.lists == 68
    assert recall
    assert recall.measured.low >= 0.9
    queries = vectors[::3] + np.float32(0.1)
    found, wanted = index.search(queries, 10), flat.search(queries, 10)
    assert 0.9 <= found_shares(found.distances, wanted.distances).mean() < 1
    for query, distances, rows in zip(queries, found.distances, found.rows, strict=True):
        exact = flat.search(query[np.newaxis], 10, rows)
        np.testing.assert_array_equal(exact.distances[0], distances)
    for allowed in (np.arange(0, ROWS, 2), np.arange(0, ROWS, 29)):
        assert_same(index, flat, queries, 10, allowed)
    assert_same(index, flat, queries + np.float32(40), 10)  # farther than any neighbor
    monkeypatch.setattr(searching, "MAX_ROW_LIST", 5)
    hats = np.array([row for row in range(ROWS) if kind(row) == "hat"])
    assert_same(narrowed(index, parse("category = 'hat'")), flat, queries, 10, hats)


def test_a_collection_is_loaded_when_its_index_is_made(
    server: MilvusServer, flat: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = ["Finished", "InProgress"]
    calls: list[str] = []
    call = MilvusServer.call

    def slow(self: MilvusServer, method: str, *args: Any, **options: Any) -> Any:
        calls.append(method)
        return (
            {"state": states.pop()}
            if method == "describe_index"
            else call(self, method, *args, **options)
        )

    monkeypatch.setattr(MilvusServer, "call", slow)
    written(server, flat)
    assert calls.count("describe_index") == 2
    assert calls.index("load_collection") > calls.index("describe_index") + 1
    states.append("Failed")
    with pytest.raises(VectorDatabaseError, match="has not made the index"):
        written(server, flat)


def test_what_does_not_fit_is_refused_before_it_is_written(flat: VectorIndex) -> None:
    with closing(MilvusServer(lite_settings(memory_gb=1e-5, replicas=3))) as server:
        collection = Collection(f"t{uuid4().hex}", flat.rows, flat.dim)
        with (
            pytest.raises(VectorDatabaseError, match="300 vectors of 24 numbers, 3 times"),
            SILENT.task("", None, "") as advance,
        ):
            writing.write_collection(server, collection, flat, columns_of, advance)
        assert not server.call("has_collection", collection.name)


def test_a_server_that_is_not_there_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pymilvus")
    monkeypatch.setenv("IMGSEARCH_MILVUS_USER", "anna")
    monkeypatch.setenv("IMGSEARCH_MILVUS_PASSWORD", "hunter2")
    settings = MilvusSettings(uri="http://127.0.0.1:1", timeout=0.5)
    with closing(MilvusServer(settings)) as server, pytest.raises(VectorDatabaseError) as caught:
        server.call("has_collection", "x", seconds=0.5)
    message = str(caught.value)
    assert message.startswith("http://127.0.0.1:1: Milvus failed (has_collection): ")
    assert "\n" not in message
    assert "hunter2" not in message


def test_no_query_waits_longer_than_its_time_for_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pymilvus")
    is_connecting, is_over = Event(), Event()

    def connect(*_: object) -> object:
        is_connecting.set()
        is_over.wait()
        raise TimeoutError("it cannot be reached")

    monkeypatch.setattr(MilvusServer, "_connect", connect)
    server = MilvusServer(MilvusSettings(uri="http://127.0.0.1:1"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.call, "has_collection", "x", seconds=0.01)
        is_connecting.wait()
        with pytest.raises(VectorDatabaseError, match="it cannot be reached"):
            server.call("has_collection", "x", seconds=0.01)
        is_over.set()
        assert isinstance(first.exception(), VectorDatabaseError)


@pytest.mark.parametrize(
    ("harm", "what", "is_content"),
    [
        ("drop_collection", "is missing", False),
        ("release_collection", "is not loaded", False),
        ("delete", "has 298 rows instead of 300", True),
    ],
)
def test_what_is_wrong_with_a_collection_is_found(
    server: MilvusServer, flat: VectorIndex, harm: str, what: str, is_content: bool
) -> None:
    collection = written(server, flat).collection
    assert checking.fault_of(server, collection, flat) is None
    filtered = {"filter": "row in [1, 2]"} if harm == "delete" else {}
    server.call(harm, collection.name, **filtered)
    assert checking.fault_of(server, collection, flat) == (what, is_content)
