"""What a Milvus server holds of one index: a collection, which never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from pipeline.artifacts import Manifest
from pipeline.index.recall import PromisedRecall, Recall

ROW, SHARED, COLUMNS, VECTOR = "row", "shared", "columns", "vector"
"""Fields: the row's number, whether it has no columns (`columns.py`), these, and the vector."""
METRIC = "L2"
MAX_EF = 32_768  # that Milvus takes
BYTES_PER_ROW = 256  # in memory, besides vectors, where columns are short
GRAPH_BYTES = 192  # of a row in HNSW's graph, of 32 neighbors and those of higher levels
OVERHEAD = 1.2  # what a loaded collection takes, by its own bytes
FILTERED = 4  # times as many rows to look at, where a filter holds for some
MAX_STALE = 1000  # rows: with more, a collection is written anew


@dataclass(frozen=True)
class Collection:
    """The collection of one index, which a publication names."""

    name: str
    rows: int
    dim: int
    promise: float | None = None
    """Which share of the nearest it finds at least, by HNSW; None: all of them, by FLAT."""
    effort: float = 0.0
    """Of HNSW: how many rows to look at (`ef`) for each that is asked for."""
    measured: Recall | None = None
    """What it was found to keep of its promise."""
    stale: tuple[int, ...] = ()
    """Rows whose columns are others than it may have: filters let them pass."""

    @property
    def recall(self) -> PromisedRecall | None:
        """Its promise and what was measured; None if its answers are exact."""
        if self.promise is None or self.measured is None:
            return None
        return PromisedRecall(self.promise, self.measured)

    @property
    def memory(self) -> int:
        """Bytes that it takes in the server, once: each replica takes as many."""
        graph = 0 if self.promise is None else GRAPH_BYTES
        return int(OVERHEAD * self.rows * (4 * self.dim + BYTES_PER_ROW + graph))

    @property
    def index_parameters(self) -> dict[str, Any]:
        """What Milvus makes its index of."""
        if self.promise is None:
            return {"index_type": "FLAT", "metric_type": METRIC}
        # With fewer links, filters cut more paths than a longer search makes up for.
        construction = {"M": 32, "efConstruction": 360}
        return {"index_type": "HNSW", "metric_type": METRIC, "params": construction}

    def search_parameters(self, limit: int, share: float = 1.0) -> dict[str, Any]:
        """What a search for `limit` rows is to look at, where a share of all rows is allowed."""
        if self.promise is None:
            return {"metric_type": METRIC}
        # As many that are allowed, and more: paths lead past those that are not.
        ef = max(self.effort, 1) * limit / share * (1 if share == 1.0 else FILTERED)
        return {"metric_type": METRIC, "params": {"ef": int(min(ef + 1, MAX_EF))}}

    @classmethod
    def from_dict(cls, content: Manifest) -> Self:
        """Return what `asdict` was called on; raises KeyError, TypeError or ValueError."""
        promise, measured = content["promise"], content["measured"]
        return cls(
            str(content["name"]),
            int(content["rows"]),
            int(content["dim"]),
            None if promise is None else float(promise),
            float(content["effort"]),
            None if measured is None else Recall.from_dict(measured),
            tuple(map(int, content["stale"])),
        )
