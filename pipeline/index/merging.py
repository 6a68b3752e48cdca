"""Which segments a build keeps, and which it merges or writes anew without their dead rows.

A segment has at least `GROWTH` times the rows of the one behind it, or the two are merged. So their
number grows with the logarithm of the rows, a row is copied about as often, and the largest segment
is left alone until a good part of it has been added (the logarithmic method: Bentley and Saxe,
Decomposable searching problems, J. Algorithms 1(4), 1980).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from pipeline.embeddings.arrays import Hashes, Ids, Mask
from pipeline.embeddings.segment import Segment
from pipeline.index.builds import RowItems
from pipeline.index.segment_rows import SegmentRows, changes_since, row_starts, sealed_ids
from pipeline.index.update import UpdatedRows

GROWTH = 4
MAX_DEAD_SHARE = 0.2
"""Of a segment's rows: with more it is written anew, without them."""

Seal = Callable[[Hashes, Ids, Ids], Segment]
"""Writes a segment of these photos, (m, 2) pairs of (row, item id), rows without direction."""


@dataclass(frozen=True)
class Arrangement:
    """The segments of a build."""

    segments: list[Segment]
    rows: SegmentRows
    is_changed: Mask
    """(n,): as in `UpdatedRows`, for `rows`."""
    changes: Ids
    """(m, 2): (row, item id), what is not as the segments say: see `changes_since`."""

    @cached_property
    def row_items(self) -> RowItems:
        """Which items show the live rows."""
        return RowItems(int(self.rows.is_live.sum()), self.rows.live_ids)


def merge_groups(shown: Sequence[int]) -> list[list[int]]:
    """Return which segments become one, given how many of the rows of each are shown.

    merge_groups([1000, 30, 10, 1])  # [[0], [1, 2], [3]]
    """
    groups: list[list[int]] = []
    counts: list[int] = []
    for segment, count in enumerate(shown):
        if not count:
            continue
        groups.append([segment])
        counts.append(count)
        while len(counts) > 1 and counts[-2] < GROWTH * counts[-1]:
            groups[-2:] = [groups[-2] + groups[-1]]
            counts[-2:] = [counts[-2] + counts[-1]]
    return groups


def arrange(segments: Sequence[Segment], updated: UpdatedRows, seal: Seal) -> Arrangement:
    """Merge segments and new rows, those behind the rows of all segments, where it is time to."""
    before = updated.rows
    bounds = [*row_starts(segments), len(before.hashes)]
    shown = [int(before.is_shown[a:b].sum()) for a, b in pairwise(bounds)]
    arranged: list[Segment] = []
    parts: list[Ids] = []  # of the rows of now, those that each segment holds
    is_sealed_now = np.zeros(len(before.hashes), np.bool_)
    for group in merge_groups(shown):
        rows = np.arange(bounds[group[0]], bounds[group[-1] + 1])
        count = sum(shown[one] for one in group)
        is_alone = len(group) == 1 and group[0] < len(segments)
        if is_alone and count >= (1 - MAX_DEAD_SHARE) * len(rows):
            arranged.append(segments[group[0]])
        else:
            rows = rows[before.is_shown[rows]]
            arranged.append(seal(*_part(before, rows)))
            is_sealed_now[rows] = True
        parts.append(rows)
    kept = np.concatenate(parts)
    hashes, ids, without_direction = _part(before, kept)
    is_candidate = (before.is_changed & ~is_sealed_now)[kept]
    changes = changes_since(sealed_ids(arranged), ids, is_candidate)
    after = SegmentRows(hashes, ids, without_direction, is_candidate)
    return Arrangement(arranged, after, updated.is_changed[kept], changes)


def _part(rows: SegmentRows, kept: Ids) -> tuple[Hashes, Ids, Ids]:
    """Hashes, pairs and rows without direction of those rows that are kept, numbered from 0."""
    numbers = np.full(len(rows.hashes), -1)
    numbers[kept] = np.arange(len(kept))
    ids = np.column_stack([numbers[rows.ids[:, 0]], rows.ids[:, 1]])
    without_direction = numbers[rows.without_direction]
    return (
        rows.hashes[kept],
        ids[ids[:, 0] >= 0],
        without_direction[without_direction >= 0],
    )
