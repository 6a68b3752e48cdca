"""Which items show which photos, in 40 bytes a pair: those of a million are compared in memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipeline.index.segment_rows import SegmentRows

PhotoItems = npt.NDArray[np.bytes_]
"""(n,) of 40 bytes, distinct and ascending: a photo's SHA-256 and an item's id, big-endian."""
_PAIR = np.dtype("S40")


def of_catalog(pairs: Iterable[tuple[bytes, int]]) -> PhotoItems:
    """Pack (photo's SHA-256, item id) as they come: `of_catalog(catalog.photo_item_pairs())`."""
    packed = (photo + item.to_bytes(8, "big") for photo, item in pairs)
    return np.unique(np.fromiter(packed, _PAIR))


def of_rows(rows: SegmentRows) -> PhotoItems:
    """Pack who shows the rows of an index: `of_rows(build.segment_rows)`."""
    items = rows.ids[:, 1].astype(">i8").view(np.uint8).reshape(-1, 8)
    packed = np.concatenate([rows.hashes[rows.ids[:, 0]], items], axis=1)
    return np.unique(packed.view(_PAIR).ravel())


def difference(some: PhotoItems, others: PhotoItems) -> tuple[int, int]:
    """Return how many pairs only the first has, and how many only the second."""
    if np.array_equal(some, others):
        return 0, 0
    shared = len(np.intersect1d(some, others, assume_unique=True))
    return len(some) - shared, len(others) - shared
