"""The codes of all rows in one FAISS index, which answer a query where they rule most rows out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.artifacts import damaged, read_file, read_json, write_json
from pipeline.embeddings.arrays import parse_matrix
from pipeline.index.base import F32Matrix, F64Vector, Ids
from pipeline.index.bounds import FLOAT32_PRODUCTS, Coder
from pipeline.index.cluster_probe import ClusterProbe
from pipeline.index.vectors import VectorFile, import_faiss, selector

CODES_FILE, BASIS_FILE, BOUNDS_FILE = "codes.faiss", "basis.npy", "bounds.json"
SAMPLE_ROWS = 8192  # that the coder is fitted to, and the clusters of an exact search
PROBED_CLUSTERS = 4  # in which a limit of the distance is looked for
_ROWS_PER_CLUSTER = 39  # of the sample: FAISS wants so many at least


class CodeFilter:
    """The codes of all rows, and the file of the vectors."""

    def __init__(self, coder: Coder, error: float, index: Any, file: VectorFile) -> None:
        """Take FAISS's `index` of the codes, none of which is farther off than `error`."""
        self._coder, self._error, self._index, self._file = coder, error, index, file
        self._unfiltered = self._parameters(None)

    @classmethod
    def make(
        cls, coder: Coder, file: VectorFile, clustering: Clustering, encoded_rows: int
    ) -> CodeFilter:
        """Encode all vectors of a file; clusters are fitted to a sample of them."""
        index = byte_index(coder.length, clustering.clusters)
        rows = spread_rows(file.rows, clustering.sample_rows)
        starts = range(0, len(rows), SAMPLE_ROWS)
        parts = (file.read(rows[start : start + SAMPLE_ROWS]) for start in starts)
        sample = [coder.codes(coder.project(part)).values.astype(np.float32) for part in parts]
        index.train(np.concatenate(sample))
        error = 0.0
        for vectors in file.blocks(encoded_rows):
            codes = coder.codes(coder.project(vectors))
            index.add(codes.values.astype(np.float32))
            error = max(error, float(codes.errors.max()))
        return cls(coder, error, index, file)

    def save(self, folder: Path) -> None:
        """Write the codes and what is needed to read them.

        Raises:
            OSError: a file cannot be written.
        """
        try:
            import_faiss().write_index(self._index, str(folder / CODES_FILE))
        except RuntimeError as error:
            raise OSError(errno.EIO, f"cannot write: {error}", str(folder / CODES_FILE)) from error
        np.save(folder / BASIS_FILE, self._coder.basis, allow_pickle=False)
        bounds = {
            "offset": self._coder.offset.tolist(),
            "step": self._coder.step,
            "orthonormality_error": self._coder.orthonormality_error,
            "error": self._error,
            "bytes": (folder / CODES_FILE).stat().st_size,
        }
        write_json(folder / BOUNDS_FILE, bounds)

    @classmethod
    def open(
        cls, folder: Path, file: VectorFile, float32_products: int | None = None
    ) -> CodeFilter | None:
        """Open what `save` wrote; None if nothing was saved, because codes are of no use.

        Raises:
            DamagedArtifactError: the files do not fit each other.
        """
        bounds = read_json(folder / BOUNDS_FILE)
        if not bounds:
            return None
        try:
            offset = np.array([float(value) for value in bounds["offset"]])
            size = int(bounds["bytes"])
            step, orthonormality_error, error = (
                float(bounds[name]) for name in ("step", "orthonormality_error", "error")
            )
        except (KeyError, TypeError, ValueError) as wrong:
            raise damaged(folder / BOUNDS_FILE, "it does not hold the bounds of codes") from wrong
        basis_file = folder / BASIS_FILE
        basis = parse_matrix(basis_file, read_file(basis_file), np.float32)
        if basis.shape[1] != file.dim:
            raise damaged(basis_file, "it has another shape or type")
        products = float32_products or FLOAT32_PRODUCTS
        coder = Coder(basis, offset, step, orthonormality_error, products)
        index = _open_codes(folder / CODES_FILE, size, file.rows, coder.length)
        return cls(coder, error, index, file)

    def search(
        self, queries: F32Matrix, k: int, allowed: Ids | None, max_verified: int, query_block: int
    ) -> Iterator[tuple[F64Vector, Ids, int] | None]:
        """Yield distances, rows of the k nearest, and how many vectors were compared in full.

        For each of (n, dim) float32, among `allowed` rows if given; None where more than
        `max_verified` rows would have to be compared.
        """
        proposed_rows = proposed_count(k)
        if proposed_rows > max_verified:
            yield from (None for _ in queries)
            return
        everywhere, nearby = self._unfiltered
        if allowed is not None:
            everywhere, nearby = self._parameters(selector(allowed, self._file.rows))
        for start in range(0, len(queries), query_block):
            block = queries[start : start + query_block]
            codes = self._coder.codes(self._coder.project_queries(block))
            values = codes.values.astype(np.float32)
            proposed = self._index.search(values, proposed_rows, params=nearby)
            for i, query in enumerate(block):
                code, error = values[i : i + 1], self._error + codes.errors[i]
                code_squares, rows = proposed[0][i], proposed[1][i]
                if rows[-1] < 0:  # fewer are allowed in these clusters
                    (code_squares,), (rows,) = self._index.search(
                        code, proposed_rows, params=everywhere
                    )
                limit = self._file.limit(query, rows, k)
                bound = self._coder.code_distance_bound(limit, error)
                _, _, candidates = self._index.range_search(code, bound, params=everywhere)
                if len(candidates) > max_verified:
                    yield None
                else:
                    candidates.sort()  # the order on the disk
                    verified = len(candidates) + int(np.count_nonzero(code_squares >= bound))
                    yield *self._file.nearest(query, candidates, k), verified

    @cached_property
    def probe(self) -> ClusterProbe:
        """The same codes, of which only the nearest clusters are looked at."""
        return ClusterProbe(self._coder, self._error, self._index, self._file.rows)

    def _parameters(self, allowed: Any) -> tuple[Any, Any]:
        """Return FAISS's parameters to search all clusters, and the nearest ones."""
        faiss = import_faiss()
        everywhere = faiss.SearchParametersIVF(nprobe=self._index.nlist, sel=allowed)
        return everywhere, faiss.SearchParametersIVF(nprobe=PROBED_CLUSTERS, sel=allowed)


def proposed_count(k: int) -> int:
    """How many rows of the nearest codes to compare: the k-th of them limits the search well."""
    return 2 * k + 12


def spread_rows(rows: int, count: int) -> Ids:
    """Return up to `count` rows, spread evenly over all."""
    return np.linspace(0, rows - 1, min(rows, count)).astype(np.int64)


class Clustering(NamedTuple):
    """Into how many clusters codes are sorted, and what these are fitted to."""

    clusters: int
    sample_rows: int

    @classmethod
    def coarse(cls, rows: int) -> Clustering:
        """For an exact search, which looks into few of them only for a limit of the distance."""
        limit = min(rows, SAMPLE_ROWS) // _ROWS_PER_CLUSTER
        return cls(max(1, min(int(rows**0.5 / 2), limit)), SAMPLE_ROWS)

    @classmethod
    def fine(cls, rows: int) -> Clustering:
        """For an approximate search, which looks at nothing else: see docs/benchmarks.md."""
        count = max(1, min(int(2 * rows**0.5), rows // _ROWS_PER_CLUSTER))
        return cls(count, count * _ROWS_PER_CLUSTER)


def byte_index(length: int, clusters: int) -> Any:
    """An index of codes of `length` bytes, kept as they are, in clusters."""
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
