"""integrity.py: no altered byte of a published folder is used, and what is intact is read once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import compared as comparisons
from pipeline import integrity
from pipeline.artifacts import Manifest, publish, read_manifest
from pipeline.compared import CHECKED
from pipeline.errors import DamagedArtifactError
from pipeline.integrity import (
    Watch,
    check_published,
    damaged_files,
    drop_file,
    publish_compared,
    read_current,
    read_published,
)

DATA = bytes(range(256)) * 4

Damage = Callable[[Path], object]


def flip(file: Path) -> None:
    """Change a bit; the time of modification stays, as after a clumsy copy."""
    status = file.stat()
    data = bytearray(file.read_bytes())
    data[500] ^= 4
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


DAMAGES: list[Damage] = [
    flip,
    Path.unlink,
    replace_by_folder,
    replace_by_fifo,
    lambda file: file.write_bytes(b""),
    lambda file: os.truncate(file, 1000),
    lambda file: file.write_bytes(DATA + b"x"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with publish(tmp_path / "made", {}) as aside:
        (aside / "data").write_bytes(DATA)
        (aside / "other").write_bytes(b"other")
    return tmp_path / "made"


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    return read_manifest(folder)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the large files that are read and compared; all files are large."""
    names: list[str] = []
    compare = integrity._WatchedFile._compare

    def noted(self: integrity._WatchedFile) -> None:
        names.append(self._path.name)
        compare(self)

    monkeypatch.setattr(integrity._WatchedFile, "_compare", noted)
    monkeypatch.setattr(comparisons, "MIN_REMEMBERED_BYTES", 0)
    monkeypatch.setattr(integrity, "MIN_REMEMBERED_BYTES", 0)
    monkeypatch.setattr(comparisons, "_SETTLED_NS", -(10**18))
    return names


def test_an_intact_file_is_read(folder: Path, manifest: Manifest) -> None:
    assert read_published(folder, manifest, "data") == DATA
    assert check_published(folder, manifest, "data") == folder / "data"
    assert list(damaged_files(folder)) == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("read", [read_published, check_published])
def test_a_damaged_file_is_not_read(
    folder: Path, manifest: Manifest, read: Callable[..., object], damage: Damage
) -> None:
    damage(folder / "data")
    with pytest.raises(DamagedArtifactError, match=f"{folder / 'data'}: damaged: ") as caught:
        read(folder, manifest, "data")
    assert caught.value.remove == folder
    found = [(path, str(error)) for path, error in damaged_files(folder)]
    assert found == [(folder / "data", str(caught.value))]
    assert read(folder, manifest, "other") in (b"other", folder / "other")


def test_a_file_that_no_manifest_lists_is_not_read(folder: Path, manifest: Manifest) -> None:
    (folder / "new").write_bytes(b"new")
    with pytest.raises(DamagedArtifactError, match="its manifest does not list it"):
        read_published(folder, manifest, "new")


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    folder: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(folder / "data"))

    monkeypatch.setattr("pipeline.artifacts.os.open", refuse)
    with pytest.raises(PermissionError):
        read_published(folder, manifest, "data")
    assert [type(error) for _, error in damaged_files(folder)] == [PermissionError]


def test_a_large_file_is_compared_once(
    folder: Path, manifest: Manifest, compared: list[str]
) -> None:
    for _ in range(3):
        check_published(folder, manifest, "data")
        check_published(folder, manifest, "other")
    assert compared == ["data", "other"]


