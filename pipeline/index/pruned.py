"""Exact Euclidean search that reads a tenth of the bytes: most rows are ruled out by their codes.

A code of a few hundred bytes bounds a row's distance from below (`bounds`). Rows whose codes are
nearest, looked for in a few clusters, are compared in full; the k-th of their distances limits the
search. Then all codes are scanned by FAISS's integer kernel, and the rows that their codes do not
rule out are compared in full too. If that is too many, as for random vectors, the reference
answers, which compares all.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.artifacts import damaged, read_json, write_json
from pipeline.index.base import F32Matrix, F64Vector, Ids, Neighbors, VectorIndex
from pipeline.index.bounds import Coder, fit
from pipeline.index.builds import INDEX_FILE
from pipeline.index.vectors import VectorFile, distinct, import_faiss, only

_CODES, _BASIS, _BOUNDS = "codes.faiss", "basis.npy", "bounds.json"
_MEMORY = 0.15  # of the vectors' bytes, for codes and basis
_SAMPLE = 8192  # rows that the coder is fitted to
_BLOCK = 4096  # rows encoded at a time
_QUERIES = 256  # answered at a time
_PROBED = 4  # clusters in which a limit is looked for
_WORTH = 2048  # rows; fewer are sooner compared in full
_MANY = 1 / 4  # of the rows: not worth comparing one by one


def write_pruned(folder: Path) -> None:
    """Write codes beside the flat index in a folder.

    There are none where they are of no use: if vectors are few, short or random.

    Raises:
        OSError: the files cannot be written.
    """
    file = VectorFile(folder / INDEX_FILE)
    most = _longest(file.rows, file.dim)
    coder = None
    if most > 0 and file.rows >= _WORTH:
        sample = file.read(_spread(file.rows, _SAMPLE))
        coder = fit(sample, lambda: file.blocks(_BLOCK), file.rows, most)
    if coder is None:
        write_json(folder / _BOUNDS, {})
    else:
        CodeFilter.make(coder, file).save(folder)


class PrunedIndex:
    """A flat index, with codes by which most of its rows need not be read."""

    def __init__(self, folder: Path, file: VectorFile, reference: VectorIndex) -> None:
        """Open the index in a folder, with its vectors and the index that compares all of them.

        Raises:
            DamagedArtifactError: its files are not what `write_pruned` wrote.
        """
        self.rows: int = file.rows
        self.dim: int = file.dim
        self._file = file
        self._reference = reference
        self._code_filter = CodeFilter.open(folder, file)

    def close(self) -> None:
        """Close the files and their maps."""
        self._code_filter = None
        self._reference.close()
        self._file.close()

    def vectors(self, rows: Ids) -> F32Matrix:
        """Return the (len(rows), dim) vectors of these rows as they are stored."""
        return self._file.read(rows)

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """(n, dim) float32 → the k nearest rows of each, among `allowed` rows if given.

        The answer is the reference's, and so is the work where the codes rule out too little.
        """
        import_faiss()  # this may be another thread than the one that opened the index
        queries = np.ascontiguousarray(queries, np.float32)
        if allowed is not None:
            allowed = distinct(allowed, self.rows)
            allowed = None if len(allowed) == self.rows else allowed
        k = min(k, self.rows if allowed is None else len(allowed))
        if self._code_filter is None:
            return self._reference.search(queries, k, allowed)
        found = Neighbors(
            np.empty((len(queries), k), np.float64),
            np.empty((len(queries), k), np.int64),
            np.empty(len(queries), np.int64),
        )
        unanswered = []
        for number, answer in enumerate(self._code_filter.search(queries, k, allowed)):
            if answer is None:
                unanswered.append(number)
            else:
                found.distances[number], found.rows[number], found.verified[number] = answer
        if unanswered:
            rest = self._reference.search(queries[unanswered], k, allowed)
            found.distances[unanswered] = rest.distances
            found.rows[unanswered] = rest.rows
            found.verified[unanswered] = rest.verified
        return found


class RankedRows(NamedTuple):
    """The nearest rows of one query."""

    distances: F64Vector
    rows: Ids
    verified: int


class CodeFilter:
    """The codes of all rows: they answer a query when few rows are left to compare in full."""

    def __init__(self, coder: Coder, error: float, index: Any, file: VectorFile) -> None:
        """`index` holds the codes, and no row's code is farther off than `error`."""
        self._coder = coder
        self._error = error
        self._index = index
        self._file = file
        self._unfiltered = self._parameters(None)

    @classmethod
    def make(cls, coder: Coder, file: VectorFile) -> CodeFilter:
        """Encode all vectors of a file."""
        index = _byte_index(coder.length, _clusters(file.rows))
        sample = coder.codes(coder.project(file.read(_spread(file.rows, _SAMPLE))))
        index.train(sample.values.astype(np.float32))
        error = 0.0
        for vectors in file.blocks(_BLOCK):
            codes = coder.codes(coder.project(vectors))
            index.add(codes.values.astype(np.float32))
            error = max(error, float(codes.errors.max()))
        return cls(coder, error, index, file)

    def save(self, folder: Path) -> None:
        """Write the codes and what is needed to read them."""
        try:
            import_faiss().write_index(self._index, str(folder / _CODES))
        except RuntimeError as error:
            raise OSError(errno.EIO, f"cannot write: {error}", str(folder / _CODES)) from error
        np.save(folder / _BASIS, self._coder.basis, allow_pickle=False)
        bounds = {
            "offset": self._coder.offset.tolist(),
            "step": self._coder.step,
            "orthonormality_error": self._coder.orthonormality_error,
            "error": self._error,
            "bytes": (folder / _CODES).stat().st_size,
        }
        write_json(folder / _BOUNDS, bounds)

    @classmethod
    def open(cls, folder: Path, file: VectorFile) -> CodeFilter | None:
        """Open what `save` wrote; None if nothing was saved, because codes are of no use.

        Raises:
            DamagedArtifactError: the files do not fit each other.
        """
        bounds = read_json(folder / _BOUNDS)
        if not bounds:
            return None
        try:
            offset = np.array(bounds["offset"], np.float64)
            step, orthonormality_error, error = (
                float(bounds[name]) for name in ("step", "orthonormality_error", "error")
            )
            size, length = int(bounds["bytes"]), len(offset)
        except (KeyError, TypeError, ValueError) as wrong:
            raise damaged(folder / _BOUNDS, "it does not hold the bounds of codes") from wrong
        try:
            basis = np.load(folder / _BASIS, allow_pickle=False)
        except (OSError, ValueError, EOFError) as wrong:
            raise damaged(folder / _BASIS, "it is not an array") from wrong
        if basis.dtype != np.float32 or basis.ndim != 2 or basis.shape[1] != file.dim:
            raise damaged(folder / _BASIS, "it has another shape or type")
        index = _open_codes(folder / _CODES, size, file.rows, length)
        return cls(Coder(basis, offset, step, orthonormality_error), error, index, file)

    def search(
        self, queries: F32Matrix, k: int, allowed: Ids | None = None
    ) -> Iterator[RankedRows | None]:
        """RankedRows (n, dim) float32, among `allowed` rows, or None where too many are left."""
        first = 2 * k + 12  # rows whose k-th is near enough to the true one
        available = self._file.rows if allowed is None else len(allowed)
        most = int(available * _MANY)
        if not k or available < _WORTH or first > most:
            yield from (None for _ in queries)
            return
        everywhere, nearby = self._unfiltered
        if allowed is not None:
            everywhere, nearby = self._parameters(only(allowed, self._file.rows))
        for start in range(0, len(queries), _QUERIES):
            block = queries[start : start + _QUERIES]
            codes = self._coder.codes(self._coder.project_queries(block))
            values = codes.values.astype(np.float32)
            proposed = self._index.search(values, first, params=nearby)
            for at, query in enumerate(block):
                code, error = values[at : at + 1], self._error + codes.errors[at]
                squared, rows = proposed[0][at], proposed[1][at]
                if rows[-1] < 0:  # fewer are allowed in these clusters
                    (squared,), (rows,) = self._index.search(code, first, params=everywhere)
                _, upper = self._file.squared(query, rows)
                limit = np.sqrt(np.partition(upper, k - 1)[k - 1])
                code_distance_bound = self._coder.code_distance_bound(limit, error)
                _, _, left = self._index.range_search(code, code_distance_bound, params=everywhere)
                if len(left) > most:
                    yield None
                else:
                    left.sort()  # the order on the disk
                    verified = len(left) + int(np.count_nonzero(squared >= code_distance_bound))
                    yield RankedRows(*self._file.nearest(query, left, k), verified)

    def _parameters(self, selector: Any) -> tuple[Any, Any]:
        """Return FAISS's parameters to search all clusters, and the nearest ones."""
        faiss = import_faiss()
        everywhere = faiss.SearchParametersIVF(nprobe=self._index.nlist, sel=selector)
        return everywhere, faiss.SearchParametersIVF(nprobe=_PROBED, sel=selector)


