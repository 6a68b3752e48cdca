"""sources/walk.py: trees of every kind of entry, against what was put into them."""

from __future__ import annotations

import errno
import os
import random
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SourceError
from pipeline.sources import walk as walking
from pipeline.sources.base import LeftOut, MountPoint
from pipeline.sources.walk import photos_below, walk
from tests.conftest import png

PICTURE = png((200, 30, 30))


def write(root: Path, *names: str, data: bytes = PICTURE) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def found(root: Path) -> list[str]:
    return [photo.as_posix() for photo in photos_below(root)]


def left_out(root: Path) -> dict[str, str]:
    """Path → kind and reason of all that is left out."""
    return {other.path: f"{other.kind}: {other.reason}" for other in walk(root).left_out}


# -- Names and content -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(
            "photo.pjpeg",
            "animated.apng",
            "w.dib",
            "no-extension",
            "saved.jpg_large",
            "saved.jpg.1",
        ),
        *("saved.jpg?w=300", "a.txt", "a.png.part", "a.JSON", "a b .PnG ", "новое фото", "a\nb"),
        *("-rf", "a.", "%s", "\N{WINKING FACE}", "x" * 255, "a.jpg~", "IMG_1(2)", "catalog.sqlite"),
    ],
)
def test_a_file_is_a_photo_by_its_content_whatever_its_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    assert found(tmp_path) == [name]
    write(tmp_path, name, data=b"words")
    assert found(tmp_path) == [name] * (Path(name).suffix in walking.SUFFIXES)


_STEMS = st.binary(min_size=1, max_size=60).filter(
    lambda stem: not set(b"/\0") & set(stem) and not stem.startswith(b".")
)
_NAMES = st.builds(bytes.__add__, _STEMS, st.sampled_from([b"", b"~", b".1", b".jpg", b".HEIC"]))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(_NAMES, st.sampled_from([PICTURE, b"words", b""]), max_size=8))
def test_names_of_any_bytes_are_photos_or_left_out(files: dict[bytes, bytes]) -> None:
    files = {name: files[name] for name in files if not name.lower().endswith((b".thm", b".nef"))}
    with TemporaryDirectory() as folder:
        for name, data in files.items():
            Path(folder, os.fsdecode(name)).write_bytes(data)
        contents = walk(Path(folder))
    photos = {n for n, data in files.items() if data == PICTURE or n.endswith((b".jpg", b".HEIC"))}
    assert {os.fsencode(photo) for photo in contents.photos} == photos
    assert Counter(other.path for other in contents.left_out) == Counter(
        name.decode("utf-8", "backslashreplace") for name in files.keys() - photos
    )


def test_other_files_are_counted_by_their_suffix(tmp_path: Path) -> None:
    write(tmp_path, "a.xyz", "p/b.XYZ", "c.tar.gz", "d", "e.not a suffix", "f.jpg.", data=b"words")
    write(tmp_path, "zero.txt", "zero", data=b"")
    write(tmp_path, "a.psd", data=b"8BPS and so on")
    write(tmp_path, "raw.CR2", "raw.nef", data=b"II*\0 a TIFF by its first bytes")
    assert left_out(tmp_path) == {
        "a.xyz": ".xyz: not an image",
        "p/b.XYZ": ".xyz: not an image",
        "c.tar.gz": ".gz: not an image",
        "d": "file: not an image",
        "e.not a suffix": "file: not an image",
        "f.jpg.": "file: not an image",
        "zero.txt": ".txt: empty",
        "zero": "file: empty",
        "a.psd": ".psd: unsupported format",
        "raw.CR2": ".cr2: raw file of a camera",
        "raw.nef": ".nef: raw file of a camera",
    }
    assert found(tmp_path) == []


def test_files_that_say_they_are_photos_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.HEIC", data=b"words")  # ingest says what is wrong with them
    assert found(tmp_path) == ["a.jpg", "b.HEIC"]


