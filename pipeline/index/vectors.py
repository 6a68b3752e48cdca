"""The vectors of an index, and exact distances to them: what every type of index ends in."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.embeddings.flat_file import FlatFile
from pipeline.index.base import F32Matrix, F32Vector, F64Matrix, F64Vector, Ids, Mask
from pipeline.index.rounding import MAX_FLOAT32, flush_error, relative_error

READ_ROWS = 256  # rows that are read, and compared in float64, at a time
SCANNED_SHARE = 1 / 16
"""Of the rows: where more are wanted the file is read from begin to end, and ahead."""

PADDING = 4  # times as many queries are made of fewer, at most: see `_padded`


class VectorFile(FlatFile):
    """The (rows, dim) float32 vectors of a flat FAISS file, and how far they are from a query."""

    def __init__(self, path: Path, read_rows: int = READ_ROWS) -> None:
        """Open a file, of which `read_rows` rows are read at a time.

        Raises:
            DamagedArtifactError: it is no flat Euclidean index of FAISS, or not a whole one.
        """
        super().__init__(path)
        self._read_rows = read_rows
        self._scanned = self._map_rows(mmap.MADV_SEQUENTIAL)

    def close(self) -> None:
        """Close the file and its maps; a search that is under way keeps them until it ends."""
        self._scanned = None
        super().close()

    @property
    def is_mapped(self) -> bool:
        """Whether there was address space to map it, so that `scan` can be called."""
        return self._scanned is not None

    def scan(self, queries: F32Matrix, count: int, allowed: Ids | None) -> tuple[F64Matrix, Ids]:
        """Return the squared distances of `count` rows near each of (n, dim) queries, and the rows.

        Both are (n, count), ascending by the distances, which FAISS computes in float32: no other
        row's is smaller. The file has to be mapped. A row is -1 where squares are too large, or
        where there are fewer. `allowed` are the rows that may be found, each once; None: all.
        """
        faiss = import_faiss()
        stored = self._map_for(self.rows if allowed is None else len(allowed))
        if stored is None:
            raise ValueError(f"{self.rows} rows are not mapped, or the file is closed")
        wanted, queries = len(queries), _padded(queries) if allowed is None else queries
        squared = np.empty((len(queries), count), np.float32)
        rows = np.empty((len(queries), count), np.int64)
        xq, xb = faiss.swig_ptr(queries), faiss.cast_integer_to_float_ptr(stored.ctypes.data)
        out = faiss.swig_ptr(squared), faiss.swig_ptr(rows)
        sel = None if allowed is None else selector(allowed, self.rows)
        faiss.knn_L2sqr(xq, xb, self.dim, len(queries), self.rows, count, *out, None, sel)
        return squared[:wanted].astype(np.float64), rows[:wanted]

    def squared(self, query: F32Vector, rows: Ids) -> tuple[F64Vector, F64Vector]:
        """Return (lower, upper) bounds of the squared distances to these rows.

        They are FAISS's sums of squared differences in float32, with their error (`rounding`).
        """
        sums = self._sums(query, rows).astype(np.float64)
        # From what is computed to what is true: 1 / (1 ± γ) is within 1 ± 2γ.
        error, flushed = 2 * relative_error(self.dim), flush_error(self.dim)
        # A sum that overflowed is at least as large as the largest float32.
        lower = np.minimum(sums, MAX_FLOAT32) * (1 - error) - flushed
        return lower, sums * (1 + error) + flushed

    def nearest(self, query: F32Vector, rows: Ids, k: int) -> tuple[F64Vector, Ids]:
        """Return the distances, in float64, and rows of the k nearest of these rows.

        Order is (distance, row); fewer if there are fewer.
        """
        k = min(k, len(rows))
        if k:
            lower, upper = self.squared(query, rows)
            rows = rows[lower <= np.partition(upper, k - 1)[k - 1]]
        distances = np.empty(len(rows))
        for start in range(0, len(rows), self._read_rows):
            vectors = self.read(rows[start : start + self._read_rows])
            distances[start : start + self._read_rows] = distances_to(query, vectors)
        order = np.lexsort((rows, distances))[:k]
        return distances[order], rows[order]

    def limit(self, query: F32Vector, rows: Ids, k: int) -> float:
        """Return a distance within which k of these rows are; there are at least so many."""
        _, upper = self.squared(query, rows)
        return float(np.sqrt(np.partition(upper, k - 1)[k - 1]))

    def _sums(self, query: F32Vector, rows: Ids) -> F32Vector:
        """Sum up squared differences in float32, in place if the file is mapped."""
        faiss = import_faiss()
        sums = np.empty(len(rows), np.float32)
        out, xq = faiss.swig_ptr(sums), faiss.swig_ptr(query)
        stored = self._map_for(len(rows))
        if stored is not None and len(rows) and rows.max() < self.rows:
            xb, ids = faiss.cast_integer_to_float_ptr(stored.ctypes.data), faiss.swig_ptr(rows)
            faiss.fvec_L2sqr_by_idx(out, xq, xb, ids, self.dim, 1, len(rows))
            return sums
        for start in range(0, len(rows), self._read_rows):
            vectors = self.read(rows[start : start + self._read_rows])
            out = faiss.swig_ptr(sums[start:])
            faiss.fvec_L2sqr_ny(out, xq, faiss.swig_ptr(vectors), self.dim, len(vectors))
        return sums

    def _map_for(self, count: int) -> npt.NDArray[np.uint8] | None:
        """The map to read so many rows from, in their order."""
        return self._scanned if count > SCANNED_SHARE * self.rows else self._mapped


def _padded(queries: F32Matrix) -> F32Matrix:
    """Add zeros to (n, dim) queries that are nearly so many that FAISS multiplies matrices.

    Then a query takes a sixth of the time of one that is compared with each row by itself. A query
    that is alone stays so: its squares are more exact.
    """
    n, dim = queries.shape
    multiplied = -(-import_faiss().cvar.distance_compute_blas_threshold // max(1, dim))
    if n < 2 or n >= multiplied or PADDING * n < multiplied:
        return queries
    return np.concatenate([queries, np.zeros((multiplied - n, dim), np.float32)])


def distances_to(query: F32Vector, vectors: F32Matrix) -> F64Vector:
    """(dim,), (n, dim) float32 → (n,) float64: Euclidean distances, as all answers state them."""
    difference = vectors - query.astype(np.float64)
    distances: F64Vector = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances


def import_faiss() -> Any:
    """Import FAISS and hold it, and its BLAS (OpenMP), to one thread when called from this one.

    One query cannot be shared between threads: starting a second one only costs time. And OpenMP's
    threads, which spin while they wait, would compete with those of NumPy's BLAS for the cores.
    OpenMP keeps the setting per thread of the program, so all code imports FAISS by this function.
    """
    import faiss

    faiss.omp_set_num_threads(1)
    return faiss


def distinct(allowed: Ids, rows: int) -> Ids:
    """Return allowed rows in ascending order, each once; `np.unique` takes 30 times as long."""
    return np.flatnonzero(_mask(allowed, rows))


def selector(allowed: Ids, rows: int) -> Any:
    """Return FAISS's selector of the allowed rows, by which it skips all others."""
    return import_faiss().IDSelectorBitmap(np.packbits(_mask(allowed, rows), bitorder="little"))


def _mask(allowed: Ids, rows: int) -> Mask:
    mask = np.zeros(rows, np.bool_)
    mask[allowed] = True
    return mask
