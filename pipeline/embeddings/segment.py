"""Segments: `segments/<id>/` is an immutable part of an index, and where its vectors are kept.

    index.faiss      a plain FAISS file: row r is the vector of the photo photos.npy[r]
    photos.npy       (n, 32) uint8: SHA-256 of each row's photo
    checksums.npy    (n, 8) uint8: the first bytes of the SHA-256 of each row's vector
    ids.npy          (m, 2) int64: (row, item id), who showed the photos when it was sealed

Several builds share a segment: each says what has changed since. What a type of index writes beside
the vectors belongs to the index, and is listed in the manifest as all files are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import MANIFEST, Manifest, damaged, read_manifest
from pipeline.embeddings.arrays import F32Matrix, Hashes, Ids, parse_matrix
from pipeline.embeddings.flat_file import FlatFile
from pipeline.integrity import CHANGED, read_published

INDEX_FILE, PHOTOS_FILE = "index.faiss", "photos.npy"
CHECKSUMS_FILE, IDS_FILE = "checksums.npy", "ids.npy"
CHECKSUM_BYTES = 8
READ_ROWS = 1024  # vectors that are read at a time
_FIELDS = {"fingerprint", "dim", "rows", "index", "without_direction"}

Checksums = npt.NDArray[np.uint8]
"""(n, 8) uint8: of n vectors."""


@dataclass(frozen=True)
class Segment:
    """One complete segment."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """What builds call it; it follows from its content."""
        return self.path.name

    @property
    def rows(self) -> int:
        """How many vectors it has."""
        return int(self.manifest["rows"])

    @property
    def file(self) -> Path:
        """The vectors, as a plain FAISS file."""
        return self.path / INDEX_FILE

    @property
    def index_files(self) -> list[str]:
        """The names of its files that belong to the index, and are read in place."""
        others = {PHOTOS_FILE, CHECKSUMS_FILE, IDS_FILE}
        return sorted(self.manifest["files"].keys() - others)

    @property
    def runtimes(self) -> list[str]:
        """What computed its vectors, and their versions: noted for people, it decides nothing."""
        return list(self.manifest.get("runtimes", []))

    @property
    def without_direction(self) -> Ids:
        """The rows that no search finds, because their vectors are zero: see `build_index`."""
        return np.array(self.manifest["without_direction"], np.int64)

    @cached_property
    def hashes(self) -> Hashes:
        """(rows, 32) uint8: SHA-256 of the photo of each row."""
        return self._matrix(PHOTOS_FILE, np.uint8)

    @cached_property
    def checksums(self) -> Checksums:
        """(rows, 8) uint8: of each row's vector."""
        return self._matrix(CHECKSUMS_FILE, np.uint8)

    @cached_property
    def ids(self) -> Ids:
        """(m, 2) int64: (row, item id), sorted; who showed the photos when it was sealed."""
        return self._matrix(IDS_FILE, np.int64)

    def blocks(self, rows: Ids) -> Iterator[tuple[Ids, F32Matrix]]:
        """Read the vectors of some rows, a block at a time: yield positions in `rows`, vectors.

        Raises:
            DamagedArtifactError: a vector is not what was written.
        """
        with closing(FlatFile(self.file)) as file:
            if (file.rows, file.dim) != (self.rows, self.manifest["dim"]):
                raise damaged(self.file, "it has another shape than the manifest says")
            for start in range(0, len(rows), READ_ROWS):
                block = rows[start : start + READ_ROWS]
                vectors = file.read(block)
                if (row_checksums(vectors) != self.checksums[block]).any():
                    raise damaged(self.file, CHANGED)
                yield np.arange(start, start + len(block)), vectors

    def _matrix(self, name: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
        return parse_matrix(self.path / name, read_published(self.path, self.manifest, name), dtype)


class SegmentStore:
    """All segments of one engine: `SegmentStore(engine.folder / "segments")`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: dict[str, Segment] = {}  # their arrays are read once

    def paths(self) -> list[Path]:
        """Return the folders of all segments."""
        return sorted(path for path in self.folder.glob("[0-9a-f]*") if path.is_dir())

    def open(self, name: str) -> Segment:
        """Return the segment of this name.

        Raises:
            DamagedArtifactError: it is missing, or its manifest is not what was written.
        """
        folder = self.folder / name
        manifest = read_manifest(folder)
        if not manifest.keys() >= _FIELDS:
            raise damaged(folder / MANIFEST, "it describes no segment")
        if name not in self._opened or self._opened[name].manifest != manifest:
            self._opened[name] = Segment(folder, manifest)
        return self._opened[name]

    def of_model(self, fingerprint: str) -> list[Segment]:
        """Return the segments that hold the vectors of a model; raises as `open` does."""
        segments = [self.open(path.name) for path in self.paths()]
        return [one for one in segments if one.manifest["fingerprint"] == fingerprint]


def row_checksums(vectors: F32Matrix) -> Checksums:
    """(n, dim) float32 → (n, 8) uint8: the first bytes of the SHA-256 of each vector."""
    digests = [hashlib.sha256(vector.tobytes()).digest()[:CHECKSUM_BYTES] for vector in vectors]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, CHECKSUM_BYTES)