def test_what_systems_leave_behind_is_no_product(tmp_path: Path) -> None:
    write(tmp_path, ".DS_Store", "Thumbs.db", "desktop.ini", "._a.jpg", ".hidden.jpg", "Icon\r")
    write(tmp_path, "@eaDir/a.jpg/SYNOFILE_THUMB_M.jpg", "__MACOSX/._a.jpg", ".Trash-1000/a.jpg")
    write(tmp_path, "p/.git/a.png", "p/IMG_1.aae", "p/IMG_1.xmp", "p/VID_1.THM", "lost+found/a.jpg")
    contents = walk(tmp_path)
    assert (contents.photos, contents.left_out) == ([], [])


def test_a_catalog_of_this_program_is_no_source(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "indexes/shop/catalog.sqlite", "indexes/shop/vgg16/model/1/loss.png")
    assert found(tmp_path) == ["a.jpg"]
    assert left_out(tmp_path) == {"indexes/shop": "folder: a catalog of imgsearch"}


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.jpg").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket"))
        assert left_out(tmp_path) == {
            "pipe.jpg": ".jpg: not a regular file",
            "pipe": "file: not a regular file",
            "socket": "file: not a regular file",
            "link.jpg": "link: not to a regular file",
        }


def test_names_that_differ_only_by_case_or_by_unicode_are_files_of_their_own(
    tmp_path: Path,
) -> None:
    names = ["A.jpg", "a.jpg", "cafe\u0301.jpg", "caf\u00e9.jpg"]
    write(tmp_path, *names)
    there = [file.name for file in tmp_path.iterdir()]  # not all of them on every system
    assert sorted(found(tmp_path)) == sorted(set(names) & set(there))


def test_a_name_that_is_not_utf_8_is_shown_in_text(tmp_path: Path) -> None:
    write(tmp_path, os.fsdecode(b"caf\xe9"), data=b"words")
    assert left_out(tmp_path) == {"caf\\xe9": "file: not an image"}


# -- Links -----------------------------------------------------------------------------------------


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path, "root/a.png", "root/p/b.png", "other/c.png", "other/q/d.png")
    for link, target in {
        "2021": "../other",
        "again": "../other",
        "deep": "../other/q",
        "loop": ".",
        "p/back": "..",
        "zz": "p",
    }.items():
        (tmp_path / "root" / link).symlink_to(target)
    (tmp_path / "other" / "round").symlink_to("../root/p")
    assert found(tmp_path / "root") == ["2021/c.png", "2021/q/d.png", "a.png", "p/b.png"]
    assert left_out(tmp_path / "root") == {}


def test_a_folder_in_a_linked_one_may_be_linked_itself(tmp_path: Path) -> None:
    write(tmp_path, "other/q/d.png", "other/c.png", "root/x/y")
    (tmp_path / "root" / "a").symlink_to("../other/q")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "other")
    assert found(tmp_path / "root") == ["a/d.png", "b/c.png", "x/y"]


def test_a_link_around_the_root_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "root/a.png", "b.png")
    (tmp_path / "root" / "up").symlink_to("..")
    (tmp_path / "root" / "all").symlink_to("/")
    assert found(tmp_path / "root") == ["a.png"]
    assert set(left_out(tmp_path / "root").values()) == {"link: leads to a folder around this one"}


def test_links_to_files_are_files(tmp_path: Path) -> None:
    write(tmp_path, "root/a.png", "b", "c.txt")
    for name, target in {"one": "a.png", "two.jpg": "../b", "three.doc": "../c.txt"}.items():
        (tmp_path / "root" / name).symlink_to(target)
    assert found(tmp_path / "root") == ["a.png", "one", "three.doc", "two.jpg"]


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    (tmp_path / "drive").symlink_to("/nowhere/at all")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "photo.jpg").symlink_to("gone.jpg")
    assert found(tmp_path) == ["photo.jpg"]  # of which ingest says that it is missing
    assert left_out(tmp_path) == {
        "drive": "link: cannot be read: No such file or directory",
        "self": "link: cannot be read: Too many levels of symbolic links",
    }


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path, "real/a.png", "real/p/b.png")
    (tmp_path / "real/p/up").symlink_to("..")
    (tmp_path / "root").symlink_to("real")
    assert found(tmp_path / "root") == ["a.png", "p/b.png"]


