"""Embed a catalog: photos → embeddings/<fingerprint>/.

The shard is the unit of work, of retry and of resume: a rerun embeds only the photos that have no
vector yet. Photos are decoded on other threads while the network runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pipeline.catalog.catalog import Catalog, Photo
from pipeline.catalog.photos import Prepared, prepare_all
from pipeline.embeddings.store import EmbeddingStore, Shard
from pipeline.errors import RejectedImage, WeightsError
from pipeline.images import ImageLimits, U8Image
from pipeline.models.base import EmbeddingModel, F32Matrix
from pipeline.progress import SILENT, Advance, Progress


@dataclass(frozen=True)
class EmbedReport:
    """What one run did; its three numbers add up to the catalog's distinct photos."""

    already: int
    embedded: int
    failed: int


def embed(
    model: EmbeddingModel,
    catalog: Catalog,
    store: EmbeddingStore,
    limits: ImageLimits,
    *,
    batch_size: int = 32,
    shard_size: int = 1024,
    decoders: int = 2,
    decoded: Mapping[bytes, U8Image] | None = None,
    progress: Progress = SILENT,
) -> EmbedReport:
    """Give every available photo of the catalog its vector.

    Photos are read from `decoded` where it has their prepared pixels, by their SHA-256. A photo
    that cannot be read any more is marked `failed` in the ledger and counted.

        report = embed(model, catalog, store, ImageLimits(), batch_size=32)

    Raises:
        WeightsError: the model gives numbers that are not finite.
    """
    done = store.photos()
    total = catalog.photo_count()
    already = sum(photo.sha256 in done for photo in catalog.photos()) if done else 0
    embedded = 0
    ahead = 2 * min(batch_size, shard_size)
    with progress.task(f"{model.name}: embedding", total - already, "photos") as advance:
        # Once more where photos failed: another file of the same content may be readable.
        while any(_missing(catalog, done)):
            photos = _missing(catalog, done)
            prepared = prepare_all(photos, model.prepare, limits, decoders, ahead, decoded)
            # Closed here, not by garbage collection, which may deadlock in waiting for threads.
            with closing(prepared), _ShardWriter(store) as writer:
                readable = _readable(catalog, prepared)
                while shard := _encode(model, islice(readable, shard_size), batch_size, advance):
                    writer.write(*shard)
                    done.update(shard[0])
                    embedded += len(shard[0])
    return EmbedReport(already, embedded, failed=total - already - embedded)


def _missing(catalog: Catalog, done: set[bytes]) -> Iterator[Photo]:
    """The available photos that have no vector yet."""
    return (photo for photo in catalog.photos() if photo.sha256 not in done)


def _readable(catalog: Catalog, prepared: Iterable[Prepared]) -> Iterator[tuple[bytes, U8Image]]:
    """The SHA-256 and pixels of photos that can be read; the others are marked in the ledger.

    Only these fill a shard, so it is the same whether photos failed in this run or in one before.
    """
    for photo, pixels in prepared:
        if isinstance(pixels, RejectedImage):
            catalog.fail_photo(photo, pixels.reason)
        else:
            yield photo.sha256, pixels


class _ShardWriter:
    """Writes a shard on another thread, while the next one is encoded."""

    def __init__(self, store: EmbeddingStore) -> None:
        self.store = store
        self.thread = ThreadPoolExecutor(1)
        self.last: Future[Shard] | None = None

    def write(self, photos: list[bytes], vectors: F32Matrix) -> None:
        """Wait for the previous shard, and begin to write this one."""
        self.wait()
        self.last = self.thread.submit(self.store.write, photos, vectors)

    def wait(self) -> None:
        """Wait until the last shard is on the disk.

        Raises:
            OSError: it could not be written.
        """
        if self.last is not None:
            self.last.result()

    def __enter__(self) -> _ShardWriter:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.thread.shutdown(wait=True)
        if error is None:
            self.wait()


def _encode(
    model: EmbeddingModel,
    photos: Iterator[tuple[bytes, U8Image]],
    batch_size: int,
    advance: Advance,
) -> tuple[list[bytes], F32Matrix] | None:
    """Encode all of `photos`, batch by batch; None if there are none."""
    hashes: list[bytes] = []
    vectors: list[F32Matrix] = []
    # One array for all batches: for a small network, allocating one for each takes long.
    pixels = np.empty((batch_size, *model.input_size, 3), np.uint8)
    while batch := list(islice(photos, batch_size)):
        for row, (sha256, photo) in enumerate(batch):
            pixels[row] = photo
            hashes.append(sha256)
        vectors.append(model.encode(pixels[: len(batch)]))
        advance(len(batch))
    if not hashes:
        return None
    matrix = np.concatenate(vectors)
    if not np.isfinite(matrix).all():
        raise WeightsError(
            f"{model.name}: its network gives numbers that are not finite; its weights are no good"
        )
    return hashes, matrix
