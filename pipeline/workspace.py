"""One configured catalog on disk: its ledger and its engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from pipeline import sources
from pipeline.artifacts import remove, sweep
from pipeline.catalog import ledger_copy
from pipeline.catalog.catalog import Catalog
from pipeline.config import Config, sources_first
from pipeline.config.schema import DUPLICATES, LEDGER, POINTER, PUBLICATIONS, TAGS, UPLOADS
from pipeline.duplicates.store import DuplicateStore
from pipeline.engine import Engine, image_limits
from pipeline.images import ImageLimits
from pipeline.locks import lock
from pipeline.sources.base import Source


@dataclass(frozen=True)
class Workspace:
    """One configured catalog on disk: its ledger and its engines."""

    config: Config
    catalog: Catalog

    @classmethod
    @contextmanager
    def open(cls, config: Config) -> Iterator[Workspace]:
        """Open a catalog for reading: `with Workspace.open(config) as workspace:`.

        Raises:
            NotBuiltError: there is none yet.
            DamagedArtifactError: its ledger cannot be read.
        """
        with Catalog(config.folder) as catalog:
            yield cls(config, catalog)

    @classmethod
    @contextmanager
    def locked(cls, config: Config, *, create: bool = True) -> Iterator[Workspace]:
        """Open a catalog for writing, and remove what killed runs left unfinished.

        With `create` it is made if need be, once its source has been found.

        Raises:
            NotBuiltError: there is none yet, and `create` is False.
            SourceGoneError: it is to be created, and the source is not there.
            BusyError: another process is writing it.
            DamagedArtifactError: its ledger is not what was written last.
        """
        if not create:
            Catalog(config.folder).close()
        elif not (config.folder / LEDGER).exists():
            sources.create(config.source)
        with lock(config.folder), ledger_copy.writing(config.folder):
            is_new = not (config.folder / LEDGER).exists()
            with Catalog(config.folder, create=True) as catalog:
                workspace = cls(config, catalog)
                workspace.sweep()
                if is_new:
                    workspace.forget_publications()
                yield workspace

    @cached_property
    def source(self) -> Source:
        """Where its items come from.

        Raises:
            SourceError: it is not there.
        """
        return sources.create(self.config.source)

    @cached_property
    def engines(self) -> dict[str, Engine]:
        """Name → engine, as configured."""
        return {name: Engine(name, self.config) for name in self.config.engines}

    @property
    def pretrained_engines(self) -> list[Engine]:
        """The engines whose weights are fetched."""
        return [engine for engine in self.engines.values() if not engine.is_trained]

    @property
    def engines_sources_first(self) -> list[Engine]:
        """All engines, each behind the one that it is made of, or taught by."""
        return [self.engines[name] for name in sources_first(self.config.engines)]

    @property
    def sources(self) -> set[str]:
        """The engines whose vectors others are made of, or taught by."""
        return {engine.source.name for engine in self.engines.values() if engine.source}

    @cached_property
    def duplicates(self) -> DuplicateStore:
        """What is known of near-duplicates."""
        return DuplicateStore(self.config.folder / DUPLICATES)

    @property
    def image_limits(self) -> ImageLimits:
        """What counts as an acceptable photo."""
        return image_limits(self.config)

    def sweep(self) -> None:
        """Remove what killed runs left unfinished."""
        sweep(self.config.folder)
        for name in ("images", UPLOADS, PUBLICATIONS, DUPLICATES):
            sweep(self.config.folder / name)
        for engine in self.engines.values():
            engine.sweep()

    def forget_publications(self) -> None:
        """Remove what was published of a ledger that is lost: its ids now mean other items."""
        for name in (POINTER, TAGS, PUBLICATIONS, DUPLICATES):
            remove(self.config.folder / name)
        for engine in self.engines.values():
            remove(engine.builds.current_file)
