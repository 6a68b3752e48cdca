"""The vectors of a segment: a plain FAISS file, written in a stream and read row by row.

The file is mapped if there is address space for it, and else read; it is never loaded as a whole.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged, open_file
from pipeline.embeddings.arrays import F32Matrix, Ids

# FAISS's format of an IndexFlatL2 (faiss/impl/index_write.cpp): a name, dim, rows, two fields that
# no longer mean anything, whether it is trained, the metric, and how many float32 values follow.
_HEADER = struct.Struct("<4siqqqBiQ")
_L2 = 1


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
            # Where rows that follow each other end: such are written at once.
            ends = np.flatnonzero(np.diff(part_rows, append=-2) != 1) + 1
            for start, end in pairwise([0, *ends.tolist()]):
                file.seek(_HEADER.size + int(part_rows[start]) * dim * 4)
                file.write(np.ascontiguousarray(vectors[start:end], "<f4").data)


class FlatFile:
    """The (rows, dim) float32 vectors of a flat FAISS file."""

    def __init__(self, path: Path) -> None:
        """Open a file: `FlatFile(segment.file).read(np.array([0]))`.

        Raises:
            DamagedArtifactError: it is missing, no flat Euclidean index of FAISS, or not whole.
        """
        self._file = open_file(path)
        header = self._file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise damaged(path, "it is truncated")
        name, self.dim, self.rows, _, _, _, metric, values = _HEADER.unpack(header)
        if name != b"IxF2" or metric != _L2 or values != self.rows * self.dim:
            raise damaged(path, "it is not a flat Euclidean index")
        size = os.fstat(self._file.fileno()).st_size
        if size != _HEADER.size + values * 4:
            raise damaged(path, "it has another size than it says")
        self._maps: list[mmap.mmap] = []
        # Rows are read here and there: what the system would read ahead is not needed.
        self._mapped = self._map_rows(mmap.MADV_RANDOM)

    def close(self) -> None:
        """Close the file and its maps; a search that is under way keeps them until it ends."""
        self._mapped = None
        for mapped in self._maps:
            with contextlib.suppress(BufferError):
                mapped.close()
        self._file.close()

    def read(self, rows: Ids) -> F32Matrix:
        """Return the (len(rows), dim) vectors of these rows, in this order."""
        if len(rows) > 1 and (np.diff(rows) == 1).all():
            return self._read_range(int(rows[0]), len(rows))
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
            yield self._read_range(start, min(size, self.rows - start))

    def _read_range(self, start: int, count: int) -> F32Matrix:
        """Read rows one after another: of a map, the system would read each page alone."""
        vectors = np.empty((count, self.dim), np.float32)
        at, data = _HEADER.size + start * self.dim * 4, vectors.view(np.uint8).ravel().data
        while data:
            read = os.preadv(self._file.fileno(), [data], at)
            if not read:
                raise ValueError("the file has been cut short")
            at, data = at + read, data[read:]
        return vectors

    def _map_rows(self, advice: int) -> npt.NDArray[np.uint8] | None:
        """Map the file as (rows, 4·dim) bytes, or None if there is no address space for it.

        `advice` is how it will be read: one of `mmap`'s `MADV_…`.
        """
        try:
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:
            return None
        self._maps.append(mapped)
        mapped.madvise(advice)
        # Bytes, because the values do not begin at a multiple of 4.
        return np.frombuffer(mapped, np.uint8, offset=_HEADER.size).reshape(self.rows, self.dim * 4)
