"""What a Milvus server holds of one index: a collection, which never changes."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any, NamedTuple, Self

from pipeline.artifacts import Manifest
from pipeline.index.recall import PromisedRecall, Recall

ROW, SHARED, COLUMNS, VECTOR = "row", "shared", "columns", "vector"
"""Fields: the row's number, whether it has no columns (`columns.py`), these, and the vector."""
METRIC = "L2"
BYTES_PER_ROW = 256  # in memory, besides vectors, where columns are short
OVERHEAD = 1.2  # what a loaded collection takes, by its own bytes
SEGMENT_BYTES = 512 << 20  # of vectors that Milvus puts into one index
LISTS_PER_ROOT = 4  # times the square root of the rows of an index: how many lists it has
ROWS_PER_LIST = 39  # at least, to find the lists with
ALL_LISTS = 65_536  # the most that Milvus takes
MAX_STALE = 1000  # rows: with more, a collection is written anew


class ListLevel(NamedTuple):
    """What it takes to find neighbors that are so far away."""

    distance: float
    """At most."""
    lists: int
    """How many lists are looked into, those whose centers are nearest to the query."""


@dataclass(frozen=True)
class Collection:
    """The collection of one index, which a publication names."""

    name: str
    rows: int
    dim: int
    promise: float | None = None
    """Which share of the nearest it finds at least, by IVF_FLAT; None: all of them, by FLAT."""
    levels: tuple[ListLevel, ...] = ()
    """By ascending distances; for what is beyond the last, all lists are looked into."""
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
        return int(OVERHEAD * self.rows * (4 * self.dim + BYTES_PER_ROW))

    @property
    def index_rows(self) -> int:
        """How many rows each of its indexes has at most: Milvus makes one for each segment."""
        return max(1, min(self.rows, SEGMENT_BYTES // (4 * self.dim)))

    @property
    def lists(self) -> int:
        """How many lists an index has at most: FLAT is one, and of a smaller one Milvus makes less.

        With a filter all of them are looked into, which is exact. To judge the filter takes Milvus
        as long as to compare what meets it; and where few meet it, near lists have none of them.
        """
        if self.promise is None:
            return 1
        rows = self.index_rows
        return max(1, min(LISTS_PER_ROOT * isqrt(rows), rows // ROWS_PER_LIST))

    def lists_within(self, distance: float) -> int:
        """Return how many lists have enough of the neighbors up to a distance."""
        return next((one.lists for one in self.levels if distance <= one.distance), self.lists)

    @property
    def index_parameters(self) -> dict[str, Any]:
        """What Milvus makes its index of."""
        if self.promise is None:
            return {"index_type": "FLAT", "metric_type": METRIC}
        # Not HNSW: however far it looks, filters cut its paths, and no setting of it is exact.
        params = {"nlist": self.lists}
        return {"index_type": "IVF_FLAT", "metric_type": METRIC, "params": params}

    def search_parameters(self, lists: int) -> dict[str, Any]:
        """Tell Milvus how many lists to look into: all of them is exact."""
        if self.promise is None:
            return {"metric_type": METRIC}
        probed = lists if lists < self.lists else ALL_LISTS  # it may have made more
        return {"metric_type": METRIC, "params": {"nprobe": probed}}

    @classmethod
    def from_dict(cls, content: Manifest) -> Self:
        """Return what `asdict` was called on; raises KeyError, TypeError or ValueError."""
        promise, measured = content["promise"], content["measured"]
        return cls(
            str(content["name"]),
            int(content["rows"]),
            int(content["dim"]),
            None if promise is None else float(promise),
            tuple(ListLevel(float(one[0]), int(one[1])) for one in content["levels"]),
            None if measured is None else Recall.from_dict(measured),
            tuple(map(int, content["stale"])),
        )
