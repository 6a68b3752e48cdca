"""Verify a catalog: the checksums of all its artifacts, and that they agree with each other."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from pipeline.artifacts import damaged, open_file, read_file, read_sealed, sha256_file
from pipeline.catalog import ledger_copy
from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.config.schema import LEDGER, REPORT
from pipeline.engine import Engine
from pipeline.errors import DamagedArtifactError
from pipeline.integrity import CHANGED
from pipeline.maintenance import photo_items
from pipeline.maintenance.problems import Problem, Remedy, Verdict, problem_of, trying
from pipeline.maintenance.verify_duplicates import duplicate_problems
from pipeline.maintenance.verify_engine import engine_problems
from pipeline.maintenance.verify_published import collection_problems, publication_problems
from pipeline.progress import SILENT, Progress

Problems = Iterator[Problem]


def verify(config: Config, progress: Progress = SILENT) -> Verdict:
    """Check everything below a catalog's folder, and the user's own photos that it names.

        for problem in verify(config).problems: print(problem)

    Raises:
        NotBuiltError: there is no catalog yet.
    """
    verdict = Verdict()
    found = chain(
        _documents(config.folder),
        _ledger(config, verdict, progress),
        duplicate_problems(config),
    )
    verdict.problems = list(dict.fromkeys(found))
    if config.index.type == "milvus" and not verdict.problems:
        # What is damaged here cannot be compared with what is there.
        with progress.task("verifying what Milvus holds", None, "collections"):
            verdict.problems = list(dict.fromkeys(collection_problems(config)))
    return verdict


def _documents(folder: Path) -> Problems:
    """What was written for people to read: `download.json`, `download.md`, `report.html`."""
    summary, page, report = (folder / name for name in ("download.json", "download.md", REPORT))
    if os.path.lexists(summary) or os.path.lexists(page):
        yield from trying(_check_downloads, summary)
    if os.path.lexists(report):
        for problem in trying(_check_report, report):
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
    if found := [problem for path in beside for problem in trying(_check_beside_ledger, path)]:
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
        yield from trying(lambda _: ledger_copy.check_copy(config.folder), file)
    with catalog:
        if damage := catalog.damage():
            yield Problem(file, f"damaged: {damage}", Remedy.DELETE)
            return
        with progress.task("verifying photos", None, "photos") as advance:
            for path, sha256 in catalog.files():
                verdict.photos += 1
                yield from _photo(path, sha256, config.folder / "images")
                advance(1)
        shown = photo_items.of_catalog(catalog.photo_item_pairs())
        yield from publication_problems(config, catalog.sealed_generations())
    for name in config.engines:
        yield from engine_problems(Engine(name, config), shown, verdict, progress)


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
