"""Index an engine's vectors: embeddings + catalog → segments/<id>/, builds/<id>/, CURRENT.

A build follows from the one before it, from the items that changed since, and from their vectors.
Photos that are new become a segment; where it is time to, segments are merged. It answers as one
does that is made from nothing. When nothing changed there is nothing to do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.artifacts import digest, publish
from pipeline.catalog.catalog import Catalog
from pipeline.config import IndexSettings
from pipeline.embeddings.arrays import Hashes, Ids
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import NotBuiltError
from pipeline.index import open_segments
from pipeline.index.builds import CHANGES_FILE, SEGMENTS, Build, BuildStore, RowItems
from pipeline.index.calibration import (
    NearestOther,
    calibrate,
    choose_queries,
    read_queries,
    write_calibration,
)
from pipeline.index.merging import Arrangement, arrange
from pipeline.index.parent import Parent, find_parent, note_indexed
from pipeline.index.photo_search import PhotoSearch
from pipeline.index.probing import overall_recall
from pipeline.index.sealing import Sealer, sha256_array
from pipeline.index.update import update_rows
from pipeline.integrity import is_whole
from pipeline.models.store import ModelFolder
from pipeline.progress import SILENT, Progress


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

    The shards go, as the build's segments hold their vectors.

    Raises:
        NotBuiltError: there is no photo with a vector.
        NoRoomError: the disk or the memory is too small.
    """
    generation = catalog.seal_generation()
    shards = vectors.markers()
    description = describe(engine, model, settings)
    parent = find_parent(catalog, builds, vectors, description)
    if parent.build is not None and parent.is_up_to_date:
        build = parent.build
    else:
        with progress.task(f"{engine}: indexing", None, "photos") as advance:
            seal = Sealer(builds.segments, vectors, description, advance, progress.note)
            content = {**description, "generation": generation}
            build = _make(parent, content, model, catalog, vectors, builds, seal)
    builds.use(build.path.name)
    note_indexed(catalog, build, generation)
    vectors.drop_shards(shards)
    return build


def describe(engine: str, model: ModelFolder, settings: IndexSettings) -> dict[str, Any]:
    """Return what a manifest says of an index whatever photos are in it."""
    return {
        "engine": engine,
        "fingerprint": model.fingerprint,
        "model": model.path.name,
        "random_weights": model.has_random_weights,
        "dim": model.dim,
        "index": settings.model_dump(
            mode="json", exclude={"keep_publications", "milvus"}, exclude_none=True
        ),
        "metric": "Euclidean",
    }


def _make(
    parent: Parent,
    description: dict[str, Any],
    model: ModelFolder,
    catalog: Catalog,
    vectors: EmbeddingStore,
    builds: BuildStore,
    seal: Sealer,
) -> Build:
    """Publish the build that follows from a parent, unless it is there."""
    zero_dim = model.dim if model.is_normalized else None
    updated = update_rows(parent.rows, parent.changed, catalog, vectors, zero_dim)
    if not updated.rows.is_live.any():
        raise NotBuiltError(
            f"no photo of {description['engine']} has a vector",
            where=catalog.folder,
            hint="run `imgsearch info` to see the catalog's states, and `imgsearch build`",
        )
    arranged = arrange(parent.segments, updated, seal)
    photos, row_items = arranged.rows.live_hashes, arranged.row_items
    query_rows = choose_queries(photos, model.photos("training"))
    categories = _categories(catalog, row_items, query_rows)
    content = {
        **description,
        "rows": len(photos),
        "items": 1 + int(np.count_nonzero(np.diff(np.sort(row_items.ids[:, 1])))),
        "without_direction": int(arranged.rows.is_shown[arranged.rows.without_direction].sum()),
        "without_vector": updated.without_vector,
        SEGMENTS: [segment.name for segment in arranged.segments],
    }
    promise = content["index"].get("recall")
    if promise and content["index"]["type"] == "pruned":  # others measure it elsewhere
        content["recall"] = overall_recall(arranged.segments, promise).to_dict()
    checksums = [sha256_array(photos[query_rows]), sha256_array(arranged.changes)]
    named = {name: content[name] for name in content.keys() - {"generation"}}
    folder = builds.folder / digest([named, checksums, categories])
    if not is_whole(folder):
        with publish(folder, content) as aside:
            np.save(aside / CHANGES_FILE, arranged.changes, allow_pickle=False)
            queries = _calibrated(parent.build, arranged, photos, query_rows, categories)
            write_calibration(aside, queries)
    return builds.open(folder.name)


def _calibrated(
    before: Build | None,
    arranged: Arrangement,
    photos: Hashes,
    query_rows: Ids,
    categories: list[str],
) -> list[NearestOther]:
    """What some photos find in the segments: only what may have changed is searched for again."""
    known = [] if before is None else read_queries(before)
    index = open_segments(arranged.segments, arranged.rows.is_live, exact=True)
    try:
        search = PhotoSearch(index, arranged.row_items)
        is_changed = arranged.is_changed[arranged.rows.is_live]
        return calibrate(search, photos, query_rows, categories, known, is_changed)
    finally:
        index.close()


def _categories(catalog: Catalog, row_items: RowItems, rows: Ids) -> list[str]:
    """The category of the first item that shows each row's photo."""
    items = [catalog.item(item) for item in row_items.first[rows].tolist()]
    return [item.category if item else "" for item in items]
