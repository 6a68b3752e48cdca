"""Hashes that differ in few bits: all of them, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.index.vectors import import_faiss

Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
"""(n, words) uint64."""

BLOCK = 64  # rows searched at a time: their pairs fit into memory though all rows be near
MAX_PAIRS = 1 << 16  # pairs of an array


class Near(NamedTuple):
    """Pairs of a query and a hash that is near it."""

    queries: Rows
    rows: Rows
    bits: Rows
    """In how many they differ."""


class HashIndex:
    """Hashes, to which more are added, and which are all compared with those that are asked for.

    index = HashIndex(1); index.add(np.array([[5], [8]], np.uint64))
    """

    def __init__(self, words: int) -> None:
        self._index: Any = import_faiss().IndexBinaryFlat(64 * words)

    def add(self, hashes: Hashes) -> None:
        """Give further hashes the next rows."""
        self._index.add(np.ascontiguousarray(hashes).view(np.uint8))

    def near(self, queries: Hashes, distance: int) -> Near:
        """Return all pairs that differ in at most `distance` bits, in the order of queries.

        index.near(np.array([[7]], np.uint64), 1).rows  # [0]
        """
        wanted = np.ascontiguousarray(queries).view(np.uint8)
        # FAISS: nearer than the radius
        ends, bits, found = self._index.range_search(wanted, distance + 1)
        number = np.repeat(np.arange(len(wanted)), np.diff(ends.astype(np.int64)))
        return Near(number, found, bits.astype(np.int64))


def near_pairs(
    hashes: Hashes, distance: int, label: Rows | None = None, max_pairs: int = MAX_PAIRS
) -> Iterator[tuple[Rows, Rows]]:
    """Yield all pairs of rows a < b that differ in at most `distance` bits, in arrays.

    An array holds at most `max_pairs` pairs. Pairs of equal `label` are left out; labels may be
    changed between two arrays.

    All pairs are compared, whatever the hashes are: of 256 bits, 100,000 take 13 seconds on one
    core and a million 22 minutes, which is less than it takes to decode so many photos.
    """
    label = np.arange(len(hashes)) if label is None else label
    for start in range(0, len(hashes), BLOCK):
        index = HashIndex(hashes.shape[1])
        index.add(hashes[start:])
        near = index.near(hashes[start : start + BLOCK], distance)
        is_later = near.rows > near.queries
        a, b = near.queries[is_later] + start, near.rows[is_later] + start
        for first in range(0, len(a), max_pairs):
            part = slice(first, first + max_pairs)
            is_apart = label[a[part]] != label[b[part]]
            yield a[part][is_apart], b[part][is_apart]
