"""Embed a catalog by another engine's vectors: no photo is opened."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from pipeline.catalog.catalog import Catalog
from pipeline.embeddings.arrays import F32Matrix, Hashes, to_hashes
from pipeline.embeddings.embed import EmbedReport
from pipeline.embeddings.store import EmbeddingStore
from pipeline.models.projection import Projection
from pipeline.progress import SILENT, Progress

RUNTIME = f"numpy {np.__version__}"


def embed_projected(
    name: str,
    projection: Projection,
    catalog: Catalog,
    source: EmbeddingStore,
    store: EmbeddingStore,
    *,
    shard_size: int = 1024,
    items: Collection[int] | None = None,
    progress: Progress = SILENT,
) -> EmbedReport:
    """Project the source's vector of every available photo; those that have one here keep it.

    With `items`, the photos of all others are known to have theirs. A photo that has no vector in
    the source is counted as failed. Memory holds a shard, and a shard or a part of a segment of the
    source.

        embed_projected("small", projection, catalog, vgg16.embeddings(fingerprint), store)

    Raises:
        DamagedArtifactError: a vector of the source is not what was written.
    """
    total = catalog.photo_count()
    photos = to_hashes(b"".join(photo.sha256 for photo in catalog.photos(items)))
    missing = photos[~store.present(photos)]
    already = total - len(missing)
    embedded = 0
    with progress.task(f"{name}: projecting", len(missing), "vectors") as advance:
        for hashes, vectors in _shards(source, missing, shard_size):
            rows = [row.tobytes() for row in hashes]
            store.write(rows, projection.project(vectors), RUNTIME)
            embedded += len(rows)
            advance(len(rows))
    return EmbedReport(already, embedded, failed=total - already - embedded)


def _shards(
    source: EmbeddingStore, photos: Hashes, size: int
) -> Iterator[tuple[Hashes, F32Matrix]]:
    """Read the vectors of photos, `size` at a time."""
    hashes: list[Hashes] = []
    vectors: list[F32Matrix] = []
    waiting = 0
    for positions, block in source.select(photos):
        hashes.append(photos[positions])
        vectors.append(block)
        waiting += len(block)
        while waiting >= size:
            joined, matrix = np.concatenate(hashes), np.concatenate(vectors)
            yield joined[:size], matrix[:size]
            hashes, vectors, waiting = [joined[size:]], [matrix[size:]], waiting - size
    if waiting:
        yield np.concatenate(hashes), np.concatenate(vectors)
