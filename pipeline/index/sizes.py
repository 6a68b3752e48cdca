"""How many bytes an index takes, said before it is written.

`imgsearch plan` adds these up, and a build compares them with the room that there is (`room`).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.index.bounds import RESIDUAL_COPIES
from pipeline.index.code_filter import Clustering
from pipeline.index.pruned import DEFAULTS, max_code_length

HASH_BYTES, CHECKSUM_BYTES, PAIR_BYTES = 32, 8, 16
ROW_BYTES = HASH_BYTES + CHECKSUM_BYTES + PAIR_BYTES
"""Of a photo that one item shows, beside its vector and its code."""
MANIFEST_BYTES = 2000
BOUND_BYTES = 24  # in bounds.json, for each byte of a code
CODES_HEADER = 184  # of FAISS's file
_TYPICAL_LENGTH, _TYPICAL_POWER = 1.9, 0.69
"""Codes of VGG16's 4,096 numbers have 608 bytes, of MobileNetV2's 1,280 from 224 to 352."""


@dataclass(frozen=True)
class IndexSize:
    """An index of `rows` vectors of `dim` float32."""

    rows: int
    dim: int
    code_length: int = 0
    """Bytes of a code; 0: there are none."""
    clusters: int = 0
    """In which the codes are."""

    @property
    def vectors(self) -> int:
        """Bytes of the vectors."""
        return 4 * self.rows * self.dim

    @property
    def codes(self) -> int:
        """Bytes of the codes, of their clusters, and of what turns vectors into codes."""
        if not self.code_length:
            return 0
        lists = self.rows * (self.code_length + 8) + self.clusters * (4 * self.code_length + 8)
        return lists + CODES_HEADER + 4 * self.dim * (self.code_length - RESIDUAL_COPIES + 1)

    @property
    def disk(self) -> int:
        """Bytes on the disk."""
        bounds = BOUND_BYTES * self.code_length
        return self.vectors + self.codes + bounds + ROW_BYTES * self.rows + MANIFEST_BYTES

    @property
    def memory(self) -> int:
        """Bytes that queries look at, which memory should hold; without codes all vectors."""
        return (self.codes or self.vectors) + (HASH_BYTES + PAIR_BYTES) * self.rows

    @property
    def building(self) -> int:
        """Bytes of memory that writing it takes at the least."""
        return self.rows * ROW_BYTES + self.codes


def index_size(
    kind: str, rows: int, dim: int, recall: float | None = None, code_length: int | None = None
) -> IndexSize:
    """Return the size of an index of this type: `index_size("pruned", 10**6, 1280).memory`.

    How long codes are depends on the vectors: without `code_length`, as of networks' vectors.
    """
    if kind != "pruned" or rows < DEFAULTS.min_coded_rows:
        return IndexSize(rows, dim)
    clustering = Clustering.coarse(rows) if recall is None else Clustering.fine(rows)
    limit = max_code_length(rows, dim, clustering.clusters)
    length = min(code_length or typical_code_length(dim), limit)
    return IndexSize(rows, dim, length, clustering.clusters) if length > 0 else IndexSize(rows, dim)


def typical_code_length(dim: int) -> int:
    """How many bytes the codes of a network's vectors of photos have, about."""
    length: float = _TYPICAL_LENGTH * dim**_TYPICAL_POWER
    return 32 * max(1, round(length / 32))
