"""Builds: `builds/<id>/` is one immutable index; `CURRENT` names the one that answers queries."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import MANIFEST, Manifest, damaged, read_manifest, write_atomic
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
        """Return the build that answers queries, or None if there is none yet.

        Raises:
            DamagedArtifactError: it is incomplete.
        """
        name = self.current_name()
        if name is None or not (self.folder / name).is_dir():
            return None
        folder = self.folder / name
        manifest = read_manifest(folder)
        if not manifest.keys() >= _FIELDS:
            raise damaged(folder / MANIFEST, "it describes no index")
        return Build(folder, manifest)

    def current_name(self) -> str | None:
        """Return the name of the build that answers queries, which may be gone; None if none."""
        return read_current(self.current_file)

    def all(self) -> list[Path]:
        """Return the folders of all builds, the latest last."""
        folders = [path for path in self.folder.glob("[0-9a-f]*") if path.is_dir()]
        return sorted(folders, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def use(self, name: str, keep: int) -> None:
        """Make a build the current one, and delete all but the latest `keep`."""
        (self.folder / name).touch()  # the latest is the one last used
        write_atomic(self.current_file, f"{name}\n".encode())
        others = [path for path in self.all() if path.name != name]  # whatever the clock says
        for path in others[: max(0, len(others) + 1 - keep)]:
            shutil.rmtree(path, ignore_errors=True)
