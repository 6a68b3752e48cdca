"""Builds: `builds/<id>/` is one immutable index; `CURRENT` names the one that was made last."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import MANIFEST, Manifest, damaged, read_manifest, remove, write_atomic
from pipeline.index.base import Ids, parse_matrix
from pipeline.integrity import read_current, read_published

INDEX_FILE, PHOTOS_FILE, IDS_FILE = "index.faiss", "photos.npy", "ids.npy"
CALIBRATION_FILE = "calibration.json"
_FIELDS = {"engine", "fingerprint", "model", "dim", "rows", "items", "index"}


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
    def _starts(self) -> Ids:
        """(rows + 1,): where the entries of each row begin in `ids`."""
        return np.searchsorted(self.ids[:, 0], np.arange(self.rows + 1))


@dataclass(frozen=True)
class Build:
    """A complete index: rows are distinct photos, results the items that show them."""

    path: Path
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model whose vectors it holds."""
        return str(self.manifest["fingerprint"])

    @property
    def index_file(self) -> Path:
        """The vectors, as a plain FAISS file."""
        return self.path / INDEX_FILE

    @property
    def without_direction(self) -> int:
        """How many photos are left out, because their vectors are zero: see `build_index`."""
        return int(self.manifest.get("without_direction", 0))

    @property
    def kind(self) -> str:
        """The type of its index, as `IndexSettings.type` names it."""
        return str(self.manifest["index"]["type"])

    @cached_property
    def photos(self) -> npt.NDArray[np.uint8]:
        """(rows, 32) uint8: SHA-256 of the photo of each row."""
        return parse_matrix(self.path / PHOTOS_FILE, self.read_file(PHOTOS_FILE), np.uint8)

    @cached_property
    def ids(self) -> Ids:
        """(m, 2) int64: (row, item id), sorted; the items that show each row's photo."""
        return parse_matrix(self.path / IDS_FILE, self.read_file(IDS_FILE), np.int64)

    def read_file(self, name: str) -> bytes:
        """Read a small file of it; raises as `integrity.read_published` does."""
        return read_published(self.path, self.manifest, name)

    @property
    def index_files(self) -> list[str]:
        """The names of its files that belong to the index, and are read in place."""
        return sorted(self.manifest["files"].keys() - {PHOTOS_FILE, IDS_FILE, CALIBRATION_FILE})

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
        return self._row_items.expand_rows(rows)

    @cached_property
    def _row_items(self) -> RowItems:
        return RowItems(len(self.photos), self.ids)


class BuildStore:
    """All builds of one engine."""

    def __init__(self, engine_folder: Path) -> None:
        self.folder = engine_folder / "builds"
        self.current_file = engine_folder / "CURRENT"

    def current(self) -> Build | None:
        """Return the build that was made last, or None if there is none yet; raises as `get`."""
        name = self.current_name()
        return None if name is None else self.get(name)

    def get(self, name: str) -> Build | None:
        """Return the build of this name, or None if there is none.

        Raises:
            DamagedArtifactError: it is incomplete.
        """
        folder = self.folder / name
        if not folder.is_dir():
            return None
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
        """Make a build the one that was made last."""
        (self.folder / name).touch()
        write_atomic(self.current_file, f"{name}\n".encode())

    def remove_unneeded(self, kept_builds: Collection[str]) -> None:
        """Remove every build but those of these names, and the one that was made last."""
        for path in self.all():
            if path.name not in {*kept_builds, self.current_name()}:
                remove(path)
