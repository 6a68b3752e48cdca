"""neighbors.py: the graph of a catalog against one query for each of its items."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import QueryError
from pipeline.search import neighbor_graph
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.neighbor_graph import EDGE, neighbor_blocks, write_graph
from pipeline.search.query import Item
from tests.conftest import Color, Shop


@pytest.fixture
def full(shop: Shop) -> Shop:
    """Thirty items of one to three photos, many of them shared."""
    rng = random.Random(3)
    colors: list[Color] = [(r, g, 0) for r in range(5) for g in range(5)]
    shop.build({f"k{n}": rng.choices(colors, k=rng.choice([1, 1, 2, 3])) for n in range(30)})
    return shop


def expected(shop: Shop, k: int) -> list[tuple[int, int, int, float]]:
    """(item, rank, neighbor, distance), one query at a time."""
    with shop.searcher() as searcher:
        items = sorted({int(item) for item in searcher.build.ids[:, 1]})
        return [
            (item, hit.rank, hit.item.id, hit.distance)
            for item in items
            for hit in searcher.search(Item(item), k).hits
        ]


@pytest.mark.parametrize("k", [1, 4, 100])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_every_item_has_the_neighbors_that_a_query_finds(
    full: Shop, tmp_path: Path, k: int, block: int
) -> None:
    wanted = expected(full, k)
    with full.searcher() as searcher:
        rows = write_graph(searcher, k, tmp_path / "g.npy", block_size=block)
        assert (
            write_graph(searcher, k, tmp_path / "g.parquet", block_size=block)
            == rows
            == len(wanted)
        )
    array = np.load(tmp_path / "g.npy", allow_pickle=False)
    assert array.dtype == EDGE
    assert array.tolist() == wanted
    table = pq.read_table(tmp_path / "g.parquet")
    assert table.column_names == list(EDGE.names or ())
    assert list(zip(*(column.to_pylist() for column in table.columns), strict=True)) == wanted


def test_an_item_alone_has_no_neighbor(shop: Shop, tmp_path: Path) -> None:
    shop.build({"a": [(1, 0, 0)]})
    with shop.searcher() as searcher:
        for name in ("g.npy", "g.parquet"):
            assert write_graph(searcher, 3, tmp_path / name) == 0
    assert len(np.load(tmp_path / "g.npy", allow_pickle=False)) == 0
    assert pq.read_table(tmp_path / "g.parquet").num_rows == 0


def test_what_cannot_be_written_is_refused_before_any_work(full: Shop, tmp_path: Path) -> None:
    with full.searcher() as searcher:
        with pytest.raises(QueryError, match=r"ends in .parquet or .npy"):
            write_graph(searcher, 3, tmp_path / "g.csv")
        with pytest.raises(QueryError, match="k is 0"):
            write_graph(searcher, 0, tmp_path / "g.npy")
        with pytest.raises(FileNotFoundError):
            write_graph(searcher, 3, tmp_path / "no such folder" / "g.npy")


def test_a_graph_that_is_not_finished_is_not_there(
    full: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "g.npy").write_bytes(b"before")
    with full.searcher() as searcher:
        first = next(neighbor_blocks(searcher, 3, block_size=4))

        def breaks(searcher: EngineSearcher, k: int, block_size: int) -> object:
            yield first
            raise KeyboardInterrupt

        monkeypatch.setattr(neighbor_graph, "neighbor_blocks", breaks)
        with pytest.raises(KeyboardInterrupt):
            write_graph(searcher, 3, tmp_path / "g.npy")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["g.npy"]
    assert (tmp_path / "g.npy").read_bytes() == b"before"
