"""Verify a catalog: every checksum of every artifact, and that they agree with each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.artifacts import checksum_problems
from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.embeddings.store import EmbeddingStore, F32Matrix
from pipeline.engine import Engine
from pipeline.errors import DamagedArtifactError
from pipeline.index import open_index
from pipeline.index.base import VectorIndex
from pipeline.index.builds import Build
from pipeline.progress import SILENT, Progress

_BLOCK = 1024  # rows compared at a time


@dataclass
class Verdict:
    """What was checked, and every problem found, each a line that says what mends it."""

    photos: int = 0
    models: int = 0
    shards: int = 0
    builds: int = 0
    problems: list[str] = field(default_factory=list)


def verify(config: Config, progress: Progress = SILENT) -> Verdict:
    """Check everything below a catalog's folder, and the user's own photos that it names.

    Raises:
        NotBuiltError: there is no catalog yet.
    """
    verdict = Verdict()
    with Catalog(config.folder) as catalog:
        if damage := catalog.damage():
            verdict.problems.append(
                f"{catalog.file}: damaged: {damage}; delete it and run `imgsearch build`"
            )
            return verdict
        with progress.task("verifying photos", None, "photos") as advance:
            for path, sha256 in catalog.files():
                verdict.photos += 1
                verdict.problems += _photo_problems(path, sha256, config.folder / "images")
                advance(1)
        showings = set(catalog.photo_item_pairs())
        for name in config.engines:
            try:
                _verify_engine(Engine(name, config), showings, verdict, progress)
            except DamagedArtifactError as error:
                verdict.problems.append(str(error))
    verdict.problems = list(dict.fromkeys(verdict.problems))
    return verdict


def _verify_engine(
    engine: Engine, showings: set[tuple[bytes, int]], verdict: Verdict, progress: Progress
) -> None:
    for path in sorted(engine.models.folder.glob("[0-9a-f]*")):
        verdict.models += 1
        verdict.problems += checksum_problems(path)
    with progress.task(f"{engine.name}: verifying vectors", None, "shards") as advance:
        for store in engine.embedding_folders:
            for shard in EmbeddingStore(store).shards():
                verdict.shards += 1
                if not shard.is_intact():
                    verdict.problems.append(str(shard.damaged("its content has changed")))
                advance(1)
    for path in engine.builds.all():
        verdict.builds += 1
        verdict.problems += checksum_problems(path)
    build = engine.builds.current()
    if build is None:
        verdict.problems.append(f"{engine.folder}: no index here yet; run `imgsearch build`")
        return
    verdict.problems += _disagreements(engine, build, showings)


def _photo_problems(path: Path, sha256: bytes, stored: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").digest() == sha256:
                return
        what = "has changed since it was ingested"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    mend = "delete it and run" if path.is_relative_to(stored) and path.exists() else "run"
    yield f"{path}: the photo {what}; {mend} `imgsearch build`"


def _disagreements(engine: Engine, build: Build, showings: set[tuple[bytes, int]]) -> Iterator[str]:
    """Compare the current build with the catalog, the model, and the vectors."""
    mend = "run `imgsearch build`"
    model = engine.models.get(str(build.manifest["model"]))
    if model is None or model.fingerprint != build.fingerprint:
        found = model.fingerprint if model else "missing"
        yield f"{build.path}: made by model {build.fingerprint}, which is {found} now; {mend}"
    photos = [row.tobytes() for row in build.photos]
    indexed = {(photos[row], item) for row, item in build.ids.tolist() if row < len(photos)}
    if indexed != showings:
        more, fewer = len(indexed - showings), len(showings - indexed)
        yield f"{build.path}: {more} photos too many and {fewer} too few; {mend}"
    index = open_index(build.kind, build.path)
    if (index.rows, index.dim) != (len(photos), build.manifest["dim"]):
        yield f"{build.path}: {index.rows} vectors of {index.dim} numbers in its index; {mend}"
        return
    rows = {photo: row for row, photo in enumerate(photos)}
    for shard in engine.embeddings(build.fingerprint).shards():
        known = [(rows.pop(p), at) for at, p in enumerate(shard.photos) if p in rows]
        if known and not _equal(index, shard.vectors(), np.array(known, np.int64)):
            yield f"{build.index_file}: its vectors differ from those in {shard.file}; {mend}"
    if rows:
        yield f"{build.path}: {len(rows)} of its photos have no vector on disk; {mend}"


def _equal(
    index: VectorIndex, vectors: F32Matrix, known: np.ndarray[tuple[int, int], np.dtype[np.int64]]
) -> bool:
    blocks = (known[start : start + _BLOCK].T for start in range(0, len(known), _BLOCK))
    return all(np.array_equal(index.vectors(rows), vectors[at]) for rows, at in blocks)