def _spread(rows: int, count: int) -> Ids:
    """Up to `count` rows, spread evenly over all."""
    return np.linspace(0, rows - 1, min(rows, count)).astype(np.int64)


def _clusters(rows: int) -> int:
    """How many clusters the codes are kept in; FAISS wants 39 rows of the sample for each."""
    return max(1, min(int(rows**0.5 / 2), min(rows, _SAMPLE) // 39))


def _longest(rows: int, dim: int) -> int:
    """How many bytes a code may have, beside its row number (8), the basis and the centroids."""
    memory = _MEMORY * 4 * rows * dim - 8 * rows
    return int(memory / (rows + 4 * dim + 4 * _clusters(rows))) // 32 * 32 if rows else 0


def _byte_index(length: int, clusters: int) -> Any:
    """An index of codes: bytes, as they are, in clusters."""
    faiss = import_faiss()
    return faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(length),
        length,
        clusters,
        faiss.ScalarQuantizer.QT_8bit_direct,
        faiss.METRIC_L2,
        False,  # not relative to the centroids
    )


def _open_codes(path: Path, size: int, rows: int, length: int) -> Any:
    """Map the codes from their file; FAISS does not notice if its end is missing."""
    faiss = import_faiss()
    if not path.is_file() or path.stat().st_size != size:
        raise damaged(path, "it is missing, or has another size")
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise damaged(path, "FAISS cannot read it") from error
    if not isinstance(index, faiss.IndexIVFScalarQuantizer) or (
        (index.ntotal, index.d, index.code_size) != (rows, length, length)
    ):
        raise damaged(path, "it does not hold the codes of these vectors")
    return index