# -- Errors ----------------------------------------------------------------------------------------

Fault = Callable[[Collection[str], int], None]


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    """Let folders and files of a name fail to open; tests may run as root, who may read all."""
    scandir, open_ = os.scandir, Path.open

    def fail(names: Collection[str], number: int) -> None:
        def check(path: object) -> None:
            if isinstance(path, Path) and path.name in names:
                raise OSError(number, os.strerror(number), str(path))

        def list_folder(path: Path) -> Iterator[os.DirEntry[str]]:
            check(path)
            return scandir(path)

        def open_file(path: Path, *args: object, **kwargs: object) -> object:
            check(path)
            return open_(path, *args, **kwargs)  # type: ignore[call-overload]

        monkeypatch.setattr(walking.os, "scandir", list_folder)
        monkeypatch.setattr(Path, "open", open_file)

    return fail


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOTCONN, errno.ESTALE])
def test_what_cannot_be_read_is_named_and_is_unread(
    tmp_path: Path, fault: Fault, number: int
) -> None:
    write(tmp_path, "a.png", "p/locked/b.png", "q/c.png", "q/d")
    fault(["locked", "d"], number)
    assert found(tmp_path) == ["a.png", "q/c.png"]
    why = f"cannot be read: {os.strerror(number)}"
    assert walk(tmp_path).left_out == [
        LeftOut("p/locked", "folder", why, is_unread=True),
        LeftOut("q/d", "file", why, is_unread=True),
    ]


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENOMEM])
@pytest.mark.parametrize("name", ["p", "a file"])
def test_a_bad_disk_or_too_few_descriptors_stop_the_walk(
    tmp_path: Path, fault: Fault, number: int, name: str
) -> None:
    write(tmp_path, "a file", "p/b.png")
    fault([name], number)
    with pytest.raises(OSError, match=os.strerror(number)):
        walk(tmp_path)


def test_a_root_that_cannot_be_read_is_an_error(tmp_path: Path, fault: Fault) -> None:
    (tmp_path / "root").mkdir()
    fault(["root"], errno.EACCES)
    with pytest.raises(SourceError, match="root: cannot be read: Permission denied; check that"):
        walk(tmp_path / "root")


def test_what_vanishes_during_the_walk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.png", "b", "p/c.png")
    entry = walking.TreeWalk._entry

    def delete_first(self: walking.TreeWalk, found: os.DirEntry[str], path: str) -> None:
        (tmp_path / "b").unlink(missing_ok=True)
        (tmp_path / "p/c.png").unlink(missing_ok=True)
        if (tmp_path / "p").exists():
            (tmp_path / "p").rmdir()
        entry(self, found, path)

    monkeypatch.setattr(walking.TreeWalk, "_entry", delete_first)
    contents = walk(tmp_path)
    assert contents.photos == [Path("a.png")]
    assert {other.path: other.is_unread for other in contents.left_out} == {"b": True, "p": True}


def test_empty_folders_and_mount_points_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.png", "p/b.png", "p/q/c.png", "drive/d.png", "drive/p/e.png")
    (tmp_path / "empty").mkdir()
    write(tmp_path, "as empty/.hidden")
    identity = walking._identity

    def with_a_drive(folder: Path) -> tuple[int, int]:
        device, inode = identity(folder)
        return device + folder.resolve().is_relative_to(tmp_path / "drive"), inode

    monkeypatch.setattr(walking, "_identity", with_a_drive)
    assert set(walk(tmp_path).mount_points) == {
        MountPoint("empty", False),
        MountPoint("as empty", False),
        MountPoint("drive", True),
    }


