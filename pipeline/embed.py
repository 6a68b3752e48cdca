"""Embed a catalogue: photos → embeddings/<fingerprint>/.

The shard is the unit of work, of retry and of resume: a rerun embeds only the photos that have no
vector yet. Photos are decoded on other threads while the network runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, U8Image
from pipeline.models.base import EmbeddingModel, F32Matrix
from pipeline.progress import SILENT, Advance, Progress
from pipeline.store.catalogue import Catalogue, Photo
from pipeline.store.embeddings import EmbeddingStore
from pipeline.store.photos import Prepared, prepare_all


@dataclass(frozen=True)
class EmbedReport:
    """What one run did; its three numbers add up to the catalogue's distinct photos."""

    already: int
    embedded: int
    failed: int


def embed(
    model: EmbeddingModel,
    catalogue: Catalogue,
    store: EmbeddingStore,
    limits: ImageLimits,
    *,
    batch_size: int = 32,
    shard_size: int = 1024,
    decoders: int = 2,
    decoded: Mapping[bytes, U8Image] | None = None,
    progress: Progress = SILENT,
) -> EmbedReport:
    """Give every available photo of the catalogue its vector.

    Photos are read from `decoded` where it has their prepared pixels, by their SHA-256. A photo
    that cannot be read any more is marked `failed` in the ledger and counted.
    """
    done = store.photos()
    total = catalogue.photo_count()
    todo = sum(photo.sha256 not in done for photo in catalogue.photos())
    missing = (photo for photo in catalogue.photos() if photo.sha256 not in done)
    embedded = failed = 0
    with progress.task(f"{model.name}: embedding", todo, "photos") as advance:
        prepared = prepare_all(
            missing, model.prepare, limits, decoders, ahead=2 * batch_size, known=decoded
        )
        while shard := _encode_shard(model, prepared, batch_size, shard_size, advance):
            if shard.photos:
                store.write(shard.photos, shard.vectors)
            for photo, rejected in shard.failed:
                catalogue.fail_photo(photo.sha256, rejected.reason)
            embedded += len(shard.photos)
            failed += len(shard.failed)
    return EmbedReport(already=total - embedded - failed, embedded=embedded, failed=failed)


@dataclass(frozen=True)
class _Shard:
    photos: list[bytes]
    vectors: F32Matrix
    failed: list[tuple[Photo, RejectedImage]]


def _encode_shard(
    model: EmbeddingModel,
    prepared: Iterator[Prepared],
    batch_size: int,
    shard_size: int,
    advance: Advance,
) -> _Shard | None:
    """Encode the next `shard_size` photos, or None when there are no more."""
    photos: list[bytes] = []
    failed: list[tuple[Photo, RejectedImage]] = []
    vectors = np.empty((shard_size, model.dim), np.float32)
    taken = 0
    for batch in _batches(islice(prepared, shard_size), batch_size):
        taken += len(batch)
        failed += [(photo, why) for photo, why in batch if isinstance(why, RejectedImage)]
        good = [(photo.sha256, px) for photo, px in batch if not isinstance(px, RejectedImage)]
        if good:
            pixels: list[U8Image] = [px for _, px in good]
            vectors[len(photos) : len(photos) + len(good)] = model.encode(np.stack(pixels))
            photos += [sha256 for sha256, _ in good]
        advance(len(batch))
    return _Shard(photos, vectors[: len(photos)], failed) if taken else None


def _batches(prepared: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    prepared = iter(prepared)
    while batch := list(islice(prepared, size)):
        yield batch
