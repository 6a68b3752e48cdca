"""Bring rows up to date: the items that changed → which photos are shown now, and by whom."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.catalog.catalog import Catalog
from pipeline.embeddings.arrays import Hashes, Ids, Mask, find_rows, to_hashes
from pipeline.embeddings.segment import row_checksums
from pipeline.embeddings.store import EmbeddingStore
from pipeline.index.segment_rows import SegmentRows, differing_rows, replaced, sorted_pairs


@dataclass(frozen=True)
class UpdatedRows:
    """Rows as the catalog is now; those of new photos, which no segment has yet, come last."""

    rows: SegmentRows
    is_changed: Mask
    """(n,): whose photos are new, or shown by other items than before."""
    without_vector: int
    """How many photos of the items that were looked at have no vector."""


def update_rows(
    rows: SegmentRows,
    changed: Ids | None,
    catalog: Catalog,
    vectors: EmbeddingStore,
    zero_dim: int | None = None,
) -> UpdatedRows:
    """Look up who shows which photo, for the items that changed, ascending; None: for all.

    With `zero_dim`, a new photo has no direction if its vector is that many zeros.
    """
    photos, shown = _photos_shown(catalog, changed)
    photo_rows = find_rows(rows.hashes, photos)
    missing = np.flatnonzero(photo_rows < 0)
    new = missing[vectors.present(photos[missing])]
    photo_rows[new] = len(rows.hashes) + np.arange(len(new))
    pairs = np.column_stack([photo_rows[shown[:, 0]], shown[:, 1]])
    pairs = sorted_pairs(pairs[pairs[:, 0] >= 0])
    zeros = photo_rows[_zeros(vectors, photos, new, zero_dim)]
    grown = SegmentRows(
        np.concatenate([rows.hashes, photos[new]]),
        rows.ids,
        np.concatenate([rows.without_direction, zeros]),
        np.append(rows.is_changed, np.ones(len(new), np.bool_)),
    )
    ids, is_changed = _with_pairs(grown, changed, pairs)
    updated = replace(grown, ids=ids, is_changed=grown.is_changed | is_changed)
    return UpdatedRows(updated, is_changed, len(missing) - len(new))


def _photos_shown(catalog: Catalog, items: Ids | None) -> tuple[Hashes, Ids]:
    """The distinct photos of items in the order of the ledger; (m, 2): (photo's number, item)."""
    numbers: dict[bytes, int] = {}
    shown = [
        (numbers.setdefault(photo, len(numbers)), item)
        for photo, item in catalog.photo_item_pairs(items)
    ]
    return to_hashes(b"".join(numbers)), np.array(shown, np.int64).reshape(-1, 2)


def _zeros(vectors: EmbeddingStore, photos: Hashes, new: Ids, dim: int | None) -> Ids:
    """Those of the new photos whose vector is zero."""
    if dim is None or not len(new):
        return np.empty(0, np.int64)
    zero = row_checksums(np.zeros((1, dim), np.float32))
    is_zero: Mask = (vectors.checksums(photos[new]) == zero).all(axis=1)
    return new[is_zero]


def _with_pairs(rows: SegmentRows, changed: Ids | None, pairs: Ids) -> tuple[Ids, Mask]:
    """Give the changed items the rows of `pairs` and no others; and which rows that changes."""
    is_removed = np.ones(len(rows.ids), np.bool_)
    if changed is not None:
        is_removed = np.isin(rows.ids[:, 1], changed)
    is_affected = rows.mask(rows.ids[is_removed, 0]) | rows.mask(pairs[:, 0])
    in_affected = is_affected[rows.ids[:, 0]]
    now = sorted_pairs(np.concatenate([rows.ids[in_affected & ~is_removed], pairs]))
    is_changed = rows.mask(differing_rows(rows.ids[in_affected], now))
    return replaced(rows.ids, is_affected, now), is_changed
