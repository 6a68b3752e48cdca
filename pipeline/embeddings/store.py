"""Vectors of photos, in shards: `embeddings/<fingerprint>/00000.npy` + `00000.json`.

A vector belongs to the content of a photo, so each shard lists the SHA-256 of the photos whose
vectors it holds, row by row. The JSON file is written last: without it a shard does not exist.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged, sha256_file, write_atomic, write_json
from pipeline.errors import DamagedArtifactError

F32Matrix = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """One complete shard."""

    file: Path
    photos: tuple[bytes, ...]
    """SHA-256 of each row's photo."""
    sha256: str

    def vectors(self) -> F32Matrix:
        """(rows, dim) float32, mapped from the disk.

        Raises:
            DamagedArtifactError: the file is missing, truncated, or of another shape.
        """
        try:
            vectors: F32Matrix = np.load(self.file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self.damaged("it is missing or truncated") from error
        if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != len(self.photos):
            raise self.damaged("its shape is not what its JSON file says")
        return vectors

    def damaged(self, what: str) -> DamagedArtifactError:
        """Return the error to raise: without its JSON file, the shard is written again."""
        return damaged(self.file, what, remove=self.file.with_suffix(".json"))

    def is_intact(self) -> bool:
        """Whether the file is there and has the checksum noted when it was written."""
        return self.file.is_file() and sha256_file(self.file) == self.sha256


class EmbeddingStore:
    """The shards of one engine's one fingerprint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shards(self) -> Iterator[Shard]:
        """Yield the complete shards in the order in which they were written.

        Raises:
            DamagedArtifactError: a shard's JSON file is not readable.
        """
        for marker in sorted(self.folder.glob("[0-9]*.json")):
            try:
                content = json.loads(marker.read_bytes())
                photos = tuple(bytes.fromhex(photo) for photo in content["photos"])
                yield Shard(marker.with_suffix(".npy"), photos, str(content["sha256"]))
            except (KeyError, TypeError, ValueError) as error:
                raise damaged(marker, "it does not describe a shard", remove=marker) from error

    def photos(self) -> set[bytes]:
        """Return the SHA-256 of every photo that has a vector."""
        return {photo for shard in self.shards() for photo in shard.photos}

    def select(self, rows: Mapping[bytes, int]) -> Iterator[tuple[Shard, Ids, F32Matrix]]:
        """Read the vectors of some photos, given the row (0 … n − 1) of each by its SHA-256.

        Yields, for each shard that has some of them, (shard, rows, vectors): (m,) int64 and
        (m, dim) float32. A photo without a vector is left out. Memory holds one shard.

            for _, rows, vectors in store.select({photo: row for row, photo in enumerate(photos)}):
                matrix[rows] = vectors

        Raises:
            DamagedArtifactError: a shard is missing or truncated.
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

    def write(self, photos: Sequence[bytes], vectors: F32Matrix, runtime: str = "") -> Shard:
        """Append a shard of (n, dim) vectors; when this returns, all of it is on the disk.

        `runtime` is what computed them, and its version: noted for people, it decides nothing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        names = (self.folder / f"{number:05d}.npy" for number in itertools.count())
        file = next(name for name in names if not name.with_suffix(".json").exists())
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)
        write_atomic(file, buffer.getvalue())
        shard = Shard(file, tuple(photos), sha256_file(file))
        hexadecimal = [photo.hex() for photo in photos]
        content = {"photos": hexadecimal, "sha256": shard.sha256, "runtime": runtime}
        write_json(file.with_suffix(".json"), content)
        return shard
