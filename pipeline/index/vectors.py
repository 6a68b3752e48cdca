"""The vectors of an index: a plain FAISS file, written in a stream and read row by row.

Reading rows, and the exact distances to them, is what every kind of index ends in. The file is
mapped if there is address space for it, and else read; it is never loaded as a whole.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged
from pipeline.index.base import F32Matrix, F32Vector, F64Vector, Ids, Mask
from pipeline.index.rounding import MAX_FLOAT32, flush_error, relative_error

# FAISS's format of an IndexFlatL2 (faiss/impl/index_write.cpp): a name, dim, rows, two fields that
# no longer mean anything, whether it is trained, the metric, and how many float32 values follow.
_HEADER = struct.Struct("<4siqqqBiQ")
_L2 = 1
READ_ROWS = 256  # rows that are read, and compared in float64, at a time


def write_flat(path: Path, rows: int, dim: int, parts: Iterable[tuple[Ids, F32Matrix]]) -> None:
    """Write a plain FAISS file of (rows, dim) float32, from parts of (row numbers, vectors).

    Each part goes straight to the file: memory holds one part, whatever the number of rows.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("wb") as file:
        file.write(_HEADER.pack(b"IxF2", dim, rows, 1 << 20, 1 << 20, 1, _L2, rows * dim))
        file.truncate(_HEADER.size + rows * dim * 4)
        for part_rows, vectors in parts:
            for row, vector in zip(part_rows.tolist(), vectors, strict=True):
                file.seek(_HEADER.size + row * dim * 4)
                file.write(vector.astype("<f4").tobytes())


class VectorFile:
    """The (rows, dim) float32 vectors of a flat FAISS file."""

    def __init__(self, path: Path, read_rows: int = READ_ROWS) -> None:
        """Open a file, of which `read_rows` rows are read at a time.

        Raises:
            DamagedArtifactError: it is no flat Euclidean index of FAISS, or not a whole one.
        """
        self._read_rows = read_rows
        try:
            self._file = path.open("rb")
        except FileNotFoundError as error:
            raise damaged(path, "it is missing") from error
        header = self._file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise damaged(path, "it is truncated")
        name, self.dim, self.rows, _, _, _, metric, values = _HEADER.unpack(header)
        if name != b"IxF2" or metric != _L2 or values != self.rows * self.dim:
            raise damaged(path, "it is not a flat Euclidean index")
        size = os.fstat(self._file.fileno()).st_size
        if size != _HEADER.size + values * 4:
            raise damaged(path, "it has another size than it says")
        self._map: mmap.mmap | None = None
        self._mapped = self._map_rows()

    def close(self) -> None:
        """Close the file and its map; a search that is under way keeps the map until it ends."""
        self._mapped = None
        if self._map is not None:
            with contextlib.suppress(BufferError):
                self._map.close()
        self._file.close()

    def read(self, rows: Ids) -> F32Matrix:
        """Return the (len(rows), dim) vectors of these rows, in this order."""
        if self._mapped is not None:
            return self._mapped[rows].view(np.float32)
        size, file = self.dim * 4, self._file.fileno()
        for row in rows.tolist():  # all are on their way before the first is waited for
            os.posix_fadvise(file, _HEADER.size + row * size, size, os.POSIX_FADV_WILLNEED)
        data = [os.pread(file, size, _HEADER.size + row * size) for row in rows.tolist()]
        return np.frombuffer(b"".join(data), np.float32).reshape(len(rows), self.dim)

    def blocks(self, size: int) -> Iterator[F32Matrix]:
        """Read all vectors in turn, `size` at a time."""
        for start in range(0, self.rows, size):
            offset, count = start * self.dim * 4, min(size, self.rows - start)
            data = os.pread(self._file.fileno(), count * self.dim * 4, _HEADER.size + offset)
            yield np.frombuffer(data, np.float32).reshape(count, self.dim)

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
            difference = self.read(rows[start : start + self._read_rows]) - query.astype(np.float64)
            squares = np.einsum("ij,ij->i", difference, difference)
            distances[start : start + self._read_rows] = np.sqrt(squares)
        order = np.lexsort((rows, distances))[:k]
        return distances[order], rows[order]

    def _sums(self, query: F32Vector, rows: Ids) -> F32Vector:
        """Sum up squared differences in float32, in place if the file is mapped."""
        faiss = import_faiss()
        sums = np.empty(len(rows), np.float32)
        out, xq = faiss.swig_ptr(sums), faiss.swig_ptr(query)
        if self._mapped is not None and len(rows) and rows.max() < self.rows:
            stored = faiss.cast_integer_to_float_ptr(self._mapped.ctypes.data)
            ids = faiss.swig_ptr(rows)
            faiss.fvec_L2sqr_by_idx(out, xq, stored, ids, self.dim, 1, len(rows))
            return sums
        for start in range(0, len(rows), self._read_rows):
            vectors = self.read(rows[start : start + self._read_rows])
            out = faiss.swig_ptr(sums[start:])
            faiss.fvec_L2sqr_ny(out, xq, faiss.swig_ptr(vectors), self.dim, len(vectors))
        return sums

    def _map_rows(self) -> npt.NDArray[np.uint8] | None:
        """Map the file as (rows, 4·dim) bytes, or None if there is no address space for it."""
        try:
            self._map = mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:
            return None
        # Rows are read here and there: what the system would read ahead is not needed.
        mapped.madvise(mmap.MADV_RANDOM)
        # Bytes, because the values do not begin at a multiple of 4.
        return np.frombuffer(mapped, np.uint8, offset=_HEADER.size).reshape(self.rows, self.dim * 4)


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
