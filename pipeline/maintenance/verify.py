"""Verify a catalog: the checksums of all its artifacts, and that they agree with each other."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts import damaged, open_file, read_file, read_sealed, sha256_file
from pipeline.catalog import ledger_copy
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.pixel_files import PixelFile
from pipeline.config import Config
from pipeline.config.schema import LEDGER, REPORT
from pipeline.embeddings.segment import SegmentStore
from pipeline.embeddings.store import EmbeddingStore, read_shard
from pipeline.engine import Engine
from pipeline.errors import DamagedArtifactError
from pipeline.index import open_build
from pipeline.index.builds import SEGMENTS, Build
from pipeline.integrity import CHANGED, CHECKED, damaged_files, read_current
from pipeline.maintenance.problems import Problem, Remedy, problem_of
from pipeline.maintenance.verify_published import publication_problems
from pipeline.models.store import FOR_PEOPLE
from pipeline.progress import SILENT, Progress

Problems = Iterator[Problem]


@dataclass
class Verdict:
    """How much was checked, and the problems: each is a line that says where, what, what to do."""

    photos: int = 0
    models: int = 0
    shards: int = 0
    segments: int = 0
    builds: int = 0
    problems: list[Problem] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        lines = [str(problem) for problem in self.problems]
        remedies = [problem.remedy_to_dict() for problem in self.problems]
        return {**vars(self), "problems": lines, "remedies": remedies}


def verify(config: Config, progress: Progress = SILENT) -> Verdict:
    """Check everything below a catalog's folder, and the user's own photos that it names.

        for problem in verify(config).problems: print(problem)

    Raises:
        NotBuiltError: there is no catalog yet.
    """
    verdict = Verdict()
    found = chain(_documents(config.folder), _ledger(config, verdict, progress))
    verdict.problems = list(dict.fromkeys(found))
    return verdict


def _trying(check: Callable[[Path], object], path: Path) -> Problems:
    """The problem that the check of a file ends with, if it does."""
    try:
        check(path)
    except (DamagedArtifactError, OSError) as error:
        yield problem_of(error, path)


def _trying_all(check: Callable[[], Problems], path: Path) -> Problems:
    """The problems that a check finds, and the one that it ends with, if it does."""
    try:
        yield from check()
    except (DamagedArtifactError, OSError) as error:
        yield problem_of(error, path)


# --- The ledger, and what is beside it ------------------------------------------------------------


def _documents(folder: Path) -> Problems:
    """What was written for people to read: `download.json`, `download.md`, `report.html`."""
    summary, page, report = (folder / name for name in ("download.json", "download.md", REPORT))
    if os.path.lexists(summary) or os.path.lexists(page):
        yield from _trying(_check_downloads, summary)
    if os.path.lexists(report):
        for problem in _trying(_check_report, report):
            yield replace(problem, command="report")


def _check_downloads(summary: Path) -> None:
    page = summary.with_suffix(".md")
    if not os.path.lexists(summary):
        raise damaged(summary, "it is missing", remove=page)
    expected = read_sealed(summary, remove=summary).get("page_sha256")
    if not os.path.lexists(page):
        raise damaged(page, "it is missing", remove=summary)
    if hashlib.sha256(read_file(page, remove=page)).hexdigest() != expected:
        raise damaged(page, CHANGED, remove=page)


def _check_report(report: Path) -> None:
    if not read_file(report, remove=report).rstrip().endswith(b"</html>"):
        raise damaged(report, "it is truncated", remove=report)


def _check_beside_ledger(path: Path) -> None:
    if os.path.lexists(path):
        open_file(path, remove=path).close()


def _ledger(config: Config, verdict: Verdict, progress: Progress) -> Problems:
    """The ledger, and if it is intact, all that is compared with it."""
    file = config.folder / LEDGER
    beside = [config.folder / f"{LEDGER}{suffix}" for suffix in ("-wal", "-shm", "-journal")]
    if found := [problem for path in beside for problem in _trying(_check_beside_ledger, path)]:
        yield from found
        return
    if not os.path.lexists(file) and ledger_copy.has_copy(config.folder):
        yield Problem(file, "is missing")  # the build takes the copy
        return
    try:
        ledger_copy.check(config.folder, anew=True)
        catalog = Catalog(config.folder)
    except (DamagedArtifactError, OSError) as error:
        yield problem_of(error, file)
        return
    except sqlite3.OperationalError as error:  # locked, or not allowed
        yield Problem(file, f"cannot be read: {error}", Remedy.NONE)
        return
    if ledger_copy.has_copy(config.folder):
        yield from _trying(lambda _: ledger_copy.check_copy(config.folder), file)
    with catalog:
        if damage := catalog.damage():
            yield Problem(file, f"damaged: {damage}", Remedy.DELETE)
            return
        with progress.task("verifying photos", None, "photos") as advance:
            for path, sha256 in catalog.files():
                verdict.photos += 1
                yield from _photo(path, sha256, config.folder / "images")
                advance(1)
        pairs = set(catalog.photo_item_pairs())
        yield from publication_problems(config, catalog.sealed_generations())
    for name in config.engines:
        yield from _engine(Engine(name, config), pairs, verdict, progress)


def _photo(path: Path, sha256: bytes, stored: Path) -> Problems:
    remedy = Remedy.DELETE if path.is_relative_to(stored) else Remedy.READ_AGAIN
    try:
        if sha256_file(path) != sha256.hex():
            yield Problem(path, "the photo has changed since it was ingested", remedy)
    except DamagedArtifactError as error:
        fault = f"the photo cannot be read: {error.message.removeprefix('damaged: ')}"
        yield Problem(path, fault, remedy if os.path.lexists(path) else Remedy.BUILD)
    except OSError as error:
        yield problem_of(error, path)


# --- What an engine has made ----------------------------------------------------------------------


def _engine(
    engine: Engine, pairs: set[tuple[bytes, int]], verdict: Verdict, progress: Progress
) -> Problems:
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
        yield from _trying_all(lambda: _disagreements(engine, build, pairs), build.path)


def _vectors(engine: Engine, verdict: Verdict, progress: Progress) -> Problems:
    """Shards and segments."""
    with progress.task(f"{engine.name}: verifying vectors", None, "files") as advance:
        for folder in engine.embedding_folders:
            for marker in EmbeddingStore(folder).markers():
                verdict.shards += 1
                yield from _trying(lambda path: read_shard(path).vectors(), marker)
                advance(1)
        for path in engine.builds.segments.paths():
            verdict.segments += 1
            damages = [*_published(path)] or [*_trying(_check_rows, path)]
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
        yield from _trying(_check_pixels, index)
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
        yield from _trying(lambda path: read_sealed(path, remove=path), folder / CHECKED)


def _disagreements(engine: Engine, build: Build, pairs: set[tuple[bytes, int]]) -> Problems:
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
    indexed = {(rows.hashes[row].tobytes(), item) for row, item in rows.ids.tolist()}
    if indexed != pairs:
        extra, missing = len(indexed - pairs), len(pairs - indexed)
        yield Problem(build.path, f"{extra} photos too many and {missing} too few")
