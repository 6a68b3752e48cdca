"""Embed a catalog: photos → embeddings/<fingerprint>/.

The shard is the unit of work, of retry and of resume: a rerun embeds only the photos that have no
vector yet. This plans the shards, a runner has them embedded, here or on other machines, and the
ledger is written here only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain

from pipeline.catalog.catalog import Catalog
from pipeline.embeddings.arrays import to_hashes
from pipeline.embeddings.runners.base import OpenEmbedder, Runner
from pipeline.embeddings.runners.local import LocalRunner
from pipeline.embeddings.shards import ShardPhotos, UnreadablePhoto, plan_shards
from pipeline.embeddings.store import EmbeddingStore
from pipeline.progress import SILENT, Progress


@dataclass(frozen=True)
class EmbedReport:
    """What one run did; its three numbers add up to the catalog's distinct photos."""

    already: int
    embedded: int
    failed: int


def embed(
    name: str,
    open_embedder: OpenEmbedder,
    catalog: Catalog,
    store: EmbeddingStore,
    runner: Runner | None = None,
    *,
    shard_size: int = 1024,
    items: Collection[int] | None = None,
    progress: Progress = SILENT,
) -> EmbedReport:
    """Give every available photo of the catalog its vector by the engine of this name.

    With `items`, the photos of all others are known to have theirs. A photo that cannot be read any
    more is marked `failed` in the ledger and counted. Without a `runner`, all is done here.

        report = embed("vgg16", open_embedder, catalog, store, shard_size=1024)

    Raises:
        WeightsError: the model gives numbers that are not finite.
        RunnerError: the machines of the runner cannot do it.
    """
    runner = runner or LocalRunner()
    total, embedded = catalog.photo_count(), 0
    already = total - count_missing(catalog, store, items)
    with progress.task(f"{name}: embedding", total - already, "photos") as advance:
        # Once more where photos failed: another file of the same content may be readable.
        while shards := _plan(catalog, store, items, shard_size):
            unreadable: list[UnreadablePhoto] = []
            with closing(runner.embed(open_embedder, shards, advance)) as results:
                for result in results:
                    embedded += result.embedded
                    unreadable += result.unreadable
            if not unreadable:
                break
            # Together, as the shards are cut by which photos are available.
            catalog.fail_photos((one.photo, one.reason) for one in unreadable)
    return EmbedReport(already, embedded, failed=total - already - embedded)


def count_missing(catalog: Catalog, store: EmbeddingStore, items: Collection[int] | None) -> int:
    """Return how many distinct photos, of these items or of all, have no vector."""
    photos = to_hashes(b"".join(photo.sha256 for photo in catalog.photos(items)))
    return int((~store.present(photos)).sum())


def _plan(
    catalog: Catalog, store: EmbeddingStore, items: Collection[int] | None, shard_size: int
) -> Iterator[ShardPhotos] | None:
    """Plan the shards of the photos that have no vector; None if all have one."""
    photos = to_hashes(b"".join(photo.sha256 for photo in catalog.photos(items)))
    shards = plan_shards(
        catalog.photos(items), store.indexed(photos), store.present(photos), shard_size
    )
    first = next(shards, None)
    return None if first is None else chain([first], shards)
