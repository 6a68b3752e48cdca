"""The gate: what was built → whether it may answer, before it does.

Opening an index compares its files with their checksums. Then some of its photos are searched for,
its size is compared with that of the index that answers now, and so is how well it finds items of
the same category.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from pipeline.catalog.catalog import Catalog, State
from pipeline.catalog.removal_guard import MAX_SHARE, MIN_ITEMS
from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.errors import DamagedArtifactError, PipelineError
from pipeline.evaluation.metrics import RankedLists, precision
from pipeline.index.base import Ids, Mask
from pipeline.index.builds import SEGMENTS, Build
from pipeline.index.recall import wilson
from pipeline.publish.opening import OpenPublication
from pipeline.publish.publication import Publication, PublishedEngine
from pipeline.publish.publish import GateVerdict
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.query import Item
from pipeline.search.result import EngineResult

MAX_PHOTOS = 50  # of an index that are searched for
K = 10  # neighbors of each query of P@k
MAX_QUERIES, MIN_QUERIES = 200, 30  # of P@k; with fewer it says too little
MEASURED_SHARE = 0.01  # of the photos: when so many items have changed, P@k is measured again

Faults = Iterator[str]


def judge(
    config: Config,
    opened: OpenPublication,
    answering: Publication | None,
    *,
    accept_losses: bool = False,
) -> GateVerdict:
    """Say whether a publication may answer in the place of the one that does now.

    With `accept_losses` it may have far fewer photos: they were removed on purpose.

        publish(workspace, partial(judge, config)).publication.checks
    """
    checks: dict[str, Any] = {}
    faults: list[str] = []
    for name, published in opened.publication.engines.items():
        before = answering.engines.get(name) if answering else None
        if before and not accept_losses:
            faults += _losses(name, published, before)
        try:
            with EngineSearcher(Engine(name, config), opened, exact=True) as searcher:
                check = _check(searcher, before)
                checks[name] = check | {"precision": _precision(searcher, answering)}
        except PipelineError as error:
            faults.append(f"{name}: {error}")
        else:
            faults += _mismatches(name, check)
            faults += _fall(name, checks[name]["precision"], _measured(name, answering))
    return GateVerdict(checks, tuple(faults))


def _losses(name: str, now: PublishedEngine, before: PublishedEngine) -> Faults:
    for unit in ("photos", "items"):
        count, previous = getattr(now, unit), getattr(before, unit)
        if previous - count >= MIN_ITEMS and previous - count > MAX_SHARE * previous:
            yield f"{name} has {count:,} {unit}, and had {previous:,}"


def _check(searcher: EngineSearcher, before: PublishedEngine | None) -> dict[str, int]:
    """Search with some photos, by their vectors, and look up who shows them.

    Where the model is new, they are read and encoded too.
    """
    build, index = searcher.build, searcher.index
    rows = sample_rows(len(build.photos))
    vectors = index.vectors(rows)
    nearest = index.search(vectors, 1, _rows_to_compare(searcher, before, rows)).rows[:, 0]
    is_found = (index.vectors(nearest) == vectors).all(axis=1)
    if before is None or before.model != searcher.model_folder.path.name:
        is_found &= _is_found_by_photo(searcher, rows)
    is_shown = [_is_shown(searcher.catalog, build, row) for row in rows.tolist()]
    return {"photos": len(rows), "found": int(is_found.sum()), "shown": sum(is_shown)}


def _rows_to_compare(
    searcher: EngineSearcher, before: PublishedEngine | None, rows: Ids
) -> Ids | None:
    """The sample itself, and the rows of segments that do not answer yet; None: all rows.

    The others were compared when they were published, and reading them again is what takes long.
    """
    build = searcher.build
    answering = _segments(searcher.engine, before)
    is_new = [np.full(one.rows, one.name not in answering) for one in build.segments]
    new = np.flatnonzero(np.concatenate(is_new)[build.segment_rows.is_live])
    return None if len(new) == len(build.photos) else np.union1d(rows, new)


def _segments(engine: Engine, published: PublishedEngine | None) -> set[str]:
    """The names of the segments of an index; none where there is none that can be read."""
    try:
        return set(engine.builds.open(published.build).manifest[SEGMENTS]) if published else set()
    except DamagedArtifactError:
        return set()


def _is_found_by_photo(searcher: EngineSearcher, rows: Ids) -> Mask:
    """(rows,): whether the photo of each row finds an item of its own at no distance.

    A photo that can no longer be read counts as found.
    """
    first = [int(items[0]) for items in _items_of(searcher.build, rows)]
    photos = [
        read_indexed_photo(searcher, row, item) for row, item in zip(rows, first, strict=True)
    ]
    results = searcher.search_all((photo for photo in photos if photo), K, collapse=False)
    return np.array(
        [
            not photo or _is_at_no_distance(next(results), item)
            for photo, item in zip(photos, first, strict=True)
        ],
        bool,
    )


def read_indexed_photo(searcher: EngineSearcher, row: int, item: int) -> bytes | None:
    """The file of a row's photo; None if it cannot be read, or has changed."""
    sha256 = searcher.build.photos[row].tobytes()
    path = searcher.catalog.photo_path(sha256, item)
    try:
        data = path.read_bytes() if path else b""
    except OSError:
        return None
    return data if hashlib.sha256(data).digest() == sha256 else None


