"""Exact Euclidean search that reads a tenth of the bytes: most rows are ruled out by their codes.

A code of a few hundred bytes bounds a row's distance from below (`bounds`). Rows whose codes are
nearest, looked for in a few clusters, are compared in full; the k-th of their distances limits the
search. Then all codes are scanned by FAISS's integer kernel, and the rows that their codes do not
rule out are compared in full too (`code_filter`). If that is too many, as for random vectors, the
flat index answers, which compares all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts import write_json
from pipeline.index.base import (
    F32Matrix,
    Ids,
    Neighbors,
    VectorIndex,
    joined,
)
from pipeline.index.bounds import fit
from pipeline.index.cluster_probe import ClusterProbe
from pipeline.index.code_filter import (
    BOUNDS_FILE,
    SAMPLE_ROWS,
    Clustering,
    CodeFilter,
    spread_rows,
)
from pipeline.index.vectors import VectorFile, distinct, import_faiss

ENCODED_ROWS = 4096  # at a time
QUERY_BLOCK = 256  # queries answered at a time


@dataclass(frozen=True)
class PruningOptions:
    """How codes are made, and when they answer a query. Answers are the same with any."""

    max_memory_share: float = 0.15
    """Of the vectors' bytes, for codes and basis."""
    min_coded_rows: int = 2048
    """Fewer rows are sooner compared in full."""
    max_verified_share: float = 1 / 4
    """Of the rows: more are not worth being compared one by one."""
    code_length: int | None = None
    """Bytes of a code; None: as many as make a query read the fewest bytes."""


DEFAULTS = PruningOptions()


def write_pruned(
    folder: Path,
    file: VectorFile,
    options: PruningOptions = DEFAULTS,
    *,
    clustering: Clustering | None = None,
    encoded_rows: int = ENCODED_ROWS,
) -> None:
    """Write codes of a file's vectors into a folder, in the clusters of an exact search or others.

    There are none where they are of no use: if vectors are few, short or random.

    Raises:
        OSError: the files cannot be written.
    """
    clustering = clustering or Clustering.coarse(file.rows)
    max_length = options.code_length or max_code_length(
        file.rows, file.dim, clustering.clusters, options
    )
    coder = None
    if max_length > 0 and file.rows >= max(1, options.min_coded_rows):
        sample = file.read(spread_rows(file.rows, SAMPLE_ROWS))
        length = options.code_length
        coder = fit(sample, lambda: file.blocks(encoded_rows), file.rows, max_length, length=length)
    if coder is None:
        write_json(folder / BOUNDS_FILE, {})
    else:
        CodeFilter.make(coder, file, clustering, encoded_rows).save(folder)


def max_code_length(rows: int, dim: int, clusters: int, options: PruningOptions = DEFAULTS) -> int:
    """How many bytes a code may have, beside its row number (8), the basis and the centroids."""
    if not rows:
        return 0
    memory = options.max_memory_share * 4 * rows * dim - 8 * rows
    return int(memory / (rows + 4 * dim + 4 * clusters)) // 32 * 32


class PrunedIndex:
    """A flat index, with codes by which most of its rows need not be read."""

    def __init__(
        self,
        folder: Path,
        file: VectorFile,
        flat: VectorIndex,
        options: PruningOptions = DEFAULTS,
        *,
        query_block: int = QUERY_BLOCK,
        float32_products: int | None = None,
    ) -> None:
        """Open the index in a folder, with its vectors and the index that compares all of them.

        `float32_products` is passed to the `bounds.Coder`.

        Raises:
            DamagedArtifactError: its files are not what `write_pruned` wrote.
        """
        self.rows: int = file.rows
        self.dim: int = file.dim
        self.vectors = file.read
        self._flat, self._options, self._query_block = flat, options, query_block
        self._code_filter = CodeFilter.open(folder, file, float32_products)

    @property
    def min_coded_rows(self) -> int:
        """With fewer allowed rows these are sooner compared in full."""
        return self._options.min_coded_rows

    @property
    def probe(self) -> ClusterProbe | None:
        """Its codes, for an approximate search; None if they are of no use."""
        return None if self._code_filter is None else self._code_filter.probe

    def close(self) -> None:
        """Close the files and their maps."""
        self._code_filter = None
        self._flat.close()

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """Return what the flat index would; it does the work where codes rule out too little."""
        import_faiss()  # this may be another thread than the one that opened the index
        queries = np.ascontiguousarray(queries, np.float32)
        if allowed is not None:
            allowed = distinct(allowed, self.rows)
            allowed = None if len(allowed) == self.rows else allowed
        available = self.rows if allowed is None else len(allowed)
        k = min(k, available)
        if self._code_filter is None or available < self._options.min_coded_rows or not k:
            return self._flat.search(queries, k, allowed)
        max_verified = int(available * self._options.max_verified_share)
        answers = self._code_filter.search(queries, k, allowed, max_verified, self._query_block)
        return joined(answers, queries, k, lambda rest: self._flat.search(rest, k, allowed))
