"""Vectors of photos, in shards: `embeddings/<fingerprint>/00000.npy` + `00000.json`.

A vector belongs to the content of a photo, so each shard lists the SHA-256 of the photos whose
vectors it holds, row by row, and a checksum of each row. The JSON file is written last: without it
a shard does not exist.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import (
    damaged,
    read_file,
    read_sealed,
    remove,
    write_atomic,
    write_sealed,
)
from pipeline.integrity import CHANGED

F32Matrix = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """One complete shard."""

    file: Path
    photos: tuple[bytes, ...]
    """SHA-256 of each row's photo."""
    row_checksums: tuple[str, ...]
    """16 hexadecimal digits of the SHA-256 of each row."""
    sha256: str
    """Of the file."""

    def vectors(self) -> F32Matrix:
        """(rows, dim) float32, from a file that has the checksum noted when it was written.

        Raises:
            DamagedArtifactError: the file is missing or has changed.
            OSError: it cannot be read.
        """
        marker = self.file.with_suffix(".json")  # without it, the shard is written again
        data = read_file(self.file, remove=marker)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise damaged(self.file, CHANGED, remove=marker)
        vectors: F32Matrix = np.load(io.BytesIO(data), allow_pickle=False)
        return vectors


class EmbeddingStore:
    """The shards of one engine's one fingerprint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shards(self) -> Iterator[Shard]:
        """Yield the complete shards in the order in which they were written.

        Raises:
            DamagedArtifactError: a shard's JSON file is not what was written.
            OSError: it cannot be read.
        """
        return map(read_shard, self.markers())

    def markers(self) -> list[Path]:
        """Return the JSON file of each complete shard."""
        return sorted(self.folder.glob("[0-9]*.json"))

    def photos(self) -> set[bytes]:
        """Return the SHA-256 of every photo that has a vector."""
        return {photo for shard in self.shards() for photo in shard.photos}

    def checksum(self, rows: Mapping[bytes, int]) -> str:
        """Return what changes whenever one of these photos' vectors does, whatever their shards.

        store.checksum({photo: row for row, photo in enumerate(photos)})
        """
        checksums = [""] * len(rows)
        for shard in self.shards():
            for photo, checksum in zip(shard.photos, shard.row_checksums, strict=True):
                if photo in rows:
                    checksums[rows[photo]] = checksum
        return hashlib.sha256(" ".join(checksums).encode()).hexdigest()

    def select(self, rows: Mapping[bytes, int]) -> Iterator[tuple[Shard, Ids, F32Matrix]]:
        """Read the vectors of some photos, given the row (0 … n − 1) of each by its SHA-256.

        Yields, for each shard that has some of them, (shard, rows, vectors): (m,) int64 and
        (m, dim) float32. A photo without a vector is left out. Memory holds one shard.

            for _, rows, vectors in store.select({photo: row for row, photo in enumerate(photos)}):
                matrix[rows] = vectors

        Raises:
            DamagedArtifactError: a shard is missing, or has changed.
        """
        for shard in self.shards():
            pairs = [(rows[photo], i) for i, photo in enumerate(shard.photos) if photo in rows]
            if pairs:
                selected, positions = np.array(pairs, np.int64).T
                yield shard, selected, shard.vectors()[positions]

    def gather(self, photos: npt.NDArray[np.uint8]) -> F32Matrix:
        """(n, 32) uint8 SHA-256 of photos → (n, dim) float32; zeros where there is no vector.

        The result is (0, 0) if the store is empty.
        """
        first = next(self.shards(), None)
        if first is None:
            return np.zeros((0, 0), np.float32)
        matrix = np.zeros((len(photos), first.vectors().shape[1]), np.float32)
        for _, rows, vectors in self.select({p.tobytes(): row for row, p in enumerate(photos)}):
            matrix[rows] = vectors
        return matrix

    def without_direction(self, dim: int) -> set[bytes]:
        """Return the SHA-256 of every photo whose vector, of `dim` entries, is zero."""
        zeros = _row_checksum(np.zeros(dim, np.float32))
        return {
            photo
            for shard in self.shards()
            for photo, checksum in zip(shard.photos, shard.row_checksums, strict=True)
            if checksum == zeros
        }

    def write(self, photos: Sequence[bytes], vectors: F32Matrix, runtime: str = "") -> Shard:
        """Append a shard of (n, dim) vectors; when this returns, all of it is on the disk.

        `runtime` is what computed them, and its version: noted for people, it decides nothing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        names = (self.folder / f"{number:05d}.npy" for number in itertools.count())
        file = next(name for name in names if not name.with_suffix(".json").exists())
        vectors = np.ascontiguousarray(vectors, dtype=np.float32) + np.float32(0)  # no -0
        buffer = io.BytesIO()
        np.save(buffer, vectors, allow_pickle=False)
        if not file.is_file():
            remove(file)  # a folder would not give way
        write_atomic(file, buffer.getvalue())
        rows = [_row_checksum(vector) for vector in vectors]
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        content = {"photos": [photo.hex() for photo in photos], "rows": rows, "sha256": sha256}
        write_sealed(file.with_suffix(".json"), {**content, "runtime": runtime})
        return Shard(file, tuple(photos), tuple(rows), sha256)


def _row_checksum(vector: npt.NDArray[np.float32]) -> str:
    return hashlib.sha256(vector.tobytes()).hexdigest()[:16]


def read_shard(marker: Path) -> Shard:
    """Read a shard's JSON file: `read_shard(folder / "00000.json").vectors()`.

    Raises:
        DamagedArtifactError: it is not what was written.
        OSError: it cannot be read.
    """
    content = read_sealed(marker, remove=marker)
    try:
        photos = tuple(bytes.fromhex(photo) for photo in content["photos"])
        rows = tuple(content["rows"])
        return Shard(marker.with_suffix(".npy"), photos, rows, content["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(marker, "it does not describe a shard", remove=marker) from error
