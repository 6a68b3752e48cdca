"""What is ranked: the vectors of photos, and the items or queries that show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from PIL import Image

from pipeline.evaluation.pixels import U8Photos
from pipeline.images import U8Image
from pipeline.index.base import F32Matrix, F64Matrix, Ids

Kind = Literal["engine", "fusion", "baseline"]


@dataclass(frozen=True)
class VectorSet:
    """Vectors, and who shows the photos that they are of."""

    read: Callable[[Ids], F32Matrix]
    """Row numbers → (len, dim) float32."""
    owners: Ids
    """(m, 2) int64: (owner, row), sorted. Owners are 0, 1, 2, …, each with at least one row."""

    @classmethod
    def of_items(cls, read: Callable[[Ids], F32Matrix], ids: Ids, items: Ids) -> VectorSet:
        """Make `items`, ascending, the owners, by (m, 2) `ids`: (row, item id). Each has a row."""
        kept = ids[np.isin(ids[:, 1], items)]
        owners = np.column_stack([np.searchsorted(items, kept[:, 1]), kept[:, 0]])
        return cls(read, owners[np.lexsort(owners.T[::-1])])

    @classmethod
    def one_each(cls, vectors: F32Matrix) -> VectorSet:
        """Row n is the only one of owner n."""
        rows = np.arange(len(vectors))
        return cls(vectors.__getitem__, np.column_stack([rows, rows]))

    @property
    def count(self) -> int:
        """How many owners there are."""
        return int(self.owners[-1, 0]) + 1 if len(self.owners) else 0

    def subset(self, chosen: Ids) -> VectorSet:
        """Keep some owners, ascending, who are then numbered from 0."""
        return VectorSet.of_items(self.read, self.owners[:, ::-1], chosen)

    def subset_vectors(self, chosen: Ids) -> tuple[F32Matrix, Ids]:
        """Return the vectors of some owners, ascending, and where each one's begin."""
        begin = np.searchsorted(self.owners[:, 0], chosen)
        counts = np.searchsorted(self.owners[:, 0], chosen, side="right") - begin
        starts = np.cumsum(counts) - counts
        entries = np.arange(counts.sum()) - np.repeat(starts - begin, counts)
        return self.read(self.owners[entries, 1]), starts

    def vectors(self, first: int, last: int) -> tuple[F32Matrix, Ids]:
        """Return the vectors of the owners `first` to `last` - 1, and where each one's begin."""
        begin = np.searchsorted(self.owners[:, 0], np.arange(first, last + 1))
        return self.read(self.owners[begin[0] : begin[-1], 1]), begin[:-1] - begin[0]


class PhotoEncoder(NamedTuple):
    """Turns photos into vectors."""

    prepare: Callable[[Image.Image], U8Image]
    """RGB image → (height, width, 3) uint8."""
    encode: Callable[[U8Photos], F32Matrix]
    """(n, height, width, 3) uint8 → (n, dim) float32."""


class Ranker(Protocol):
    """A gallery, ready to be ranked for some queries: `ExactRanker`, or as a search refines it."""

    def rank(self, first: int, last: int, excluded: Sequence[Ids]) -> Ids:
        """Rank for the queries `first` to `last` - 1: (queries, n), excluded ones last."""

    def distances(self, first: int, last: int, excluded: Sequence[Ids]) -> F64Matrix:
        """(queries, n) float64 distances from these queries, infinite for excluded items."""


@dataclass(frozen=True)
class Retriever:
    """One way of ranking a gallery of items for queries: by the distances of their vectors."""

    name: str
    kind: Kind
    gallery: VectorSet
    load_encoder: Callable[[], PhotoEncoder]
    """Loads what encodes other photos as the gallery's were."""
    warning: str | None = None
    """What to know before believing its scores."""
    refined: Callable[[VectorSet, Ids | None], Ranker] | None = None
    """Queries, and their positions in the gallery if they are of it → what ranks the gallery as a
    search that refines; None: what ranks by distances."""
