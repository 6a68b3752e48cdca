"""Clean a catalog: remove what its configuration's engines no longer use, or all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts import remove, sweep
from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.config.schema import CATALOG_FILES, LEDGER
from pipeline.engine import Engine
from pipeline.index.builds import SEGMENTS
from pipeline.locks import lock
from pipeline.maintenance.info import size_on_disk


@dataclass(frozen=True)
class Removal:
    """One path that is removed, and its size."""

    path: Path
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {"path": str(self.path), "bytes": self.bytes}


def clean(
    config: Config,
    *,
    everything: bool = False,
    announce: Callable[[Sequence[Removal]], object] = lambda _: None,
) -> list[Removal]:
    """Remove superseded models, vectors and builds, unfinished training, and unused stored photos.

    With `everything`, remove all that was written for the catalog, and its folder if nothing else
    is in it: `clean(config, everything=True)`. The user's own photos are never touched.

    `announce` gets what is about to be removed; where it raises, nothing is.

    Raises:
        BusyError: another process is writing the catalog.
    """
    if not config.folder.is_dir():
        return []
    with lock(config.folder):
        paths = list(_everything(config) if everything else _unused(config))
        removals = [_removal(path) for path in paths]
        announce(removals)
        for path in paths:
            remove(path)
        if everything:
            sweep(config.folder)
            if [path.name for path in config.folder.iterdir()] == [".lock"]:
                _remove_folder(config.folder)
    return removals


def _remove_folder(folder: Path) -> None:
    """Remove the folder of a catalog, of which only the lock is left, unless a new one begins."""
    remove(folder / ".lock")
    with suppress(OSError):  # another run has made its lock there: the folder is not empty
        folder.rmdir()


def _everything(config: Config) -> list[Path]:
    """All that a pipeline writes; whatever else is in the folder is the user's."""
    paths = [config.folder / name for name in (*CATALOG_FILES, *config.engines)]
    return [path for path in paths if path.exists() or path.is_symlink()]


def _unused(config: Config) -> Iterator[Path]:
    yield from _unused_photos(config)
    for name in config.engines:
        engine = Engine(name, config)
        model, build = engine.models.current(), engine.builds.current()
        used = {model.path.name, model.fingerprint} if model else set()
        if build:
            used |= {build.path.name, build.fingerprint, str(build.manifest["model"])}
            used |= set(build.manifest[SEGMENTS])
        builds = engine.builds
        for parent in (
            *(engine.models.folder, engine.folder / "embeddings"),
            *(builds.folder, builds.segments.folder),
        ):
            if parent.is_dir():
                yield from sorted(p for p in parent.iterdir() if p.is_dir() and p.name not in used)


def _unused_photos(config: Config) -> Iterator[Path]:
    """Stored photos that no item shows any more."""
    stored = config.folder / "images"
    if stored.is_dir() and (config.folder / LEDGER).is_file():
        with Catalog(config.folder) as catalog:
            shown = {path for path, _ in catalog.files()}
        yield from sorted(path for path in stored.glob("*/*") if path not in shown)


def _removal(path: Path) -> Removal:
    is_link = path.is_symlink()  # what it points to is the user's
    return Removal(path, 0 if is_link else size_on_disk(path))
