"""Embed a catalog: photos → embeddings/<fingerprint>/.

The shard is the unit of work, of retry and of resume: a rerun embeds only the photos that have no
vector yet. While the network runs, other threads decode photos and write the shard before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pipeline.catalog.catalog import Catalog, Photo
from pipeline.catalog.photos import Prepared, prepare_all
from pipeline.embeddings.arrays import to_hashes
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
    items: Collection[int] | None = None,
    progress: Progress = SILENT,
) -> EmbedReport:
    """Give every available photo of the catalog its vector.

    With `items`, the photos of all others are known to have theirs. Photos are read from `decoded`
    where it has their prepared pixels, by their SHA-256. A photo that cannot be read any more is
    marked `failed` in the ledger and counted.

        report = embed(model, catalog, store, ImageLimits(), batch_size=32)

    Raises:
        WeightsError: the model gives numbers that are not finite.
    """
    total = catalog.photo_count()
    photos = [photo.sha256 for photo in catalog.photos(items)]
    is_done = store.present(to_hashes(b"".join(photos)))
    done = {photo for photo, has_vector in zip(photos, is_done, strict=True) if has_vector}
    already = total - len(photos) + len(done)
    embedded = 0
    ahead = 2 * min(batch_size, shard_size)
    with progress.task(f"{model.name}: embedding", total - already, "photos") as advance:
        # Once more where photos failed: another file of the same content may be readable.
        while any(_missing(catalog, items, done)):
            missing = _missing(catalog, items, done)
            prepared = prepare_all(missing, model.prepare, limits, decoders, ahead, decoded)
            readable = _readable(catalog, prepared)
            writing: Future[Shard] | None = None
            # Closed here, not by garbage collection, which may deadlock in waiting for threads.
            with closing(prepared), ThreadPoolExecutor(1) as writer:
                while shard := _encode(model, islice(readable, shard_size), batch_size, advance):
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(store.write, *shard, model.runtime)
                    done.update(shard[0])
                    embedded += len(shard[0])
                if writing is not None:
                    writing.result()
    return EmbedReport(already, embedded, failed=total - already - embedded)


def _missing(catalog: Catalog, items: Collection[int] | None, done: set[bytes]) -> Iterator[Photo]:
    return (photo for photo in catalog.photos(items) if photo.sha256 not in done)


def _readable(catalog: Catalog, prepared: Iterable[Prepared]) -> Iterator[tuple[bytes, U8Image]]:
    """The SHA-256 and pixels of photos that can be read; the others are marked in the ledger.

    Only these fill a shard, so it is the same whether photos failed in this run or in one before.
    """
    for photo, pixels in prepared:
        if isinstance(pixels, RejectedImage):
            catalog.fail_photo(photo, pixels.reason)
        else:
            yield photo.sha256, pixels


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
        problem = "its network gives numbers that are not finite"
        raise WeightsError(problem, where=model.name, hint="its weights are no good")
    return hashes, matrix
