"""Search a build with its own photos, each as if it were new: items that show it are not found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.index.base import Ids, Mask, VectorIndex
from pipeline.index.builds import RowItems

QUERY_BLOCK = 1024  # photos searched with at a time: see `flat.QUERY_BLOCK`
FIRST_NEIGHBORS = 8  # rows searched for at first


@dataclass(frozen=True)
class PhotoSearch:
    """An index, and which items show its rows."""

    index: VectorIndex
    row_items: RowItems
    query_block: int = QUERY_BLOCK
    first_neighbors: int = FIRST_NEIGHBORS

    def nearest(self, rows: Ids, among: Ids | None = None) -> dict[int, tuple[float, int]]:
        """Each row → the distance and row of the nearest that shows none of its items.

        Rows without any such are left out. With `among`, only those rows are looked at.
        """
        available = self.index.rows if among is None else len(among)
        blocks = (rows[at : at + self.query_block] for at in range(0, len(rows), self.query_block))
        return {
            row: (distance, neighbor)
            for block in blocks
            for row, distance, neighbor in self._nearest(block, among, available)
        }

    def _nearest(
        self, rows: Ids, among: Ids | None, available: int
    ) -> Iterator[tuple[int, float, int]]:
        neighbors = self.first_neighbors
        while len(rows) and available:
            result = self.index.search(self.index.vectors(rows), neighbors, among)
            is_other = ~_share_items(self.row_items, rows, result.rows)
            has_other = is_other.any(axis=1)
            for i in np.flatnonzero(has_other).tolist():
                first = np.argmax(is_other[i])
                yield int(rows[i]), float(result.distances[i, first]), int(result.rows[i, first])
            if neighbors >= available:
                return
            rows, neighbors = rows[~has_other], 8 * neighbors


def _share_items(row_items: RowItems, rows: Ids, others: Ids) -> Mask:
    """(n,) rows, (n, k) others → (n, k): whether each of these shows an item that the row shows."""
    share: Mask = row_items.first[rows][:, np.newaxis] == row_items.first[others]
    has_several = row_items.counts > 1
    for i in np.flatnonzero(has_several[rows] | has_several[others].any(axis=1)).tolist():
        items = row_items.ids[row_items.expand_rows(rows[i : i + 1])[0], 1]
        entries, counts = row_items.expand_rows(others[i])
        is_shared = np.isin(row_items.ids[entries, 1], items)
        # Every row shows an item, so no part is empty.
        share[i] = np.logical_or.reduceat(is_shared, np.cumsum(counts) - counts)
    return share
