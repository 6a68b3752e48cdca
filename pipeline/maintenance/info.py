"""What a catalog's folder holds: artifacts → facts. Reads manifests only, loads no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.catalog.catalog import Catalog, State
from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.models.store import random_weights_warning


def describe(config: Config) -> dict[str, Any]:
    """Return the catalog's counts by state and, of each engine, its model, vectors and builds.

    Raises:
        NotBuiltError: there is no catalog yet.
        DamagedArtifactError: an artifact is not what was written.
    """
    with Catalog(config.folder) as catalog:
        counts = catalog.counts()
        photos = catalog.photo_count()
        unfinished = catalog.is_unfinished
    return {
        "catalog": config.catalog,
        "folder": str(config.folder),
        "bytes": _bytes(config.folder),
        "items": sum(sum(n.values()) for s, n in counts.items() if s != State.REMOVED),
        "states": counts,
        "unfinished": unfinished,
        "photos": photos,
        "engines": {name: _engine(config, name) for name in config.engines},
    }


def _engine(config: Config, name: str) -> dict[str, Any]:
    engine = Engine(name, config)
    model = engine.models.current()
    build = engine.builds.current()
    facts: dict[str, Any] = {"bytes": _bytes(engine.folder), "model": None, "build": None}
    if model:
        settled = engine.matches_settings(model)
        facts["model"] = {
            "folder": str(model.path),
            "fingerprint": model.fingerprint,
            "dim": model.dim,
            "parameters": model.manifest.get("parameters"),
            "weights": "random" if model.has_random_weights else model.recipe.get("weights"),
            "warning": random_weights_warning(name) if model.has_random_weights else None,
            "validation_mse": model.manifest.get("validation_mse"),
            "matches_configuration": settled,
        }
        facts["vectors"] = len(engine.embeddings(model.fingerprint).photos())
    if build:
        facts["build"] = {
            "id": build.path.name,
            "index": build.manifest["index"]["type"],
            "rows": build.manifest["rows"],
            "items": build.manifest["items"],
            "dim": build.manifest["dim"],
            "fingerprint": build.fingerprint,
            "bytes": _bytes(build.path),
            "matches_model": model is not None and build.fingerprint == model.fingerprint,
        }
        facts["builds"] = [path.name for path in engine.builds.all()]
    return facts


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
