"""Exact Euclidean search by FAISS's `IndexFlatL2`, the reference."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.store.artifacts import damaged
from pipeline.vector_index.base import F32Matrix, Ids, Neighbours

_HEADER = 45  # bytes of a flat index without vectors; FAISS crashes on some shorter files
_BLOCK = 256  # rows whose distances are computed at a time
_MANY = 4096  # candidates beyond which all rows are looked at
_TINY = 2.0**-126  # squares below it may be flushed to zero


def write_flat(path: Path, rows: int, dim: int, parts: Iterable[tuple[Ids, F32Matrix]]) -> None:
    """Write a plain FAISS file of (rows, dim) float32, from parts of (row numbers, vectors).

    The vectors are in memory once: the parts are copied straight into the index.

    Raises:
        OSError: the file cannot be written.
    """
    faiss = _faiss()
    index = faiss.IndexFlatL2(dim)
    index.codes.resize(rows * dim * 4)
    index.ntotal = rows
    if rows:
        storage = faiss.rev_swig_ptr(index.get_xb(), rows * dim).reshape(rows, dim)
        for numbers, vectors in parts:
            storage[numbers] = vectors
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise OSError(errno.EIO, f"cannot write the index: {error}", str(path)) from error


class FlatIndex:
    """A FAISS flat index, mapped from its file rather than read: opening it costs no copy."""

    def __init__(self, path: Path) -> None:
        """Open an index file.

        Raises:
            DamagedArtifactError: FAISS cannot read it, or it is no flat L2 index.
        """
        faiss = _faiss()
        if not path.is_file() or path.stat().st_size < _HEADER:
            raise damaged(path, "it is missing or truncated")
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise damaged(path, "FAISS cannot read it") from error
        if not isinstance(index, faiss.IndexFlat) or index.metric_type != faiss.METRIC_L2:
            raise damaged(path, "it is not a flat Euclidean index")
        self._index = index
        self.rows: int = index.ntotal
        self.dim: int = index.d

    def vectors(self, rows: Ids) -> F32Matrix:
        """Return the (len(rows), dim) vectors of these rows as they are stored."""
        vectors: F32Matrix = self._index.reconstruct_batch(np.ascontiguousarray(rows, np.int64))
        return vectors

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbours:
        """(n, dim) float32 → the k nearest rows of each, among `allowed` rows if given.

        Distances are computed in float64 and order is (distance, row), so equal vectors are ordered
        by row whatever the rounding of FAISS's float32 sums.
        """
        allowed = None if allowed is None else np.unique(allowed)
        available = self.rows if allowed is None else len(allowed)
        k = min(k, available)
        distances = np.empty((len(queries), k), np.float64)
        rows = np.empty((len(queries), k), np.int64)
        for number, query in enumerate(np.ascontiguousarray(queries, np.float32)):
            distances[number], rows[number] = self._search_one(query, k, available, allowed)
        return Neighbours(distances, rows)

    def _search_one(self, query: Any, k: int, available: int, allowed: Ids | None) -> Any:
        """Let FAISS propose candidates until none left out can be nearer than the k-th."""
        # A float32 sum of d squared differences is off by a factor of at most 1 ± (d + 3)·2⁻²⁴
        # (Higham, Accuracy and Stability of Numerical Algorithms, §3.1), in any order of adding.
        error = (self.dim + 3) * 2.0**-24
        count = k + 8
        while k and count < min(available, _MANY):
            squared, rows = self._candidates(query, count, allowed)
            if rows[-1] < 0:  # squares too large for float32: FAISS leaves such rows out
                break
            distances, nearest = self._nearest(query, rows, k)
            beyond = squared[-1] * (1 - 2 * error) - self.dim * _TINY
            if np.isfinite(beyond) and distances[-1] ** 2 < beyond:
                return distances, nearest
            count *= 4
        return self._nearest(query, np.arange(self.rows) if allowed is None else allowed, k)

    def _nearest(self, query: Any, rows: Ids, k: int) -> Any:
        """Compute distances in float64, block by block, and keep the k nearest by (distance, row).

        Returns (distances, rows), both of length min(k, len(rows)).
        """
        distances, nearest = np.empty(0), np.empty(0, np.int64)
        for start in range(0, len(rows), _BLOCK):
            block = np.asarray(rows[start : start + _BLOCK], np.int64)
            difference = self.vectors(block).astype(np.float64) - query
            distances = np.append(distances, np.sqrt(np.einsum("ij,ij->i", difference, difference)))
            nearest = np.append(nearest, block)
            order = np.lexsort((nearest, distances))[:k]
            distances, nearest = distances[order], nearest[order]
        return distances, nearest

    def _candidates(self, query: Any, count: int, allowed: Ids | None) -> Any:
        faiss = _faiss()
        parameters = None
        if allowed is not None:
            selector = faiss.IDSelectorBatch(np.ascontiguousarray(allowed, np.int64))
            parameters = faiss.SearchParameters(sel=selector)
        squared, rows = self._index.search(query[np.newaxis], count, params=parameters)
        return squared[0].astype(np.float64), rows[0]


def _faiss() -> Any:
    import faiss

    # One query cannot be shared between threads: a second one only costs starting it.
    faiss.omp_set_num_threads(1)
    return faiss