def test_paths_longer_than_the_system_takes_are_named(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    before, deep = Path.cwd(), 0
    try:
        os.chdir(tmp_path)
        while deep < 20:
            Path("d" * 250).mkdir()
            os.chdir("d" * 250)
            deep += 1
        Path("b.png").write_bytes(PICTURE)
    finally:
        os.chdir(before)
    assert found(tmp_path) == ["a.png"]
    (reason,) = left_out(tmp_path).values()
    assert reason == "folder: cannot be read: File name too long"
    shutil.rmtree(tmp_path / ("d" * 250))


# -- Random trees ----------------------------------------------------------------------------------

_PHOTOS = ["{}.jpg", "{}.PNG", "{}", "{}.jpg_large", "{}.webp?w=3", "{}.json", "{}.tiff"]
_OTHERS = ["{}.txt", "{}", "{}.xyz", "{}.mp4"]
_LEFTOVERS = [".{}", "._{}.jpg", "{}.xmp", "{}.AAE"]


class Tree:
    """A random tree, and what a walk has to find in it: known from how it was made."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.rng = root, random.Random(seed)
        self.photos: set[Path] = set()
        """Real paths of all photos that can be reached."""
        self.others: set[Path] = set()
        self.unread: set[str] = set()
        """Names of folders that cannot be read."""
        self.names = iter(range(10_000))
        self.reachable: list[Path] = []
        self._fill(root / "root", 0)
        for _ in range(self.rng.randrange(4)):
            self._fill(outside := root / f"outside{next(self.names)}", 1, linked=True)
            self._link(outside)
        for _ in range(self.rng.randrange(4)):
            self._link(self.rng.choice(self.reachable))

    def _fill(self, folder: Path, depth: int, *, linked: bool = False) -> None:
        folder.mkdir(parents=True)
        self.reachable.append(folder)
        for _ in range(self.rng.randrange(6)):
            self._write(folder)
        for _ in range(self.rng.randrange(4) if depth < 3 else 0):
            below = folder / f"{self.rng.choice(['d', 'e.jpg', 'f g'])}{next(self.names)}"
            if self.rng.random() < 0.2:
                self._make_unread(below)
            else:
                self._fill(below, depth + 1)

    def _write(self, folder: Path) -> None:
        pattern = self.rng.choice([*_PHOTOS, *_OTHERS, *_LEFTOVERS])
        file = folder / pattern.format(next(self.names))
        is_photo = pattern in _PHOTOS and (pattern not in _OTHERS or self.rng.random() < 0.5)
        file.write_bytes(PICTURE if is_photo else b"words")
        if pattern not in _LEFTOVERS:
            (self.photos if is_photo else self.others).add(file)

    def _make_unread(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "x.jpg").write_bytes(PICTURE)
        self.unread.add(folder.name)

    def _link(self, target: Path) -> None:
        """Lead to a folder from another that can be reached, so that it can be reached too."""
        inside = [f for f in self.reachable if f.is_relative_to(self.root / "root")]
        (self.rng.choice(inside) / f"link{next(self.names)}").symlink_to(target)


@pytest.mark.soak
def test_every_file_of_a_random_tree_is_found_or_left_out(
    tmp_path: Path, fault: Fault, soak: bool
) -> None:
    for seed in range(2000 if soak else 20):
        tree = Tree(tmp_path / str(seed), seed)
        fault(tree.unread, errno.EACCES)
        contents = walk(tree.root / "root")
        real = [(tree.root / "root" / photo).resolve() for photo in contents.photos]
        assert Counter(real) == Counter(file.resolve() for file in tree.photos), seed
        unread = {other.path for other in contents.left_out if other.is_unread}
        assert {Path(path).name for path in unread} == tree.unread, seed
        rest = [
            (tree.root / "root" / other.path).resolve()
            for other in contents.left_out
            if not other.is_unread
        ]
        assert Counter(rest) == Counter(file.resolve() for file in tree.others), seed
        shutil.rmtree(tree.root)
