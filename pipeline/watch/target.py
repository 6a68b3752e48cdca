"""A configured catalog as what is watched: its source's files, and how it is built from them."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from pipeline import images, sources, stages
from pipeline.concurrency import ordered_map
from pipeline.config import Config
from pipeline.config.schema import LEDGER
from pipeline.engine import image_limits
from pipeline.errors import RejectedImage
from pipeline.images import Reject
from pipeline.progress import Progress
from pipeline.sources.base import PhotoFolder, Source
from pipeline.sources.walk import SUFFIXES
from pipeline.stages import BuildReport
from pipeline.watch.look import Look, SourceFiles, source_files
from pipeline.watch.settling import Settled
from pipeline.watch.source import SettledSource

_MAY_GROW = {Reject.EMPTY, Reject.NOT_AN_IMAGE, Reject.TRUNCATED, Reject.CORRUPT}


@dataclass(frozen=True)
class CatalogTarget:
    """A configured catalog, and the files that it is built from."""

    config: Config
    files: SourceFiles
    progress: Progress

    @classmethod
    def of(cls, config: Config, progress: Progress) -> CatalogTarget:
        """Find the files of a configuration's source.

        Raises:
            ConfigError: they could never change.
            SourceError: they are not there, and there is no catalog of them yet.
        """
        files = source_files(config.source)
        if not (config.folder / LEDGER).exists():
            sources.create(config.source)
        return cls(config, files, progress)

    @property
    def essential(self) -> frozenset[str]:
        """The entries of a look without which the source cannot be read."""
        return self.files.essential

    def look(self) -> Look:
        """Return the state of each file as it is now."""
        return self.files.look()

    def incomplete(self, paths: Collection[str]) -> list[str]:
        """Return the photos among these that do not decode and may still be written to.

        Files that were last written longer ago than a change waits at most are not opened.
        """
        workers = self.config.embedding.decoders
        checked = ordered_map(self._may_grow, paths, workers, ahead=4 * workers)
        return [path for path, may_grow in zip(paths, checked, strict=True) if may_grow]

    def build(self, settled: Settled, *, retry_failed: bool) -> BuildReport:
        """Build what is out of date, with what has settled."""

        def restrict(source: Source) -> Source:
            return SettledSource(source, settled) if isinstance(source, PhotoFolder) else source

        return stages.build(
            self.config, progress=self.progress, retry_failed=retry_failed, restrict=restrict
        )

    def _may_grow(self, path: str) -> bool:
        file = self.files.root / path
        try:
            if file.suffix.lower() not in SUFFIXES or self._is_old(file.stat().st_mtime):
                return False
            images.decode(images.read_bytes(file, self._limits), self._limits)
        except RejectedImage as rejected:
            return rejected.reason in _MAY_GROW
        except OSError:
            return False  # ingest names what is wrong with it
        return False

    def _is_old(self, mtime: float) -> bool:
        return mtime < time.time() - self.config.watch.at_most

    @cached_property
    def _limits(self) -> images.ImageLimits:
        return image_limits(self.config)
