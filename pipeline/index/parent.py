"""What the next build of an engine begins with: the one before it, and what changed since."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.catalog.catalog import Catalog
from pipeline.embeddings.arrays import Ids
from pipeline.embeddings.salvage import salvage
from pipeline.embeddings.segment import Segment, SegmentStore
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import DamagedArtifactError
from pipeline.index.builds import SEGMENTS, Build, BuildStore
from pipeline.index.segment_rows import SegmentRows
from pipeline.integrity import check_folder


@dataclass(frozen=True)
class Parent:
    """Segments to begin with, and the items to look at."""

    segments: list[Segment]
    build: Build | None = None
    """Whose segments these are, all of them."""
    changed: Ids | None = None
    """Ids of the items that have changed since, ascending; None if any may have."""

    @cached_property
    def rows(self) -> SegmentRows:
        """The rows of the segments."""
        if self.build is not None:
            return self.build.segment_rows
        return SegmentRows.of(self.segments, np.empty((0, 2), np.int64))

    @property
    def is_up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return self.build is not None and self.changed is not None and not len(self.changed)


def find_parent(
    catalog: Catalog, builds: BuildStore, vectors: EmbeddingStore, description: Mapping[str, Any]
) -> Parent:
    """Return what to begin the next build with.

    A damaged segment is removed, but for the vectors that can be saved: see `salvage`.
    `description` is what the manifest of a build says of it whatever photos it holds: a build of
    another model or another type of index is no parent.

        find_parent(catalog, engine.builds, vectors, describe(name, model, config.index)).changed
    """
    build = _last_build(builds)
    if build is None or any(build.manifest.get(key) != description[key] for key in description):
        return Parent([])
    names = build.manifest[SEGMENTS]
    segments = [one for name in names if (one := _whole(builds.segments, name, vectors))]
    if len(segments) < len(names) or not _is_intact(build.path):
        return Parent(segments)
    return Parent(segments, build, _changed_since(catalog, build))


def note_indexed(catalog: Catalog, build: Build, generation: int) -> None:
    """Have the ledger remember that a build is the index of what it was in this generation.

    It is the ledger that says this, so that a build is never taken for one of another ledger.
    """
    if _indexed(catalog, build) != generation:
        catalog.set_meta(_meta_name(build), f"{build.path.name} {generation}")


def _changed_since(catalog: Catalog, build: Build) -> Ids | None:
    generation = _indexed(catalog, build)
    # Of a generation that is not kept it is not known which photos were taken from an item since.
    if generation not in catalog.sealed_generations():
        return None
    # A photo that had no vector then may have one now, though its item is the same.
    if build.manifest["without_vector"]:
        return None
    return catalog.changed_items(generation)


def _indexed(catalog: Catalog, build: Build) -> int:
    """The generation of the ledger that a build is the index of; 0 if the ledger knows of none."""
    name, _, generation = (catalog.get_meta(_meta_name(build)) or "").partition(" ")
    return int(generation) if name == build.path.name else 0


def _meta_name(build: Build) -> str:
    return f"index of {build.manifest['engine']}"


def _last_build(builds: BuildStore) -> Build | None:
    try:
        return builds.current()
    except DamagedArtifactError:
        return None


def _whole(segments: SegmentStore, name: str, vectors: EmbeddingStore) -> Segment | None:
    """A segment, unless it is missing or damaged."""
    folder = segments.folder / name
    if _is_intact(folder):
        return segments.open(name)
    if os.path.lexists(folder):
        salvage(folder, vectors.folder.parent)
    return None


def _is_intact(folder: Path) -> bool:
    try:
        check_folder(folder)
    except DamagedArtifactError:
        return False
    return True
