"""Embed a catalog: photos → embeddings/<fingerprint>/.

The shard is the unit of work, of retry and of resume: a rerun embeds only the photos that have no
vector yet. Photos are decoded on other threads while the network runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pipeline.catalog.catalog import Catalog
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

    Raises:
        WeightsError: the model gives numbers that are not finite.
    """
    done = store.photos()
    total = catalog.photo_count()
    already = sum(photo.sha256 in done for photo in catalog.photos()) if done else 0
    embedded = 0
    with progress.task(f"{model.name}: embedding", total - already, "photos") as advance:
        # Again, while photos fail: another file of the same content may be readable.
        while True:
            missing = (photo for photo in catalog.photos() if photo.sha256 not in done)
            prepared = prepare_all(
                missing,
                model.prepare,
                limits,
                decoders,
                ahead=2 * min(batch_size, shard_size),
                ready=decoded,
            )
            failures = _Failures(catalog)
            good = failures.leave_out(prepared)
            with _ShardWriter(store) as writer:
                while shard := _encode_shard(model, islice(good, shard_size), batch_size, advance):
                    writer.write(*shard)
                    done.update(shard[0])
                    embedded += len(shard[0])
            if not failures.count:
                break
    return EmbedReport(already, embedded, failed=total - already - embedded)


class _ShardWriter:
    """Writes a shard while the next one is encoded: waiting for the disk costs nothing."""

    def __init__(self, store: EmbeddingStore) -> None:
        self.store = store
        self.thread = ThreadPoolExecutor(1)
        self.last: Future[Shard] | None = None

    def write(self, photos: list[bytes], vectors: F32Matrix) -> None:
        """Wait for the shard before this one, and begin to write this one."""
        self.wait()
        self.last = self.thread.submit(self.store.write, photos, vectors)

    def wait(self) -> None:
        """Wait until all is on the disk.

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


class _Failures:
    """Notes in the ledger the photos that cannot be read, and leaves them out.

    A shard is full of vectors, so it is the same whether its failures were noted now or before.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.count = 0

    def leave_out(self, prepared: Iterable[Prepared]) -> Iterator[tuple[bytes, U8Image]]:
        for photo, pixels in prepared:
            if isinstance(pixels, RejectedImage):
                self.catalog.fail_photo(photo, pixels.reason)
                self.count += 1
            else:
                yield photo.sha256, pixels


def _encode_shard(
    model: EmbeddingModel,
    photos: Iterator[tuple[bytes, U8Image]],
    batch_size: int,
    advance: Advance,
) -> tuple[list[bytes], F32Matrix] | None:
    """Encode all of `photos`, batch by batch; None if there are none."""
    hashes: list[bytes] = []
    vectors: list[F32Matrix] = []
    # One place for all batches: with a small network, laying each out anew would take its time.
    pixels = np.empty((batch_size, *model.input_size, 3), np.uint8)
    while batch := list(islice(photos, batch_size)):
        for place, (sha256, photo) in enumerate(batch):
            pixels[place] = photo
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
