"""Compare what a server holds of an index with the index: how many rows, and what they find."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.index.base import VectorIndex
from pipeline.index.milvus.collection import Collection
from pipeline.index.milvus.index import MilvusIndex
from pipeline.index.milvus.server import MilvusServer
from pipeline.index.tuning import measure

CANARIES, CANARY_NEIGHBORS = 50, 10


class Fault(NamedTuple):
    """What is wrong with a collection."""

    what: str
    is_content: bool
    """Whether it holds what it should not: it must be written anew. Else it is not ready."""


def is_loaded(server: MilvusServer, name: str) -> bool:
    """Whether a collection that is there can be searched: it is loaded after all else."""
    return str(server.call("get_load_state", name)["state"]) == "Loaded"


def is_ready(server: MilvusServer, collection: Collection) -> bool:
    """Whether a collection is there, whole and loaded."""
    return server.call("has_collection", collection.name) and is_loaded(server, collection.name)


def fault_of(server: MilvusServer, collection: Collection, index: VectorIndex) -> Fault | None:
    """Return what is wrong with a collection, given the exact index it was written from.

        fault_of(server, collection, flat)  # Fault('has 301 rows instead of 300', True)

    Raises:
        VectorDatabaseError: the server does not answer.
    """
    if not server.call("has_collection", collection.name):
        return Fault("is missing", is_content=False)
    if not is_loaded(server, collection.name):
        return Fault("is not loaded", is_content=False)
    what = count_fault(server, collection) or content_fault(server, collection, index)
    return Fault(what, is_content=True) if what else None


def count_fault(server: MilvusServer, collection: Collection) -> str | None:
    """Compare the number of rows: an insert that was sent twice made them more."""
    (answer,) = server.call(
        "query",
        collection.name,
        filter="",
        output_fields=["count(*)"],
        consistency_level="Strong",
    )
    count = answer["count(*)"]
    return (
        None if count == collection.rows else f"has {count:,} rows instead of {collection.rows:,}"
    )


def content_fault(server: MilvusServer, collection: Collection, index: VectorIndex) -> str | None:
    """Compare what some of the index's own photos find with what the index says."""
    rows = np.unique(np.linspace(0, collection.rows - 1, CANARIES).astype(np.int64))
    served = MilvusIndex(server, collection, index)
    if collection.promise is not None:
        recall = measure(index, served, rows)
        is_kept = recall is None or recall.high >= collection.promise
        return None if is_kept else f"finds {recall} of the nearest, not {collection.promise}"
    queries = index.vectors(rows)
    found, expected = (one.search(queries, CANARY_NEIGHBORS) for one in (served, index))
    wrong = int((found.rows != expected.rows).any(axis=1).sum())
    return f"finds other photos than the index, for {wrong} of {len(rows)}" if wrong else None
