"""Clean a catalog: remove what its configuration's engines no longer use, or all of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts import remove, sweep
from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.config.schema import CATALOG_FILES, LEDGER
from pipeline.engine import Engine
from pipeline.errors import BusyError, NotBuiltError
from pipeline.index.builds import SEGMENTS
from pipeline.locks import lock
from pipeline.maintenance.info import size_on_disk
from pipeline.publish.collections import drop_collections, unneeded_collections
from pipeline.publish.publication import Publication, PublishedEngine
from pipeline.publish.retention import retiring
from pipeline.publish.store import PublicationStore


@dataclass(frozen=True)
class Removal:
    """One path that is removed, and its size; or what a Milvus server has, at an address."""

    path: Path | str
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
    """Remove what no publication that is kept needs: models, vectors, builds, photos, training.

    What is kept are as many publications as the settings say, those with a tag, and those that are
    in use. With `everything`, remove all that was written for the catalog, and its folder if
    nothing else is in it: `clean(config, everything=True)`. The user's own photos always stay.

    `announce` gets what is about to be removed; where it raises, nothing is.

    Raises:
        BusyError: another process is writing the catalog; or all of it is to go, and is in use.
        VectorDatabaseError: `index.type` is `milvus`, and the server does not answer.
    """
    if not config.folder.is_dir():
        return []
    with lock(config.folder), _retiring(config, everything=everything) as retired:
        paths = list(_everything(config) if everything else _unused(config, retired))
        kept = [one for one in PublicationStore(config).all() if one.number not in retired]
        collections = unneeded_collections(config, [] if everything else kept)
        removals = [Removal(f"{config.index.milvus.uri}/{name}", 0) for name in collections]
        removals += [_removal(path) for path in paths]
        announce(removals)
        drop_collections(config, collections)  # first, as it may fail
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


@contextmanager
def _retiring(config: Config, *, everything: bool) -> Iterator[list[int]]:
    """Yield the numbers of the publications that go, which no one can begin to use meanwhile.

    Raises:
        BusyError: everything is to go, and someone uses a publication.
    """
    store = PublicationStore(config)
    if not store.numbers():
        yield []
        return
    with lock(store.folder, wait=True), ExitStack() as stack:
        if not everything:
            yield stack.enter_context(retiring(store, config.index.keep_publications))
            return
        for number in store.numbers():
            if not stack.enter_context(store.held_for_removal(number)):
                hint = "end what searches in it, then try again"
                raise BusyError(f"publication {number} is in use", where=store.folder, hint=hint)
        yield store.numbers()


def _unused(config: Config, retired: Collection[int]) -> Iterator[Path]:
    store = PublicationStore(config)
    kept = [one for one in store.all() if one.number not in retired]
    yield from _unused_photos(config, kept)
    yield from (store.folder / str(number) for number in retired)
    for name in config.engines:
        published = [one.engines[name] for one in kept if name in one.engines]
        yield from _unused_of(Engine(name, config), published)


def _unused_of(engine: Engine, published: Sequence[PublishedEngine]) -> Iterator[Path]:
    """Folders of an engine that neither these publications nor the next build needs."""
    models, builds = engine.models, engine.builds
    model, last = models.current(), builds.current()
    needed = [builds.open(one.build) for one in published] + ([last] if last else [])
    used = {model.path.name, model.fingerprint} if model else set()
    for build in needed:
        used |= {build.path.name, build.fingerprint, str(build.manifest["model"])}
        used |= set(build.manifest[SEGMENTS])
    vectors = engine.folder / "embeddings"
    for parent in (models.folder, vectors, builds.folder, builds.segments.folder):
        if parent.is_dir():
            yield from sorted(p for p in parent.iterdir() if p.is_dir() and p.name not in used)


def _unused_photos(config: Config, kept: Sequence[Publication]) -> Iterator[Path]:
    """Stored photos that no item shows any more, now or in a publication that is kept."""
    stored = config.folder / "images"
    if stored.is_dir() and (config.folder / LEDGER).is_file():
        shown: set[Path] = set()
        for generation in {None, *(one.generation for one in kept)}:
            with suppress(NotBuiltError), Catalog(config.folder, generation=generation) as catalog:
                shown.update(path for path, _ in catalog.files())
        yield from sorted(path for path in stored.glob("*/*") if path not in shown)


def _removal(path: Path) -> Removal:
    is_link = path.is_symlink()  # what it points to is the user's
    return Removal(path, 0 if is_link else size_on_disk(path))
