"""What a catalog's folder holds. Manifests are read, but no model is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.catalog.catalog import Catalog, State
from pipeline.catalog.left_out import LeftOutCount, Unmatched, left_out_counts, unmatched
from pipeline.config import Config, MilvusSettings
from pipeline.engine import Engine
from pipeline.index.builds import Build
from pipeline.index.milvus.collection import Collection
from pipeline.index.recall import PromisedRecall
from pipeline.models.projection import network_of, told_of_fit
from pipeline.models.runtimes import runtime_of
from pipeline.models.store import ModelFolder, random_weights_warning
from pipeline.publish.publication import Publication
from pipeline.publish.store import PublicationStore
from pipeline.publish.tuning import Tuning


@dataclass(frozen=True)
class ModelInfo:
    """The model in use."""

    folder: str
    fingerprint: str
    runtime: str  # what answers queries by photo, and its version
    dim: int
    parameters: int | None
    weights: str | None  # what the settings name, or "random"; None if it was trained here
    warning: str | None  # what to know before believing its answers
    validation_mse: float | None
    matches_configuration: bool


@dataclass(frozen=True)
class DerivedModelInfo(ModelInfo):
    """The model in use, of an engine that is made of another one's vectors."""

    source: str  # that engine
    fit: Mapping[str, Any]  # how well: of a head, on photos held out
    told: str  # both, in one line


@dataclass(frozen=True)
class BuildInfo:
    """The index that answers; the one that was made last, where none is published."""

    id: str
    index: str  # its type
    rows: int
    without_direction: int  # photos that are left out: see `build_index`
    items: int
    dim: int
    fingerprint: str
    bytes: int
    matches_model: bool
    recall: PromisedRecall | None  # None: all its answers are exact


@dataclass(frozen=True)
class ServedBuildInfo(BuildInfo):
    """The index that answers, where a Milvus server searches it; it is not asked."""

    server: str  # its address
    database: str
    collection: str


@dataclass(frozen=True)
class EngineInfo:
    """What an engine has made so far."""

    bytes: int
    model: ModelInfo | None
    vectors: int  # of the model in use
    build: BuildInfo | None
    builds: list[str]  # ids of all builds that are kept, oldest first


@dataclass(frozen=True)
class CatalogInfo:
    """A catalog and its engines."""

    catalog: str
    folder: str
    bytes: int
    items: int
    states: Mapping[str, Mapping[str, int]]  # state → reason → items
    left_out: Sequence[LeftOutCount]  # what the source holds besides, most files first
    unmatched: Mapping[str, Unmatched]  # row, photo → those that did not meet
    publication: int | None  # the one that answers
    kept_aside: Sequence[str]  # why the gate refused what was built since
    unfinished: bool  # whether the last ingest was broken off
    held: str | None  # why the last ingest changed nothing, if the source may be out of reach
    photos: int  # distinct ones that are available
    engines: Mapping[str, EngineInfo]
    tuning: Tuning | None = None  # what was measured for the publication, if the settings ask

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; `tuning` only where there is one."""
        content = asdict(self)
        return content if self.tuning else {k: v for k, v in content.items() if k != "tuning"}


def catalog_info(config: Config) -> CatalogInfo:
    """Return the catalog's counts by state and, of each engine, its model, vectors and builds.

    Raises:
        NotBuiltError: there is no catalog yet.
        DamagedArtifactError: an artifact is not what was written.
    """
    store = PublicationStore(config)
    with (
        store.leased() if store.current() else nullcontext() as published,
        Catalog(config.folder) as catalog,
    ):
        newest = next(reversed(store.all()), None)
        states = catalog.counts()
        return CatalogInfo(
            catalog=config.catalog,
            folder=str(config.folder),
            bytes=size_on_disk(config.folder),
            items=sum(sum(n.values()) for s, n in states.items() if s != State.REMOVED),
            states=states,
            left_out=left_out_counts(catalog),
            unmatched=unmatched(catalog, states),
            publication=published.number if published else None,
            kept_aside=newest.faults if newest and newest != published else (),
            unfinished=catalog.is_unfinished,
            held=catalog.get_meta("held"),
            photos=catalog.photo_count(),
            engines={name: _engine(Engine(name, config), published) for name in config.engines},
            tuning=published.tuning if published else None,
        )


def size_on_disk(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder, which may be going meanwhile."""
    files = [path, *(Path(folder, name) for folder, _, names in os.walk(path) for name in names)]
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def _engine(engine: Engine, published: Publication | None) -> EngineInfo:
    model, index = engine.models.current(), engine.config.index
    collection: Collection | None = None
    if published and engine.name in published.engines:
        build: Build | None = engine.builds.open(published.engines[engine.name].build)
        if index.type == "milvus":
            collection = published.collections.get(engine.name)
    else:
        build = engine.builds.current()
    return EngineInfo(
        bytes=size_on_disk(engine.folder),
        model=_model(engine, model) if model else None,
        vectors=len(engine.embeddings(model.fingerprint).photos()) if model else 0,
        build=_build(build, model, index.milvus, collection) if build else None,
        builds=[path.name for path in engine.builds.all()],
    )


def _model(engine: Engine, model: ModelFolder) -> ModelInfo:
    is_random = model.has_random_weights
    known: dict[str, Any] = {
        "folder": str(model.path),
        "fingerprint": model.fingerprint,
        "runtime": runtime_of(network_of(model)),
        "dim": model.dim,
        "parameters": model.manifest.get("parameters"),
        "weights": "random" if is_random else model.recipe.get("weights"),
        "warning": random_weights_warning(engine.name, model) if is_random else None,
        "validation_mse": model.manifest.get("validation_mse"),
        "matches_configuration": engine.matches_settings(model),
    }
    told = told_of_fit(engine.name, model)
    if told is None:
        return ModelInfo(**known)
    source, fit = model.manifest["source"]["engine"], model.manifest["fit"]
    return DerivedModelInfo(**known, source=source, fit=fit, told=told)


def _build(
    build: Build, model: ModelFolder | None, settings: MilvusSettings, collection: Collection | None
) -> BuildInfo:
    known: dict[str, Any] = {
        "id": build.path.name,
        "index": build.manifest["index"]["type"],
        "rows": build.manifest["rows"],
        "without_direction": build.without_direction,
        "items": build.manifest["items"],
        "dim": build.manifest["dim"],
        "fingerprint": build.fingerprint,
        "bytes": sum(map(size_on_disk, build.folders)),
        "matches_model": model is not None and build.fingerprint == model.fingerprint,
        "recall": (collection or build).recall,
    }
    if collection is None:
        return BuildInfo(**known)
    server, database = settings.uri, settings.database
    return ServedBuildInfo(**known, server=server, database=database, collection=collection.name)
