"""photo_items.py against sets of pairs."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.index.segment_rows import SegmentRows
from pipeline.maintenance import photo_items

Pairs = set[tuple[bytes, int]]


def pairs_of(rng: np.random.Generator, count: int) -> Pairs:
    """Photos that end in zeros, or in all but zeros, and items of one or several bytes."""
    photos = [bytes([n]) * 30 + tail for n in range(6) for tail in (b"\0\0", b"\1\0", b"\0\1")]
    items = [1, 255, 256, 2**40]
    chosen = rng.integers(0, (len(photos), len(items)), (count, 2)).tolist()
    return {(photos[photo], items[item]) for photo, item in chosen}


def as_rows(pairs: Pairs) -> SegmentRows:
    photos = sorted({photo for photo, _ in pairs})
    ids = np.array(sorted((photos.index(photo), item) for photo, item in pairs), np.int64)
    hashes = np.frombuffer(b"".join(photos), np.uint8).reshape(-1, 32)
    nothing = np.zeros(len(photos), np.bool_)
    return SegmentRows(hashes, ids.reshape(-1, 2), np.empty(0, np.int64), nothing)


@pytest.mark.parametrize("count", [0, 1, 10, 40])
def test_what_differs_is_what_differs_between_sets(count: int) -> None:
    rng = np.random.default_rng(count)
    for other_count in (0, 1, 10, 40):
        some, others = pairs_of(rng, count), pairs_of(rng, other_count)
        for shown in (others, some, {*some, *list(others)[:1]}):
            packed = photo_items.of_catalog([*shown, *shown])
            found = photo_items.difference(photo_items.of_rows(as_rows(some)), packed)
            assert found == (len(some - shown), len(shown - some))
