"""Verify what an engine has made: models, vectors and indexes, and that they agree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.artifacts import damaged, open_file, read_sealed
from pipeline.catalog.pixel_files import PixelFile
from pipeline.compared import CHECKED
from pipeline.embeddings.segment import SegmentStore
from pipeline.embeddings.store import EmbeddingStore, read_shard
from pipeline.engine import Engine
from pipeline.errors import DamagedArtifactError
from pipeline.index import open_build
from pipeline.index.builds import SEGMENTS, Build
from pipeline.integrity import CHANGED, damaged_files, read_current
from pipeline.maintenance import photo_items
from pipeline.maintenance.photo_items import PhotoItems
from pipeline.maintenance.problems import Problem, Remedy, Verdict, problem_of, trying, trying_all
from pipeline.models.store import FOR_PEOPLE
from pipeline.progress import Progress

Problems = Iterator[Problem]


def engine_problems(
    engine: Engine, shown: PhotoItems, verdict: Verdict, progress: Progress
) -> Problems:
    """Yield the problems of all that an engine has made, and count in `verdict` what was checked.

    `shown` is which item of the catalog shows which photo, as the index should.

        shown = photo_items.of_catalog(catalog.photo_item_pairs())
        list(engine_problems(engine, shown, Verdict(), SILENT))
    """
    yield from _models(engine, verdict)
    yield from _vectors(engine, verdict, progress)
    try:
        build = engine.builds.current()
    except (DamagedArtifactError, OSError) as error:
        yield problem_of(error, engine.builds.current_file)
        build = None
    else:
        if build is None:
            yield Problem(engine.folder, "no index here yet")
    for path in engine.builds.all():
        verdict.builds += 1
        yield from _published(path)
        missing = [*_missing_segments(engine, path, build)]
        yield from missing
        if build is not None and path == build.path and missing:
            build = None  # nothing more can be said of it
    if build is not None:
        yield from trying_all(lambda: _disagreements(engine, build, shown), build.path)


def _vectors(engine: Engine, verdict: Verdict, progress: Progress) -> Problems:
    """Shards and segments."""
    with progress.task(f"{engine.name}: verifying vectors", None, "files") as advance:
        for folder in engine.embedding_folders:
            for marker in EmbeddingStore(folder).markers():
                verdict.shards += 1
                yield from trying(lambda path: read_shard(path).vectors(), marker)
                advance(1)
        for path in engine.builds.segments.paths():
            verdict.segments += 1
            damages = [*_published(path)] or [*trying(_check_rows, path)]
            for problem in damages:
                is_damaged = problem.remedy is Remedy.DELETE and problem.target == path
                yield replace(problem, remedy=Remedy.SALVAGE) if is_damaged else problem
            advance(1)


def _check_rows(folder: Path) -> None:
    """Compare each vector of a segment with its checksum."""
    segment = SegmentStore(folder.parent).open(folder.name)
    for _ in segment.blocks(np.arange(segment.rows)):
        pass


def _missing_segments(engine: Engine, path: Path, current: Build | None) -> Problems:
    try:
        names = engine.builds.open(path.name).manifest[SEGMENTS]
    except (DamagedArtifactError, OSError):
        return  # this is told already
    is_current = current is not None and path == current.path
    for name in names:
        if not os.path.lexists(engine.builds.segments.folder / name):
            remedy = Remedy.BUILD if is_current else Remedy.DELETE
            yield Problem(path, f"its segment {name} is missing", remedy)


def _models(engine: Engine, verdict: Verdict) -> Problems:
    """Models, finished or in training, which of them is in use, and decoded photos."""
    folder, current = engine.models.folder, engine.models.current_file
    models = sorted(path for path in folder.glob("[0-9a-f]*") if path.is_dir())
    for path in models:
        verdict.models += 1
        yield from _published(path)
    for epoch in sorted(folder.glob(".*.training/epoch-*")):
        yield from _published(epoch)
    for index in sorted(folder.glob(".*/*.json")):
        yield from trying(_check_pixels, index)
    try:
        if models and read_current(current) not in [path.name for path in models]:
            yield Problem(current, "names no model that is here")
    except (DamagedArtifactError, OSError) as error:
        yield problem_of(error, current)


def _check_pixels(index: Path) -> None:
    """Check decoded photos, which are kept between training and embedding."""
    read_sealed(index, remove=index)
    open_file(index.with_suffix(".pixels"), remove=index).close()
    if not PixelFile.of(index).is_intact():
        raise damaged(index.with_suffix(".pixels"), CHANGED, remove=index)


def _published(folder: Path) -> Problems:
    """All files of a published folder, and what is remembered of them."""
    for path, error in damaged_files(folder):
        problem = problem_of(error, path)
        if path.name in FOR_PEOPLE and problem.remedy is Remedy.DELETE:
            problem = replace(problem, remedy=Remedy.DROP, target=path)
        yield problem
    if os.path.lexists(folder / CHECKED):
        yield from trying(lambda path: read_sealed(path, remove=path), folder / CHECKED)


def _disagreements(engine: Engine, build: Build, shown: PhotoItems) -> Problems:
    """Compare the current build with the catalog, the model, and the vectors."""
    model = engine.models.get(str(build.manifest["model"]))
    if model is None or model.fingerprint != build.fingerprint:
        now = model.fingerprint if model else "missing"
        yield Problem(build.path, f"made by model {build.fingerprint}, which is {now} now")
    rows, index = build.segment_rows, open_build(build)
    index.close()
    if (index.rows, index.dim) != (build.manifest["rows"], build.manifest["dim"]):
        fault = f"{index.rows} vectors of {index.dim} numbers in its index"
        yield Problem(build.path, fault, Remedy.DELETE)
        return
    extra, missing = photo_items.difference(photo_items.of_rows(rows), shown)
    if extra or missing:
        yield Problem(build.path, f"{extra} photos too many and {missing} too few")
