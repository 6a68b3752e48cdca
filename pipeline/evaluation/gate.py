"""The gate: what was built → whether it may answer, before it does.

Opening an index compares its files with their checksums. Then some of its photos are searched for,
its size is compared with that of the index that answers now, and so is how well it finds items of
the same category.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.catalog.catalog import Catalog, State
from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.errors import PipelineError
from pipeline.index.base import Ids
from pipeline.index.builds import Build
from pipeline.publish.opening import OpenPublication
from pipeline.publish.publication import Publication, PublishedEngine
from pipeline.publish.publish import Verdict
from pipeline.search.engine_searcher import EngineSearcher

MAX_PHOTOS = 50  # of an index that are searched for
MAX_LOST_SHARE, MIN_LOST = 0.2, 50  # of photos: more, and as many, are not lost by chance

Faults = Iterator[str]


def judge(
    config: Config,
    opened: OpenPublication,
    answering: Publication | None,
    *,
    accept_losses: bool = False,
) -> Verdict:
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
            with EngineSearcher(Engine(name, config), opened) as searcher:
                checks[name] = check = _check(searcher)
                faults += _mismatches(name, check)
        except PipelineError as error:
            faults.append(f"{name}: {error}")
    return Verdict(checks, tuple(faults))


def _losses(name: str, now: PublishedEngine, before: PublishedEngine) -> Faults:
    for unit in ("photos", "items"):
        count, previous = getattr(now, unit), getattr(before, unit)
        if previous - count >= max(MIN_LOST, MAX_LOST_SHARE * previous):
            yield f"{name} has {count:,} {unit}, and had {previous:,}"


def _check(searcher: EngineSearcher) -> dict[str, Any]:
    """Search with some photos' vectors, and look up who shows them."""
    build, index = searcher.build, searcher.index
    rows = sample_rows(len(build.photos))
    vectors = index.vectors(rows)
    nearest = index.search(vectors, 1).rows[:, 0]
    is_found = (index.vectors(nearest) == vectors).all(axis=1)
    is_shown = [_is_shown(searcher.catalog, build, row) for row in rows.tolist()]
    return {"photos": len(rows), "found": int(is_found.sum()), "shown": sum(is_shown)}


def sample_rows(rows: int, limit: int = MAX_PHOTOS) -> Ids:
    """(up to `limit`,): rows of an index, evenly spread, the first and the newest among them."""
    return np.unique(np.linspace(0, rows - 1, min(limit, rows)).astype(np.int64))


def _is_shown(catalog: Catalog, build: Build, row: int) -> bool:
    """Whether all items of a row show its photo, as the ledger has it."""
    photo = build.photos[row].tobytes()
    entries, _ = build.expand_rows(np.array([row]))
    shown = [
        {image.sha256 for image in catalog.images(item) if image.state is State.AVAILABLE}
        for item in build.ids[entries, 1].tolist()
    ]
    return bool(shown) and all(photo in photos for photos in shown)


def _mismatches(name: str, check: Mapping[str, Any]) -> Faults:
    photos = check["photos"]
    if lost := photos - check["found"]:
        yield f"{name}: {lost} of {photos} photos do not find themselves first"
    if lost := photos - check["shown"]:
        yield f"{name}: {lost} of {photos} photos are not those of their items in the catalog"