def _is_at_no_distance(result: EngineResult | PipelineError, item: int) -> bool:
    """Whether a query found an item at no distance, or as many others at none."""
    if isinstance(result, PipelineError):
        return False
    found = [hit.item.id for hit in result.hits if hit.distance == 0]
    return item in found or len(found) == K


def sample_rows(rows: int, limit: int = MAX_PHOTOS) -> Ids:
    """(up to `limit`,): rows of an index, evenly spread, the first and the newest among them."""
    return np.unique(np.linspace(0, rows - 1, min(limit, rows)).astype(np.int64))


def _items_of(build: Build, rows: Ids) -> list[Ids]:
    """The items that show the photo of each row."""
    entries, counts = build.expand_rows(rows)
    return np.split(build.ids[entries, 1], np.cumsum(counts)[:-1])


def _is_shown(catalog: Catalog, build: Build, row: int) -> bool:
    """Whether all items of a row show its photo, as the ledger has it."""
    photo = build.photos[row].tobytes()
    (items,) = _items_of(build, np.array([row]))
    shown = [
        {image.sha256 for image in catalog.images(item) if image.state is State.AVAILABLE}
        for item in items.tolist()
    ]
    return bool(shown) and all(photo in photos for photos in shown)


def _mismatches(name: str, check: Mapping[str, Any]) -> Faults:
    photos = check["photos"]
    if lost := photos - check["found"]:
        yield f"{name}: {lost} of {photos} photos do not find themselves first"
    if lost := photos - check["shown"]:
        yield f"{name}: {lost} of {photos} photos are not those of their items in the catalog"


# --- How well items of the same category are found ------------------------------------------------


def _precision(searcher: EngineSearcher, answering: Publication | None) -> dict[str, Any] | None:
    """P@k of a fixed sample of items, by category; None if too few have one.

    What the last publication measured stands while the model is the same and few items have
    changed, which `unmeasured` counts.
    """
    publication = searcher.publication
    before = _measured(searcher.name, answering)
    if before and answering:
        changed = before["unmeasured"] + sum((publication.changes or {}).values())
        models = [one.engines[searcher.name].model for one in (answering, publication)]
        if models[0] == models[1] and changed < MEASURED_SHARE * len(searcher.build.photos):
            return {**before, "unmeasured": changed}
    categories = _sample(searcher)
    if len(categories) < MIN_QUERIES:
        return None
    relevant, sizes = np.zeros((len(categories), K), bool), np.zeros(len(categories), np.int64)
    results = searcher.search_all(map(Item, categories), K, collapse=False)
    for i, (result, category) in enumerate(zip(results, categories.values(), strict=True)):
        if isinstance(result, PipelineError):
            raise result
        sizes[i] = len(result.hits)
        relevant[i, : sizes[i]] = [hit.item.category == category for hit in result.hits]
    mean = float(precision(RankedLists(relevant, np.maximum(sizes, 1)), K).mean())
    low, _ = wilson(mean, len(categories))
    return {"k": K, "queries": len(categories), "mean": mean, "low": low, "unmeasured": 0}


def _sample(searcher: EngineSearcher) -> dict[int, str]:
    """Item → category, of items whose photos have the lowest hashes: nearly always the same."""
    hashes = searcher.build.photos[:, :8].copy().view(">u8").ravel()
    rows = np.argsort(hashes, kind="stable")[: 2 * MAX_QUERIES]
    items = dict.fromkeys(int(shown[0]) for shown in _items_of(searcher.build, rows))
    records = filter(None, map(searcher.catalog.item, items))
    labeled = ((record.id, record.category) for record in records if record.category)
    return dict(islice(labeled, MAX_QUERIES))


def _measured(name: str, answering: Publication | None) -> dict[str, Any] | None:
    """What the last publication says of an engine's P@k."""
    measured: dict[str, Any] | None = None
    if answering and name in answering.engines:
        measured = answering.checks.get(name, {}).get("precision")
    return measured


def _fall(name: str, now: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> Faults:
    if now and before and now["mean"] < before["low"]:
        yield (
            f"{name}: P@{K} by category is {now['mean']:.3f}, and was {before['mean']:.3f}"
            f" (at least {before['low']:.3f})"
        )
