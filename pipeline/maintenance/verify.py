"""Verify a catalog: the checksums of all its artifacts, and that they agree with each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.embeddings.store import EmbeddingStore
from pipeline.engine import Engine
from pipeline.errors import DamagedArtifactError
from pipeline.index import open_index
from pipeline.index.builds import Build
from pipeline.integrity import damaged_files
from pipeline.progress import SILENT, Progress

REBUILD = "run `imgsearch build`"


@dataclass
class Verdict:
    """How much was checked, and the problems: each a line that says where, what, and what to do."""

    photos: int = 0
    models: int = 0
    shards: int = 0
    builds: int = 0
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def verify(config: Config, progress: Progress = SILENT) -> Verdict:
    """Check everything below a catalog's folder, and the user's own photos that it names.

        for problem in verify(config).problems: print(problem)

    Raises:
        NotBuiltError: there is no catalog yet.
    """
    verdict = Verdict()
    with Catalog(config.folder) as catalog:
        if damage := catalog.damage():
            verdict.problems.append(f"{catalog.file}: damaged: {damage}; delete it and {REBUILD}")
            return verdict
        with progress.task("verifying photos", None, "photos") as advance:
            for path, sha256 in catalog.files():
                verdict.photos += 1
                verdict.problems += _photo_problems(path, sha256, config.folder / "images")
                advance(1)
        pairs = set(catalog.photo_item_pairs())
        for name in config.engines:
            try:
                _verify_engine(Engine(name, config), pairs, verdict, progress)
            except DamagedArtifactError as error:
                verdict.problems.append(str(error))
    verdict.problems = list(dict.fromkeys(verdict.problems))
    return verdict


def _verify_engine(
    engine: Engine, pairs: set[tuple[bytes, int]], verdict: Verdict, progress: Progress
) -> None:
    for path in sorted(engine.models.folder.glob("[0-9a-f]*")):
        verdict.models += 1
        verdict.problems += map(str, damaged_files(path))
    with progress.task(f"{engine.name}: verifying vectors", None, "shards") as advance:
        for store in engine.embedding_folders:
            for shard in EmbeddingStore(store).shards():
                verdict.shards += 1
                try:
                    shard.vectors()
                except DamagedArtifactError as error:
                    verdict.problems.append(str(error))
                advance(1)
    for path in engine.builds.all():
        verdict.builds += 1
        verdict.problems += map(str, damaged_files(path))
    build = engine.builds.current()
    if build is None:
        verdict.problems.append(f"{engine.folder}: no index here yet; {REBUILD}")
    else:
        verdict.problems += _disagreements(engine, build, pairs)


def _photo_problems(path: Path, sha256: bytes, stored: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").digest() == sha256:
                return
        fault = "has changed since it was ingested"
    except OSError as error:
        fault = f"cannot be read: {error.strerror}"
    is_stored = path.is_relative_to(stored) and path.exists()
    yield f"{path}: the photo {fault}; {'delete it and ' if is_stored else ''}{REBUILD}"


def _disagreements(engine: Engine, build: Build, pairs: set[tuple[bytes, int]]) -> Iterator[str]:
    """Compare the current build with the catalog, the model, and the vectors."""
    model = engine.models.get(str(build.manifest["model"]))
    if model is None or model.fingerprint != build.fingerprint:
        now = model.fingerprint if model else "missing"
        yield f"{build.path}: made by model {build.fingerprint}, which is {now} now; {REBUILD}"
    photos = [row.tobytes() for row in build.photos]
    indexed = {(photos[row], item) for row, item in build.ids.tolist() if row < len(photos)}
    if indexed != pairs:
        extra, missing = len(indexed - pairs), len(pairs - indexed)
        yield f"{build.path}: {extra} photos too many and {missing} too few; {REBUILD}"
    index = open_index(build.kind, build.path)
    if (index.rows, index.dim) != (len(photos), build.manifest["dim"]):
        yield f"{build.path}: {index.rows} vectors of {index.dim} numbers in its index; {REBUILD}"
        return
    rows = {photo: row for row, photo in enumerate(photos)}
    has_no_vector = np.ones(len(rows), bool)
    for shard, selected, vectors in engine.embeddings(build.fingerprint).select(rows):
        has_no_vector[selected] = False
        if not np.array_equal(index.vectors(selected), vectors):
            yield f"{build.index_file}: its vectors differ from those in {shard.file}; {REBUILD}"
    if has_no_vector.any():
        yield f"{build.path}: {has_no_vector.sum()} of its photos have no vector on disk; {REBUILD}"
