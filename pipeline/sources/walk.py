"""A folder on disk → the photos below it, and every other file with the reason why it is none."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from errno import EACCES, ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOTCONN, ENOTDIR, EPERM, ESTALE
from functools import cached_property
from heapq import heappop, heappush
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from pipeline.errors import SourceGoneError
from pipeline.images import Reject, sniff
from pipeline.images.formats import is_other_format
from pipeline.sources.base import LeftOut, MountPoint
from pipeline.sources.natural_order import natural_key

SUFFIXES = (".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif",
            ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pjp", ".pjpeg", ".png", ".tif", ".tiff",
            ".webp")  # fmt: skip
"""What names of photos end in; a file of any other name is a photo if its first bytes say so."""

# Most begin as a TIFF does, and hold a small preview where a TIFF has its picture.
_RAW_SUFFIXES = (".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc",
                 ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".sr2",
                 ".srf", ".srw", ".x3f")  # fmt: skip
# What systems, cameras and editors leave behind, and every hidden name.
_LEFTOVERS = {"#recycle", "$recycle.bin", "@eadir", "__macosx", "desktop.ini", "ehthumbs.db",
              "icon\r", "lost+found", "picasa.ini", "system volume information",
              "thumbs.db"}  # fmt: skip
_SIDECARS = (".aae", ".pp3", ".thm", ".xmp")
_CATALOG = "catalog.sqlite"  # the folder with it was written by this program
_KIND = re.compile(r"\.\w{1,8}")
_HEAD = 64  # bytes that tell the format
# Errors of the system that concern one file or folder; any other error concerns all of them.
_OF_ONE = (EACCES, EPERM, ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, ENODEV, ENOTCONN, ESTALE)

_Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True)
class FolderContents:
    """What is below a folder; what systems leave behind there is in neither list."""

    root: Path
    paths: list[str]
    """Of the photos, relative to the folder, in no order."""
    left_out: list[LeftOut]
    mount_points: list[MountPoint]

    @cached_property
    def ordered(self) -> list[str]:
        """The same in natural order."""
        # The order of a directory differs between machines, and ids and splits follow it.
        return sorted(self.paths, key=natural_key)

    @cached_property
    def photos(self) -> list[Path]:
        """The same in natural order, as paths."""
        return list(map(Path, self.ordered))

    @cached_property
    def version(self) -> str | None:
        """What changes when a photo does, or any other entry; None if not all can be looked at.

        The photos are not opened: it is their size, and when they and their files were changed.
        """
        if any(one.is_unread for one in self.left_out):
            return None
        others = [_identity(self.root), self.left_out, self.mount_points]
        version = hashlib.sha256(repr(others).encode("utf-8", "surrogateescape"))
        try:
            for path in sorted(self.paths):
                status = os.stat(f"{self.root}/{path}")  # noqa: PTH116  there may be millions
                state = f"{path}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0"
                version.update(os.fsencode(state))
        except OSError:
            return None
        return version.hexdigest()


def walk(root: Path) -> FolderContents:
    """Look at every file below a folder, without opening any whose suffix says enough.

    Links to files are followed, and links to folders too, wherever they lead: each folder is looked
    into once, where it lies before where a link shows it. A link to a folder around the root is
    left out.

        walk(Path("shop")).photos  # [Path("caps/2.jpg"), Path("caps/10.jpg")]

    Raises:
        SourceGoneError: the folder itself cannot be read.
        OSError: of the disk, or of this process, rather than of one file.
    """
    try:
        walking = TreeWalk(root)
        walking.run()
    except OSError as error:
        if error.errno not in _OF_ONE:
            raise
        hint = "check that it is a folder that you may read"
        raise SourceGoneError(f"cannot be read: {error.strerror}", where=root, hint=hint) from error
    left_out = sorted(walking.left_out, key=lambda left_out: left_out.path)
    return FolderContents(root, walking.photos, left_out, walking.mount_points)


def photos_below(folder: Path) -> list[Path]:
    """Return the photos below a folder, as `walk` does."""
    return walk(folder).photos


def path_text(path: str | Path) -> str:
    """Name a path in valid text: on Linux a file name may be any bytes."""
    text = os.fspath(path)
    if text.isascii():
        return text
    return os.fsencode(text).decode("utf-8", "backslashreplace")


class TreeWalk:
    """One walk through a tree: which entries are looked at, and what its files are; see `walk`."""

    def __init__(self, root: Path) -> None:
        self.photos: list[str] = []
        self.left_out: list[LeftOut] = []
        self.mount_points: list[MountPoint] = []
        self._root = root
        self._folders: list[str] = []  # to look into
        self._links: list[str] = []  # to folders; a heap, looked into after all that lies below
        self._seen: set[_Identity] = set()
        self._around = {_identity(folder) for folder in root.resolve().parents}

    def run(self) -> None:
        """Look into every folder of the tree once."""
        self._list("")
        self._look_into_folders()
        while self._links:
            self._follow(heappop(self._links))

    def _look_into_folders(self) -> None:
        """Look into the folders found so far, and into those in them."""
        while self._folders:
            folder = self._folders.pop()
            try:
                self._list(folder)
            except OSError as error:
                self._unread(folder, "folder", error)

    def _follow(self, link: str) -> None:
        try:
            leads_around = _identity(self._root / link) in self._around
        except OSError as error:
            self._unread(link, "link", error)
            return
        if leads_around:
            self._leave_out(link, "link", "leads to a folder around this one")
        else:
            self._folders.append(link)
            self._look_into_folders()

    def _list(self, folder: str) -> None:
        where = self._root / folder
        identity = _identity(where)
        if identity in self._seen:
            return
        self._seen.add(identity)
        with os.scandir(where) as listing:
            entries = [entry for entry in listing if not _is_leftover(entry.name)]
        is_mounted = _identity(where / "..")[0] != identity[0]
        if folder and (is_mounted or not entries):
            self.mount_points.append(MountPoint(path_text(folder), is_mounted))
        if folder and any(entry.name == _CATALOG for entry in entries):
            self._leave_out(folder, "folder", "a catalog of imgsearch")
            return
        for entry in entries:
            path = os.path.join(folder, entry.name)  # noqa: PTH118
            try:
                self._entry(entry, path)
            except OSError as error:
                self._unread(path, _kind(path), error)

    def _entry(self, entry: os.DirEntry[str], path: str) -> None:
        if entry.is_symlink():
            self._link(path)
        elif entry.is_dir(follow_symlinks=False):
            self._folders.append(path)
        elif entry.is_file(follow_symlinks=False):
            self._file(path)
        else:
            self._leave_out(path, _kind(path), "not a regular file")

    def _link(self, path: str) -> None:
        try:
            mode = (self._root / path).stat().st_mode
        except OSError as error:
            if _suffix(path) in SUFFIXES and error.errno in _OF_ONE:
                self.photos.append(path)  # a photo that is missing
            else:
                self._unread(path, "link", error)
            return
        if S_ISDIR(mode):
            heappush(self._links, path)
        elif S_ISREG(mode):
            self._file(path)
        else:
            self._leave_out(path, "link", "not to a regular file")

    def _file(self, path: str) -> None:
        suffix = _suffix(path)
        if suffix in SUFFIXES:
            self.photos.append(path)
            return
        if suffix in _RAW_SUFFIXES:
            self._leave_out(path, suffix, "raw file of a camera")
            return
        with (self._root / path).open("rb", buffering=0) as file:
            head = file.read(_HEAD)
        if sniff(head):
            self.photos.append(path)
        elif is_other_format(head):
            self._leave_out(path, _kind(path), Reject.UNSUPPORTED_FORMAT)
        else:
            self._leave_out(path, _kind(path), Reject.NOT_AN_IMAGE if head else "empty")

    def _unread(self, path: str, kind: str, error: OSError) -> None:
        if error.errno not in _OF_ONE:
            raise error
        self._leave_out(path, kind, f"cannot be read: {error.strerror}", is_unread=True)

    def _leave_out(self, path: str, kind: str, reason: str, *, is_unread: bool = False) -> None:
        self.left_out.append(LeftOut(path_text(path), kind, str(reason), is_unread))


def _identity(folder: Path) -> _Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_leftover(name: str) -> bool:
    name = name.lower()
    return name.startswith(".") or name in _LEFTOVERS or name.endswith(_SIDECARS)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def _kind(path: str) -> str:
    """What such files are counted as: by their suffix, if it looks like one."""
    suffix = _suffix(path)
    return suffix if _KIND.fullmatch(suffix) else "file"