def test_what_was_compared_as_it_was_published_is_not_read_again(
    tmp_path: Path, compared: list[str]
) -> None:
    with publish_compared(tmp_path / "new", {}) as aside:
        (aside / "data").write_bytes(DATA)
        (aside / "other").write_bytes(b"other")
    manifest = read_manifest(tmp_path / "new")
    check_published(tmp_path / "new", manifest, "data")
    assert compared == []
    flip(tmp_path / "new" / "data")
    with pytest.raises(DamagedArtifactError):
        check_published(tmp_path / "new", manifest, "data")
    check_published(tmp_path / "new", manifest, "other")
    assert compared == ["data"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_large_file_that_changes_is_compared_again(
    folder: Path, manifest: Manifest, compared: list[str], damage: Damage
) -> None:
    check_published(folder, manifest, "data")
    damage(folder / "data")
    with pytest.raises(DamagedArtifactError):
        check_published(folder, manifest, "data")


def test_a_copy_is_compared_again(folder: Path, manifest: Manifest, compared: list[str]) -> None:
    check_published(folder, manifest, "data")
    (folder / "data").rename(folder / "old")
    (folder / "data").write_bytes(DATA)
    check_published(folder, manifest, "data")
    assert compared == ["data", "data"]


@pytest.mark.parametrize("damage", [*DAMAGES[1:4], lambda file: file.write_bytes(b"{}")])
def test_what_is_remembered_may_be_lost(
    folder: Path, manifest: Manifest, compared: list[str], damage: Damage
) -> None:
    check_published(folder, manifest, "data")
    damage(folder / CHECKED)
    check_published(folder, manifest, "data")
    assert compared == ["data", "data"]


def test_a_file_that_was_just_written_is_not_remembered(
    folder: Path, manifest: Manifest, compared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "_SETTLED_NS", 10**11)
    check_published(folder, manifest, "data")
    check_published(folder, manifest, "data")
    assert compared == ["data", "data"]
    monkeypatch.setattr(time, "time_ns", lambda: 2 * 10**18)
    check_published(folder, manifest, "data")
    check_published(folder, manifest, "data")
    assert compared == ["data"] * 3


def test_a_small_file_is_not_remembered(folder: Path, manifest: Manifest) -> None:
    check_published(folder, manifest, "data")
    assert not (folder / CHECKED).exists()


def test_a_watched_file_that_changes_is_noticed_and_forgiven_when_it_is_restored(
    folder: Path, manifest: Manifest
) -> None:
    watch = Watch(folder, manifest, ["data", "other"])
    with watch:
        pass
    flip(folder / "data")
    for _ in range(2):
        with pytest.raises(DamagedArtifactError, match="data: damaged: its content has"), watch:
            pytest.fail("the block is not to run")
    flip(folder / "data")
    with watch:
        pass

    def read_altered_bytes() -> None:
        with watch:
            flip(folder / "data")
            raise IndexError  # which is what they may lead to

    with pytest.raises(DamagedArtifactError, match="data: damaged: its content has"):
        read_altered_bytes()
    watch.close()


def test_a_file_is_dropped(folder: Path) -> None:
    replace_by_folder(folder / "data")
    drop_file(folder / "data")
    assert list(damaged_files(folder)) == []
    assert list(read_manifest(folder)["files"]) == ["other"]
    assert not (folder / "data").exists()


def test_a_watched_folder_may_be_removed(folder: Path, manifest: Manifest) -> None:
    watch = Watch(folder, manifest, ["data"])
    (folder / "data").unlink()
    with watch:
        pass
    watch.close()


def test_nothing_stays_open_if_one_file_is_damaged(folder: Path, manifest: Manifest) -> None:
    flip(folder / "data")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(DamagedArtifactError):
        Watch(folder, manifest, ["other", "data"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("text", ["", "\n", "../a1", "a 1", "\ufffd", "a1\nb2"])
def test_a_current_that_names_no_folder(tmp_path: Path, text: str) -> None:
    (tmp_path / "CURRENT").write_text(text)
    assert read_current(tmp_path / "CURRENT") is None


def test_a_current_names_a_folder(tmp_path: Path) -> None:
    assert read_current(tmp_path / "CURRENT") is None
    (tmp_path / "CURRENT").write_text("a1\n")
    assert read_current(tmp_path / "CURRENT") == "a1"


@pytest.mark.parametrize("damage", [replace_by_folder, replace_by_fifo])
def test_a_current_that_is_no_file_is_damaged(tmp_path: Path, damage: Damage) -> None:
    (tmp_path / "CURRENT").write_text("a1\n")
    damage(tmp_path / "CURRENT")
    with pytest.raises(DamagedArtifactError) as caught:
        read_current(tmp_path / "CURRENT")
    assert caught.value.remove == tmp_path / "CURRENT"
