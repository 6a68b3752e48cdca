"""An index of a build, none of whose answers comes from altered bytes."""

from __future__ import annotations

from pipeline.index.base import F32Matrix, Ids, Neighbors, VectorIndex
from pipeline.integrity import Watch


class WatchedIndex:
    """An index whose files are watched, as some stay mapped and are read by every query."""

    def __init__(self, index: VectorIndex, watch: Watch) -> None:
        self._index, self._watch = index, watch
        self.rows, self.dim = index.rows, index.dim

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """Return what the index does.

        Raises:
            DamagedArtifactError: one of its files is no longer what was written.
        """
        with self._watch:
            return self._index.search(queries, k, allowed)

    def vectors(self, rows: Ids) -> F32Matrix:
        """Return what the index does; raises as `search` does."""
        with self._watch:
            return self._index.vectors(rows)

    def close(self) -> None:
        """Close the index, and its files."""
        self._index.close()
        self._watch.close()
