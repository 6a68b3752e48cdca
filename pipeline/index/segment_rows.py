"""The rows of some segments, one after another: whose photo each is, and who shows it now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from pipeline.embeddings.arrays import Hashes, Ids, Mask, to_hashes
from pipeline.embeddings.segment import Segment

AnyArray = TypeVar("AnyArray", Hashes, Ids)

NOBODY = -1  # instead of an item, in a build's changes: the row's photo is shown no more

_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True)
class SegmentRows:
    """Rows of segments, of which those are live that some item shows and that have a direction."""

    hashes: Hashes
    """(n, 32) uint8: SHA-256 of each row's photo."""
    ids: Ids
    """(m, 2): (row, item id), sorted; who shows the photos of all rows."""
    without_direction: Ids
    """Rows that are not searched though they are shown: see `build_index`."""
    is_changed: Mask
    """(n,): False where the items that show the row are those of when its segment was sealed."""

    @classmethod
    def of(cls, segments: Sequence[Segment], changes: Ids) -> SegmentRows:
        """Apply changes, as `changes_since` returns them, to what segments say of themselves."""
        hashes = joined([one.hashes for one in segments], to_hashes(b""))
        starts = row_starts(segments)[:-1]
        zeros = [one.without_direction + at for one, at in zip(segments, starts, strict=True)]
        is_changed = np.zeros(len(hashes), np.bool_)
        is_changed[changes[:, 0]] = True
        shown = changes[changes[:, 1] != NOBODY]
        ids = replaced(sealed_ids(segments), is_changed, shown)
        return cls(hashes, ids, np.concatenate([_NO_ROWS, *zeros]), is_changed)

    def mask(self, rows: Ids) -> Mask:
        """(n,): True for these rows."""
        mask = np.zeros(len(self.hashes), np.bool_)
        mask[rows] = True
        return mask

    @cached_property
    def is_shown(self) -> Mask:
        """(n,): whether any item shows the row's photo."""
        return self.mask(self.ids[:, 0])

    @cached_property
    def is_live(self) -> Mask:
        """(n,): whether a search may find the row."""
        return self.is_shown & ~self.mask(self.without_direction)

    @property
    def live_hashes(self) -> Hashes:
        """`hashes` of the live rows."""
        return self.hashes if self.is_live.all() else self.hashes[self.is_live]

    @property
    def live_ids(self) -> Ids:
        """`ids` of the live rows, which are numbered from 0 without the others."""
        if self.is_live.all():
            return self.ids
        kept = self.ids[self.is_live[self.ids[:, 0]]]
        return np.column_stack([self.live_numbers[kept[:, 0]], kept[:, 1]])

    @property
    def live_numbers(self) -> Ids:
        """(n,): the number of each row among the live ones; of others it means nothing."""
        return np.cumsum(self.is_live) - 1


def row_starts(segments: Sequence[Segment]) -> list[int]:
    """Where the rows of each segment begin, and where the last one's end."""
    return [0, *np.cumsum([one.rows for one in segments], dtype=np.int64).tolist()]


def sealed_ids(segments: Sequence[Segment]) -> Ids:
    """(m, 2): (row, item id), sorted; who showed the rows of segments when they were sealed."""
    starts = row_starts(segments)[:-1]
    ids = [
        one.ids + np.array([at, 0]) if at else one.ids
        for one, at in zip(segments, starts, strict=True)
    ]
    return joined(ids, np.empty((0, 2), np.int64))


def joined(parts: Sequence[AnyArray], nothing: AnyArray) -> AnyArray:
    """Return matrices as one: a single one as it is, which may hold millions of rows."""
    return parts[0] if len(parts) == 1 else np.concatenate([nothing, *parts])


def changes_since(sealed: Ids, now: Ids, is_candidate: Mask) -> Ids:
    """Return the pairs of the candidate rows where they differ; a row without any has `NOBODY`.

    Both are (m, 2): (row, item id), sorted; so is what is returned.
    """
    sealed, now = (ids[is_candidate[ids[:, 0]]] for ids in (sealed, now))
    rows = differing_rows(sealed, now)
    shown = now[np.isin(now[:, 0], rows)]
    empty = rows[~np.isin(rows, shown[:, 0])]
    nobody = np.column_stack([empty, np.full(len(empty), NOBODY)])
    return sorted_pairs(np.concatenate([shown, nobody]))


def differing_rows(one: Ids, other: Ids) -> Ids:
    """Return the rows whose pairs are not the same in two arrays of distinct (row, item id)."""
    pairs = sorted_pairs(np.concatenate([one, other]), distinct=False)
    is_repeated = (pairs[1:] == pairs[:-1]).all(axis=1)
    is_single = np.append(~is_repeated, True)[: len(pairs)]
    is_single[1:] &= ~is_repeated
    return np.unique(pairs[is_single, 0])


def sorted_pairs(pairs: Ids, *, distinct: bool = True) -> Ids:
    """Sort (m, 2) pairs; with `distinct`, each is returned once."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    if distinct and len(pairs):
        pairs = pairs[np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1))]
    return pairs


def replaced(ids: Ids, is_changed: Mask, pairs: Ids) -> Ids:
    """Give the changed rows of (m, 2) sorted `ids` other `pairs`, which are sorted too."""
    kept = ids[~is_changed[ids[:, 0]]] if is_changed.any() else ids
    if not len(pairs):
        return kept
    return np.insert(kept, np.searchsorted(kept[:, 0], pairs[:, 0]), pairs, axis=0)
