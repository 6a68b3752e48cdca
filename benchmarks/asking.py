"""What queries in batches and with conditions cost, on 18,322 items of 1,280 dimensions.

The neighbor graph of all items against one query at a time; and a query with a condition against
the same query without one, whose hits are filtered afterwards and which is repeated with a larger k
until enough hits meet the condition.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from random_catalog import make_catalog

from pipeline.config import load_config
from pipeline.search.engine_searcher import EngineSearcher, open_engine
from pipeline.search.neighbor_graph import write_graph
from pipeline.search.query import Item

DIM, K, QUERIES = 1280, 10, 40
PRICES = {"1 item in 1,000": 1, "1 %": 10, "10 %": 100, "half": 500}
KINDS: tuple[str, ...] = ("flat", "pruned")


def measure(_: Path | None) -> list[dict[str, object]]:
    """Take turns; compare medians."""
    rows = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            config = load_config(make_catalog(Path(folder), {"vgg16": DIM}, kind))
            with open_engine(config, "vgg16") as searcher:
                rows.append({"index": kind, **_graph(searcher, Path(folder))})
                rows += [
                    {"index": kind, "meet the condition": name, **_filtered(searcher, price)}
                    for name, price in PRICES.items()
                ]
    return rows


def _graph(searcher: EngineSearcher, folder: Path) -> dict[str, object]:
    items = np.unique(searcher.build.ids[:, 1])
    sample = np.random.default_rng(0).choice(items, 200, replace=False).tolist()
    single = float(
        np.mean([_seconds(lambda i=item: searcher.search(Item(i), K).hits) for item in sample])
    )
    per_item = _seconds(lambda: write_graph(searcher, K, folder / "graph.npy")) / len(items)
    return {"graph: an item ÷ a single query": round(per_item / single, 3)}


def _filtered(searcher: EngineSearcher, price: int) -> dict[str, object]:
    """The condition is looked up anew for each query, as by a command."""
    where = f"price < {price}"
    before, after = [], []
    for item in np.random.default_rng(1).integers(1, 18_000, QUERIES).tolist():
        before.append(_seconds(lambda: searcher.search(Item(item), K, where=where).hits))  # noqa: B023
        after.append(_seconds(lambda: _filter_afterwards(searcher, item, price)))  # noqa: B023
    ratio = float(np.median(before) / np.median(after))
    return {"÷ filtering afterwards": round(ratio, 2)}


def _filter_afterwards(searcher: EngineSearcher, item: int, price: int) -> None:
    k = 2 * K
    while True:
        hits = searcher.search(Item(item), k).hits
        if sum(hit.item.metadata["price"] < price for hit in hits) >= K or len(hits) < k:
            return
        k *= 4


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
