"""Vectors of photos: in shards, and once they are indexed in segments.

A shard is `embeddings/<fingerprint>/<name>.npy` + `<name>.json`. A vector belongs to the content of
a photo, so each shard lists the SHA-256 of the photos whose vectors it holds, row by row, and a
checksum of each row. Its name follows from those photos: whoever writes a shard again, on whatever
machine, writes the same file. The JSON file is written last: without it a shard does not exist.

When a build holds the vectors of a shard, the shard goes: they are on the disk once, in `segment`s.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts import (
    damaged,
    read_file,
    read_sealed,
    remove,
    write_atomic,
    write_sealed,
)
from pipeline.embeddings.arrays import F32Matrix, Hashes, Ids, Mask, PhotoIndex, to_hashes
from pipeline.embeddings.segment import (
    CHECKSUM_BYTES,
    Checksums,
    Segment,
    SegmentStore,
    row_checksums,
)
from pipeline.integrity import CHANGED


@dataclass(frozen=True, eq=False)
class Shard:
    """One complete shard."""

    file: Path
    hashes: Hashes
    """(rows, 32) uint8: SHA-256 of each row's photo."""
    checksums: Checksums
    """(rows, 8) uint8: of each row's vector."""
    sha256: str
    """Of the file."""
    runtime: str = ""
    """What computed the vectors, and its version."""

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

    @property
    def runtimes(self) -> list[str]:
        """Like `Segment.runtimes`."""
        return [self.runtime] if self.runtime else []

    def blocks(self, rows: Ids) -> Iterator[tuple[Ids, F32Matrix]]:
        """Like `Segment.blocks`: all of them at once."""
        vectors = self.vectors()
        is_whole = np.array_equal(rows, np.arange(len(vectors)))  # then nothing need be copied
        yield np.arange(len(rows)), vectors if is_whole else vectors[rows]


