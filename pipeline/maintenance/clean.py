"""Clean a catalog: remove what its configuration's engines no longer use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts import lock
from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.engine import Engine


@dataclass(frozen=True)
class Removed:
    """One path that was removed, and its size."""

    path: Path
    bytes: int


def clean(config: Config, *, everything: bool = False) -> list[Removed]:
    """Remove superseded models, vectors and builds, unfinished training, and unseen stored photos.

    With `everything`, remove the whole catalog instead; the user's own photos are never touched.

    Raises:
        BusyError: another process is writing the catalog.
    """
    if not config.folder.is_dir():
        return []
    with lock(config.folder):
        removed = [_remove(path) for path in list(_all(config) if everything else _unused(config))]
        if everything and [path.name for path in config.folder.iterdir()] == [".lock"]:
            shutil.rmtree(config.folder)
    return removed


def _all(config: Config) -> Iterator[Path]:
    """Only what a pipeline writes: whatever else is there belongs to somebody."""
    names = ["images", "download.json", "download.md"]
    names += ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"]
    for name in [*names, *config.engines]:
        path = config.folder / name
        if path.exists():
            yield path


def _unused(config: Config) -> Iterator[Path]:
    yield from _hidden_photos(config)
    for name in config.engines:
        engine = Engine(name, config)
        model, build = engine.models.current(), engine.builds.current()
        used = {model.path.name, model.fingerprint} if model else set()
        if build:
            used |= {build.path.name, build.fingerprint, str(build.manifest["model"])}
        for place in (engine.models.folder, engine.folder / "embeddings", engine.builds.folder):
            if place.is_dir():
                yield from sorted(p for p in place.iterdir() if p.is_dir() and p.name not in used)


def _hidden_photos(config: Config) -> Iterator[Path]:
    """Stored photos that no item shows any more."""
    stored = config.folder / "images"
    if stored.is_dir() and (config.folder / "catalog.sqlite").is_file():
        with Catalog(config.folder) as catalog:
            shown = {path for path, _ in catalog.files()}
        yield from sorted(path for path in stored.glob("*/*") if path not in shown)


def _remove(path: Path) -> Removed:
    if path.is_symlink():  # what it points to belongs to somebody
        path.unlink()
        return Removed(path, 0)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return Removed(path, size)
