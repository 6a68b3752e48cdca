"""Embed photos shard by shard: which photos are one, and what becomes of them.

Nothing here writes the ledger, or depends on what else is done: a shard that is embedded twice, on
whatever machine, is the same file, and photos that cannot be read are part of the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice, tee

import numpy as np

from pipeline.catalog.catalog import Photo
from pipeline.catalog.photos import Prepared, prepare_all
from pipeline.embeddings.arrays import Mask
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import RejectedImage, WeightsError
from pipeline.images import ImageLimits, U8Image
from pipeline.models.base import EmbeddingModel, F32Matrix
from pipeline.progress import Advance, ignored

ShardPhotos = tuple[Photo, ...]
"""The photos that are to become one shard."""


@dataclass(frozen=True)
class UnreadablePhoto:
    """A photo that has no vector, and why."""

    photo: Photo
    reason: str


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard's photos."""

    embedded: int
    """How many now have a vector, which is on the disk."""
    unreadable: tuple[UnreadablePhoto, ...] = ()


def plan_shards(
    photos: Iterable[Photo], is_indexed: Mask, is_done: Mask, shard_size: int
) -> Iterator[ShardPhotos]:
    """Cut photos into shards of at most `shard_size`, and leave out those that have a vector.

    Photos with a vector in a shard (`is_done`, but not `is_indexed`) keep their places, so a run
    that was stopped goes on with the shards that it had not finished, whichever they are.

        for shard in plan_shards(catalog.photos(), store.indexed(h), store.present(h), 1024): ...
    """
    rows = zip(photos, is_indexed, is_done, strict=True)
    pending = ((photo, done) for photo, indexed, done in rows if not indexed)
    while part := list(islice(pending, shard_size)):
        if missing := tuple(photo for photo, done in part if not done):
            yield missing


@dataclass(frozen=True)
class Embedder:
    """A model, and how photos come to it and their vectors are kept.

    Photos are read from `decoded` where it has their prepared pixels, by their SHA-256.
    """

    model: EmbeddingModel
    store: EmbeddingStore
    limits: ImageLimits
    batch_size: int = 32
    decoders: int = 2
    decoded: Mapping[bytes, U8Image] | None = None

    def embed_shard(self, shard: ShardPhotos) -> ShardResult:
        """Embed the photos of one shard; raises what `embed_shards` does."""
        (result,) = self.embed_shards([shard])
        return result

    def embed_shards(
        self, shards: Iterable[ShardPhotos], advance: Advance = ignored
    ) -> Iterator[ShardResult]:
        """Embed shards one after another, and yield each one's result once it is on the disk.

        While the network runs, other threads decode the photos that come next, be they of the next
        shard, and write the shard before.

        Raises:
            WeightsError: the model gives numbers that are not finite.
            OSError: a disk is bad.
        """
        shards, planned = tee(shards)
        prepared = prepare_all(
            chain.from_iterable(planned),
            self.model.prepare,
            self.limits,
            self.decoders,
            2 * self.batch_size,
            self.decoded,
        )
        writing: Future[ShardResult] | None = None
        # Closed here, not by garbage collection, which may deadlock in waiting for threads.
        with closing(prepared), ThreadPoolExecutor(1) as writer:
            for shard in shards:
                encoded = self._encode(islice(prepared, len(shard)), advance)
                if writing is not None:
                    yield writing.result()
                writing = writer.submit(self._keep, *encoded)
            if writing is not None:
                yield writing.result()

    def _encode(
        self, prepared: Iterator[Prepared], advance: Advance
    ) -> tuple[list[bytes], F32Matrix, tuple[UnreadablePhoto, ...]]:
        """Encode photos batch by batch: the SHA-256 and vectors of those that can be read."""
        hashes: list[bytes] = []
        vectors = [np.empty((0, self.model.dim), np.float32)]
        unreadable: list[UnreadablePhoto] = []
        readable = _readable(prepared, unreadable)
        # One array for all batches: for a small network, allocating one for each takes long.
        pixels = np.empty((self.batch_size, *self.model.input_size, 3), np.uint8)
        while batch := list(islice(readable, self.batch_size)):
            for row, (sha256, photo) in enumerate(batch):
                pixels[row] = photo
                hashes.append(sha256)
            vectors.append(self.model.encode(pixels[: len(batch)]))
            advance(len(batch))
        matrix = np.concatenate(vectors)
        if not np.isfinite(matrix).all():
            problem = "its network gives numbers that are not finite"
            raise WeightsError(problem, where=self.model.name, hint="its weights are no good")
        return hashes, matrix, tuple(unreadable)

    def _keep(
        self, hashes: list[bytes], vectors: F32Matrix, unreadable: tuple[UnreadablePhoto, ...]
    ) -> ShardResult:
        if hashes:
            self.store.write(hashes, vectors, self.model.runtime)
        return ShardResult(len(hashes), unreadable)


def _readable(
    prepared: Iterable[Prepared], unreadable: list[UnreadablePhoto]
) -> Iterator[tuple[bytes, U8Image]]:
    """The SHA-256 and pixels of photos that can be read; the others are added to `unreadable`."""
    for photo, pixels in prepared:
        if isinstance(pixels, RejectedImage):
            unreadable.append(UnreadablePhoto(photo, pixels.reason))
        else:
            yield photo.sha256, pixels
