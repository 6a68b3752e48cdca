"""Index an engine's vectors: embeddings + catalog → builds/<id>/, CURRENT.

A build is a pure function of the vectors and of who shows which photo now, and is named by them:
when nothing changed there is nothing to do, and adding or removing items publishes the next build.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import digest, publish, read_manifest, remove
from pipeline.catalog.catalog import Catalog
from pipeline.config import IndexSettings
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import DamagedArtifactError, NotBuiltError
from pipeline.index import open_index, write_index
from pipeline.index.base import F32Matrix, Ids
from pipeline.index.builds import IDS_FILE, PHOTOS_FILE, Build, BuildStore, RowItems
from pipeline.index.calibration import calibrate, choose_queries
from pipeline.integrity import check_published
from pipeline.models.store import ModelFolder
from pipeline.progress import SILENT, Advance, Progress


@dataclass(frozen=True)
class Snapshot:
    """What an index has to hold: distinct photos in their order, and the items that show them."""

    rows: dict[bytes, int]
    """SHA-256 of a photo → its row."""
    ids: Ids
    """(m, 2): (row, item id), sorted."""

    @property
    def photos(self) -> npt.NDArray[np.uint8]:
        """(rows, 32) uint8: SHA-256 of each row's photo."""
        return np.frombuffer(b"".join(self.rows), np.uint8).reshape(-1, 32)


def build_index(
    engine: str,
    model: ModelFolder,
    catalog: Catalog,
    vectors: EmbeddingStore,
    builds: BuildStore,
    settings: IndexSettings,
    progress: Progress = SILENT,
) -> Build:
    """Write the index of every available photo that has a vector, as the one that was made last.

    Left out, and counted in the manifest, are photos without a direction: an engine that
    normalizes gives zeros for a blank picture, and zeros are equally near to all other vectors.

    Raises:
        NotBuiltError: there is no photo with a vector.
    """
    left_out = vectors.without_direction(model.dim) if model.is_normalized else set[bytes]()
    now = snapshot(catalog, vectors, left_out)
    if not now.rows:
        raise NotBuiltError(
            f"no photo of {engine} has a vector",
            where=catalog.folder,
            hint="run `imgsearch info` to see the catalog's states, and `imgsearch build`",
        )
    photos = now.photos
    content = {
        **_describe(engine, model, settings),
        "rows": len(photos),
        "items": len(np.unique(now.ids[:, 1])),
        "without_direction": sum(photo.sha256 in left_out for photo in catalog.photos()),
    }
    contents = [hashlib.sha256(array.tobytes()).hexdigest() for array in (photos, now.ids)]
    contents.append(vectors.checksum(now.rows))
    query_rows = choose_queries(photos, model.photos("training"))
    categories = [_category(catalog, now, row) for row in query_rows]
    folder = builds.folder / digest([content, contents, categories])
    if not _is_whole(folder):
        with (
            progress.task(f"{engine}: indexing", len(photos), "photos") as advance,
            publish(folder, content) as aside,
        ):
            np.save(aside / PHOTOS_FILE, photos, allow_pickle=False)
            np.save(aside / IDS_FILE, now.ids, allow_pickle=False)
            parts = _select(vectors, now.rows, advance)
            write_index(settings.type, aside, len(photos), model.dim, parts)
            written = open_index(settings.type, aside)
            items = RowItems(len(photos), now.ids)
            calibrate(written, items, query_rows, categories).write(aside)
    builds.use(folder.name)
    return Build(folder, read_manifest(folder))


def _describe(engine: str, model: ModelFolder, settings: IndexSettings) -> dict[str, Any]:
    """What a manifest says of an index whatever photos are in it."""
    return {
        "engine": engine,
        "fingerprint": model.fingerprint,
        "model": model.path.name,
        "random_weights": model.has_random_weights,
        "dim": model.dim,
        "index": settings.model_dump(mode="json", exclude={"keep_publications"}),
        "metric": "Euclidean",
    }


def snapshot(
    catalog: Catalog, vectors: EmbeddingStore, left_out: Collection[bytes] = ()
) -> Snapshot:
    """Number the distinct photos that have vectors, in the order of the ledger."""
    embedded = vectors.photos().difference(left_out)
    rows: dict[bytes, int] = {}
    pairs = {
        (rows.setdefault(photo, len(rows)), item)
        for photo, item in catalog.photo_item_pairs()
        if photo in embedded
    }
    return Snapshot(rows, np.array(sorted(pairs), np.int64).reshape(-1, 2))


def _category(catalog: Catalog, now: Snapshot, row: int) -> str:
    """The category of the first item that shows a row's photo."""
    item = catalog.item(int(now.ids[np.searchsorted(now.ids[:, 0], row), 1]))
    return item.category if item else ""


def _select(
    store: EmbeddingStore, rows: dict[bytes, int], advance: Advance
) -> Iterator[tuple[Ids, F32Matrix]]:
    """For each shard, the rows it fills and their vectors."""
    for _, selected, vectors in store.select(rows):
        yield selected, vectors
        advance(len(selected))


def _is_whole(folder: Path) -> bool:
    """Whether the build exists; a damaged one is removed, to be made again."""
    if not os.path.lexists(folder):
        return False
    try:
        manifest = read_manifest(folder)
        for name in manifest["files"]:
            check_published(folder, manifest, name)
    except DamagedArtifactError:
        remove(folder)
        return False
    return True