class EmbeddingStore:
    """The vectors of one engine by one model: its shards, and its segments of that model."""

    def __init__(self, folder: Path, segments: SegmentStore | None = None) -> None:
        """Take the folder of the shards, which is named by the model's fingerprint."""
        self.folder, self._segments = folder, segments

    def shards(self) -> Iterator[Shard]:
        """Yield the complete shards.

        Raises:
            DamagedArtifactError: a shard's JSON file is not what was written.
            OSError: it cannot be read.
        """
        return map(read_shard, self.markers())

    def markers(self) -> list[Path]:
        """Return the JSON file of each complete shard."""
        return sorted(self.folder.glob("*.json"))

    def sources(self) -> Iterator[Shard | Segment]:
        """Yield all that holds vectors; some photos may be in several.

        Raises:
            DamagedArtifactError: the description of one is not what was written.
        """
        yield from self.shards()
        yield from self.segments()

    def segments(self) -> Iterator[Segment]:
        """Yield the segments of its model; raises as `sources` does."""
        if self._segments is not None:
            yield from self._segments.of_model(self.folder.name)

    def photos(self) -> set[bytes]:
        """Return the SHA-256 of every photo that has a vector."""
        return {photo.tobytes() for source in self.sources() for photo in source.hashes}

    def present(self, photos: Hashes) -> Mask:
        """(n, 32) SHA-256 of photos → (n,): which of them have a vector."""
        return _mask(photos, _find(photos, self.sources()))

    def indexed(self, photos: Hashes) -> Mask:
        """(n, 32) SHA-256 of photos → (n,): which of them have a vector in a segment."""
        return _mask(photos, _find(photos, self.segments()))

    def checksums(self, photos: Hashes) -> Checksums:
        """(n, 32) SHA-256 of photos → (n, 8): checksums of their vectors; 0 where there is none.

        They change whenever a vector does, whatever holds it.
        """
        checksums = np.zeros((len(photos), CHECKSUM_BYTES), np.uint8)
        for source, positions, rows in _find(photos, self.sources()):
            checksums[positions] = source.checksums[rows]
        return checksums

    def runtimes(self, photos: Hashes) -> list[str]:
        """Return what computed the vectors of (n, 32) photos: names and versions, sorted."""
        return sorted(
            {name for source, _, _ in _find(photos, self.sources()) for name in source.runtimes}
        )

    def select(self, photos: Hashes) -> Iterator[tuple[Ids, F32Matrix]]:
        """Read the vectors of (n, 32) photos: yield positions among them, and (m, dim) vectors.

        A photo without a vector is left out. Memory holds one shard, or a part of a segment.

            for positions, vectors in store.select(photos): matrix[positions] = vectors

        Raises:
            DamagedArtifactError: a shard or a segment is missing, or has changed.
        """
        for source, positions, rows in _find(photos, self.sources()):
            for block, vectors in source.blocks(rows):
                yield positions[block], vectors

    def gather(self, photos: Hashes) -> F32Matrix:
        """(n, 32) uint8 SHA-256 of photos → (n, dim) float32; zeros where there is no vector.

        The result is (0, 0) if the store is empty.
        """
        first = next((source for source in self.sources() if len(source.hashes)), None)
        if first is None:
            return np.zeros((0, 0), np.float32)
        _, sample = next(first.blocks(np.zeros(1, np.int64)))
        matrix = np.zeros((len(photos), sample.shape[1]), np.float32)
        for positions, vectors in self.select(photos):
            matrix[positions] = vectors
        return matrix

    def write(self, photos: Sequence[bytes], vectors: F32Matrix, runtime: str = "") -> Shard:
        """Write the shard of (n, dim) vectors; when this returns, all of it is on the disk.

        `runtime` is what computed them, and its version: noted for people, it decides nothing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{hashlib.sha256(b''.join(photos)).hexdigest()[:16]}.npy"
        vectors = np.ascontiguousarray(vectors, dtype=np.float32) + np.float32(0)  # no -0
        buffer = io.BytesIO()
        np.save(buffer, vectors, allow_pickle=False)
        if not file.is_file():
            remove(file)  # a folder would not give way
        write_atomic(file, buffer.getvalue())
        hashes, checksums = to_hashes(b"".join(photos)), row_checksums(vectors)
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        # One text for all rows: a list of them takes a hundred times as long to read.
        rows = {"photos": hashes.tobytes().hex(), "rows": checksums.tobytes().hex()}
        content = {**rows, "sha256": sha256, "runtime": runtime}
        write_sealed(file.with_suffix(".json"), content)
        return Shard(file, hashes, checksums, sha256, runtime)

    def drop_shards(self, markers: Iterable[Path]) -> None:
        """Delete shards, given by their JSON files, whose vectors a build holds."""
        for marker in markers:
            marker.unlink(missing_ok=True)
            marker.with_suffix(".npy").unlink(missing_ok=True)
        for file in self.folder.glob("*.npy"):  # of which a killed run left the vectors
            if not file.with_suffix(".json").exists():
                file.unlink()
        with suppress(OSError):  # more is in it
            self.folder.rmdir()


_Found = tuple[Shard | Segment, Ids, Ids]
"""What holds vectors, positions among the photos asked for, and their rows in it."""


def _find(photos: Hashes, sources: Iterable[Shard | Segment]) -> Iterator[_Found]:
    """Find (n, 32) photos, each at most once."""
    index = PhotoIndex(photos)
    is_missing = np.ones(len(photos), np.bool_)
    for source in sources if len(photos) else ():
        positions = index.rows(source.hashes)
        rows = np.flatnonzero(positions >= 0)
        rows = rows[is_missing[positions[rows]]]
        if len(rows):
            is_missing[positions[rows]] = False
            yield source, positions[rows], rows


def _mask(photos: Hashes, found: Iterable[_Found]) -> Mask:
    mask = np.zeros(len(photos), np.bool_)
    for _, positions, _ in found:
        mask[positions] = True
    return mask


def read_shard(marker: Path) -> Shard:
    """Read a shard's JSON file: `read_shard(marker).vectors()`.

    Raises:
        DamagedArtifactError: it is not what was written.
        OSError: it cannot be read.
    """
    content = read_sealed(marker, remove=marker)
    try:
        hashes = to_hashes(bytes.fromhex(content["photos"]))
        checksums = np.frombuffer(bytes.fromhex(content["rows"]), np.uint8)
        checksums = checksums.reshape(len(hashes), CHECKSUM_BYTES)
        runtime = str(content.get("runtime", ""))
        return Shard(marker.with_suffix(".npy"), hashes, checksums, content["sha256"], runtime)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(marker, "it does not describe a shard", remove=marker) from error
