"""What a source's files look like at one moment, without opening any of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import FolderSettings, TableSettings, expand
from pipeline.config.sources import SourceSettings
from pipeline.errors import ConfigError, SourceError
from pipeline.sources.walk import TreeWalk, path_text

FileState = tuple[int | str, ...]
"""Size, mtime, ctime and inode of a file, or why it has none: compared for equality only."""
Look = Mapping[str, FileState]
"""Path of each file, below the folder of a source, → its state."""

ROOT = "."
"""The entry of a look for the folder itself: another device or inode is another folder."""
# What browsers and copying programs call a file until it is whole.
_TEMPORARY = (".crdownload", ".download", ".filepart", ".opdownload", ".part", ".partial", ".temp",
              ".tmp")  # fmt: skip


@dataclass(frozen=True)
class SourceFiles:
    """The files that a source is read from."""

    root: Path
    """The folder that paths are relative to."""
    files: tuple[Path, ...] = ()
    """Files without which the source cannot be read: a table, the metadata of photos."""
    has_tree: bool = False
    """Whether every file below the root counts."""

    @property
    def path(self) -> Path:
        """The folder or table itself."""
        return self.root if self.has_tree else self.files[0]

    @property
    def essential(self) -> frozenset[str]:
        """The entries of a look that must have settled before anything is read."""
        return frozenset({ROOT, *map(str, self.files)})

    def look(self) -> Look:
        """Return the state of each file as it is now; a folder that cannot be read has none.

        Names of files that are not written to their end, such as `cap.jpg.part`, are left out.

            source_files(config.source).look()["caps/2.jpg"]
        """
        look: dict[str, FileState] = {str(file): state_of(file) for file in self.files}
        if self.has_tree:
            try:
                look |= _list(self.root)
            except (SourceError, OSError) as error:  # ingest will say so, and what to do
                look[ROOT] = (str(error),)
        return look


def source_files(source: SourceSettings) -> SourceFiles:
    """Say what files a source is read from.

    Raises:
        ConfigError: from none that could change.
    """
    if isinstance(source, FolderSettings):
        root = expand(source.path).absolute()
        metadata = [root / expand(source.metadata.file)] if source.metadata else []
        return SourceFiles(root, tuple(metadata), has_tree=True)
    if isinstance(source, TableSettings):
        path = expand(source.path).absolute()
        return SourceFiles(path.parent, (path,))
    hint = "set `source` to a folder of photos or to a table"
    raise ConfigError(f"a source of type {source.type} never changes", where="source", hint=hint)


def state_of(path: str | Path) -> FileState:
    """Return the state of one file, or why it cannot be had."""
    try:
        status = os.stat(path)  # noqa: PTH116 (a look takes half as long without Path)
    except OSError as error:
        return (str(error.strerror),)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _list(root: Path) -> dict[str, FileState]:
    listing = _Listing(root)
    listing.run()
    for link in listing.photos:  # that lead to nothing
        listing.add(link)
    status = root.stat()
    return listing.states | {ROOT: (status.st_dev, status.st_ino)}


class _Listing(TreeWalk):
    """Visits what `walk` visits, and notes the states of files instead of what they are."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.states: dict[str, FileState] = {}
        self._prefix = os.path.join(root, "")  # noqa: PTH118

    def add(self, path: str) -> None:
        """Note the state of a file, unless its name says that it is not written to its end."""
        if not path.lower().endswith(_TEMPORARY):
            self.states[path_text(path)] = state_of(self._prefix + path)

    _file = add

    def _leave_out(self, path: str, kind: str, reason: str, *, is_unread: bool = False) -> None:
        self.states[path_text(path)] = (reason,)
