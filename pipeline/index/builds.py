"""Builds: `builds/<id>/` is one immutable index; `CURRENT` names the one that was built last.

A build names the segments that hold its vectors, which builds share, and says which of their rows
have been changed since they were sealed: `changes.npy`, (row, item id).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.artifacts import MANIFEST, Manifest, damaged, read_manifest, remove, write_atomic
from pipeline.embeddings.arrays import Hashes, Ids, parse_matrix
from pipeline.embeddings.segment import Segment, SegmentStore
from pipeline.errors import DamagedArtifactError
from pipeline.index.recall import PromisedRecall
from pipeline.index.segment_rows import SegmentRows
from pipeline.integrity import read_current, read_published

CHANGES_FILE, CALIBRATION_FILE = "changes.npy", "calibration.json"
SEGMENTS = "segments"
"""The folder of an engine's segments, beside those of its builds and models."""
_FIELDS = {"engine", "fingerprint", "model", "dim", "rows", "items", "index", "segments"}


@dataclass(frozen=True)
class RowItems:
    """Which items show the photo of each row."""

    rows: int
    """How many there are."""
    ids: Ids
    """(m, 2): (row, item id), sorted."""

    def expand_rows(self, rows: Ids) -> tuple[Ids, Ids]:
        """(n,) rows → the entries of `ids` that are theirs, in order; (n,) how many each has."""
        first, last = self._starts[rows], self._starts[rows + 1]
        counts = last - first
        # Each entry's position among those of its row, added to where that row's entries begin.
        positions = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(first, counts) + positions, counts

    @cached_property
    def first(self) -> Ids:
        """(rows,): the first item of each row, if every row has one."""
        first: Ids = self.ids[self._starts[:-1], 1]
        return first

    @cached_property
    def counts(self) -> Ids:
        """(rows,): how many items show each row."""
        return np.diff(self._starts)

    @cached_property
    def _starts(self) -> Ids:
        """(rows + 1,): where the entries of each row begin in `ids`."""
        counts = np.bincount(self.ids[:, 0], minlength=self.rows)
        return np.append(0, np.cumsum(counts))


@dataclass(frozen=True)
class Build:
    """A complete index: rows are distinct photos, results the items that show them."""

    path: Path
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model whose vectors it holds."""
        return str(self.manifest["fingerprint"])

    @cached_property
    def segments(self) -> list[Segment]:
        """What holds its vectors.

        Raises:
            DamagedArtifactError: one is missing, or its manifest is not what was written.
        """
        store = SegmentStore(self.path.parent.parent / SEGMENTS)
        return [store.open(name) for name in self.manifest["segments"]]

    @property
    def folders(self) -> list[Path]:
        """Where its files are: its own folder, and those of its segments."""
        return [self.path, *(segment.path for segment in self.segments)]

    @property
    def without_direction(self) -> int:
        """How many photos are left out, because their vectors are zero: see `build_index`."""
        return int(self.manifest.get("without_direction", 0))

    @property
    def kind(self) -> str:
        """The type of its index, as `IndexSettings.type` names it."""
        return str(self.manifest["index"]["type"])

    @property
    def recall(self) -> PromisedRecall | None:
        """What it promises, and what was measured; None if all its answers are exact."""
        content = self.manifest.get("recall")
        return None if content is None else PromisedRecall.from_dict(content)

    @cached_property
    def segment_rows(self) -> SegmentRows:
        """The rows of its segments, of which the live ones are its own."""
        changes = parse_matrix(self.path / CHANGES_FILE, self.read_file(CHANGES_FILE), np.int64)
        return SegmentRows.of(self.segments, changes)

    @cached_property
    def photos(self) -> Hashes:
        """(rows, 32) uint8: SHA-256 of the photo of each row."""
        return self.segment_rows.live_hashes

    @cached_property
    def ids(self) -> Ids:
        """(m, 2) int64: (row, item id), sorted; the items that show each row's photo."""
        return self.segment_rows.live_ids

    def read_file(self, name: str) -> bytes:
        """Read a small file of it; raises as `integrity.read_published` does."""
        return read_published(self.path, self.manifest, name)

    def read(self) -> Build:
        """Read the arrays now, so that later only the index is read from the disk."""
        _ = self.photos, self.ids
        return self

    def rows_of(self, item: int) -> Ids:
        """Return the rows whose photo the item shows, ascending."""
        rows: Ids = self.ids[self.ids[:, 1] == item, 0]
        return rows

    def expand_rows(self, rows: Ids) -> tuple[Ids, Ids]:
        """Like `RowItems.expand_rows`."""
        return self.row_items.expand_rows(rows)

    @cached_property
    def row_items(self) -> RowItems:
        """Which items show the photo of each row."""
        return RowItems(len(self.photos), self.ids)


class BuildStore:
    """All builds of one engine."""

    def __init__(self, engine_folder: Path) -> None:
        self.folder = engine_folder / "builds"
        self.segments = SegmentStore(engine_folder / SEGMENTS)
        self.current_file = engine_folder / "CURRENT"

    def current(self) -> Build | None:
        """Return the build that was made last, or None if there is none yet.

        What an earlier version of this program made is none: its vectors become a new one.

        Raises:
            DamagedArtifactError: it is incomplete.
        """
        name = self.current_name()
        if name is None or not (self.folder / name).is_dir():
            return None
        manifest = read_manifest(self.folder / name)
        return Build(self.folder / name, manifest) if manifest.keys() >= _FIELDS else None

    def open(self, name: str) -> Build:
        """Return the build of this name.

        Raises:
            DamagedArtifactError: it is incomplete, or an earlier version of this program made it.
        """
        folder = self.folder / name
        manifest = read_manifest(folder)
        if not manifest.keys() >= _FIELDS:
            raise damaged(folder / MANIFEST, "it describes no index")
        return Build(folder, manifest)

    def current_name(self) -> str | None:
        """Return the name of the build that was made last, which may be gone; None if none."""
        return read_current(self.current_file)

    def all(self) -> list[Path]:
        """Return the folders of all builds, the latest last."""
        folders = [path for path in self.folder.glob("[0-9a-f]*") if path.is_dir()]
        return sorted(folders, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def use(self, name: str) -> None:
        """Make a build the current one."""
        (self.folder / name).touch()  # the latest is the one last used
        if self.current_name() != name:
            write_atomic(self.current_file, f"{name}\n".encode())

    def remove_unneeded(self, kept_builds: Collection[str]) -> None:
        """Delete all builds but these and the current one, and the segments that no build needs."""
        for path in self.all():
            if path.name not in kept_builds and path.name != self.current_name():
                remove(path)
        try:
            kept = [self.open(path.name) for path in self.all()]
        except DamagedArtifactError:
            return  # which segments it needs cannot be told
        needed = {name for build in kept for name in build.manifest[SEGMENTS]}
        for path in self.segments.paths():
            if path.name not in needed:
                remove(path)
