"""store/artifacts.py: files and folders are complete or absent, and damage is noticed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import artifacts, locks
from pipeline.artifacts import (
    digest,
    publish,
    read_json,
    read_manifest,
    read_sealed,
    sha256_file,
    sweep,
    write_atomic,
    write_json,
    write_sealed,
)
from pipeline.errors import BusyError, DamagedArtifactError
from pipeline.locks import lock
from tests.conftest import tree

HOLDER = """
import sys
from pathlib import Path
from pipeline.locks import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


class Killed(BaseException):
    """Stands in for the death of the process."""


@pytest.fixture
def published(tmp_path: Path) -> Path:
    with publish(tmp_path / "made", {"dim": 3}) as aside:
        (aside / "a.bin").write_bytes(b"aaaa")
        (aside / "b.bin").write_bytes(b"")
    return tmp_path / "made"


def die_in(monkeypatch: pytest.MonkeyPatch, target: object, name: str) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(target, name, die)


# -- Names -----------------------------------------------------------------------------------------


def test_a_name_follows_from_the_content_and_not_from_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2.5, None]}) == digest({"b": [2.5, None], "a": 1})
    text = '{"a":1,"b":[2.5,null]}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert digest({"b": [2.5, None], "a": 1}) == expected


@pytest.mark.parametrize("other", [{"a": 2}, {"a": "1"}, {"a": True}, {"b": 1}, [{"a": 1}], {}])
def test_other_content_has_another_name(other: object) -> None:
    assert digest(other) != digest({"a": 1})


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_whatever_is_in_the_place_of_a_lock_serves_as_one(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / ".lock")
    with lock(tmp_path), pytest.raises(BusyError), lock(tmp_path):
        pass
    with lock(tmp_path):
        pass


def test_a_file_of_several_blocks_hashes_as_hashlib_does(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()


# -- Files -----------------------------------------------------------------------------------------


def test_a_written_file_holds_the_data_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_atomic(tmp_path / "f", b"old")
    write_atomic(tmp_path / "f", b"new")
    assert tree(tmp_path) == {"f": b"new"}


def test_json_is_read_back_and_does_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "f", {"b": "é", "a": [1]})
    first = (tmp_path / "f").read_bytes()
    write_json(tmp_path / "f", {"a": [1], "b": "é"})
    assert (tmp_path / "f").read_bytes() == first
    assert read_json(tmp_path / "f") == {"a": [1], "b": "é"}


def test_a_file_may_be_written_in_another_folder_until_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    during: list[dict[str, bytes]] = []
    monkeypatch.setattr(artifacts.os, "fsync", lambda _: during.append(tree(tmp_path)))
    write_atomic(tmp_path / "in" / "f", b"data", aside=tmp_path)
    (aside, data), *others = during[0].items()
    assert (data, others, during[1]) == (b"data", [], {"in/f": b"data"})
    assert re.fullmatch(r"\.f\.[0-9a-f]{12}\.tmp", aside)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_atomic(tmp_path / "f", b"old")
    die_in(monkeypatch, artifacts.os if step == "fsync" else Path, step)
    with pytest.raises(Killed):
        write_atomic(tmp_path / "f", b"new")
    assert tree(tmp_path) == {"f": b"old"}


def test_data_are_on_the_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(artifacts.os, "fsync", lambda fd: (events.append("fsync"), fsync(fd))[1])

    def noted(self: Path, target: Path) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    write_atomic(tmp_path / "f", b"data")
    assert events == ["fsync", "rename", "fsync"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "missing"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not"),
    ],
)
def test_unreadable_json_is_a_damaged_file(
    tmp_path: Path, content: bytes | None, what: str
) -> None:
    file = tmp_path / "f.json"
    if content is not None:
        file.write_bytes(content)
    message = f"{file}: damaged: .*{what}.*delete {tmp_path}"
    with pytest.raises(DamagedArtifactError, match=message) as caught:
        read_json(file)
    assert caught.value.where == str(file)
    assert caught.value.hint == f"delete {tmp_path} and run `imgsearch build`"


# -- Folders ---------------------------------------------------------------------------------------


def test_the_manifest_lists_every_file_with_its_size_and_checksum(published: Path) -> None:
    manifest = json.loads((published / "manifest.json").read_bytes())
    del manifest["checksum"]
    assert manifest == {
        "dim": 3,
        "files": {
            "a.bin": {"bytes": 4, "sha256": hashlib.sha256(b"aaaa").hexdigest()},
            "b.bin": {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
        },
    }
    assert read_manifest(published) == manifest
    assert [path.name for path in published.parent.iterdir()] == ["made"]


def test_a_folder_does_not_exist_before_its_block_ends(tmp_path: Path) -> None:
    with publish(tmp_path / "made", {}) as aside:
        (aside / "a").write_bytes(b"a")
        assert not (tmp_path / "made").exists()
    assert (tmp_path / "made").exists()


def test_a_block_that_fails_publishes_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with publish(tmp_path / "made", {}) as aside:
            (aside / "a").write_bytes(b"a")
            raise Killed

    with pytest.raises(Killed):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_the_block_may_add_to_the_manifest(tmp_path: Path) -> None:
    content: dict[str, object] = {"a": 1}
    with publish(tmp_path / "made", content):
        content["b"] = 2
    assert read_manifest(tmp_path / "made") == {"a": 1, "b": 2, "files": {}}


def test_what_is_published_already_is_kept(published: Path) -> None:
    before = tree(published)
    with publish(published, {"dim": 4}) as aside:
        (aside / "a.bin").write_bytes(b"other")
    assert tree(published) == before
    assert [path.name for path in published.parent.iterdir()] == ["made"]


def test_leftovers_of_a_killed_run_are_not_mixed_in(tmp_path: Path) -> None:
    left = tmp_path / ".made.tmp"
    left.mkdir()
    (left / "half").write_bytes(b"half")
    with publish(tmp_path / "made", {}) as aside:
        (aside / "whole").write_bytes(b"whole")
    assert sorted(read_manifest(tmp_path / "made")["files"]) == ["whole"]


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"{}"),
        lambda file: os.truncate(file, 40),
        lambda file: file.write_bytes(file.read_bytes().replace(b'"dim": 3', b'"dim": 4')),
        lambda file: file.write_bytes(file.read_bytes().replace(b'"dim": 3', b'"dim":  3')),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: (file.unlink(), os.mkfifo(file)),
        lambda file: (file.unlink(), file.symlink_to(file)),
    ],
)
def test_a_manifest_that_is_not_what_was_written_is_refused(
    published: Path, damage: Callable[[Path], object]
) -> None:
    damage(published / "manifest.json")
    with pytest.raises(DamagedArtifactError, match=r"manifest.json: damaged: ") as caught:
        read_manifest(published)
    assert caught.value.remove == published
    assert caught.value.hint == f"delete {published} and run `imgsearch build`"


@pytest.mark.parametrize("files", ["[]", "5", "null"])
def test_a_manifest_without_checksums_is_refused(published: Path, files: str) -> None:
    write_sealed(published / "manifest.json", {"files": json.loads(files)})
    with pytest.raises(DamagedArtifactError, match=r"manifest.json: damaged: it lists no files"):
        read_manifest(published)


def test_what_is_sealed_is_read_back_as_json_has_it(tmp_path: Path) -> None:
    write_sealed(tmp_path / "f", {"counts": {10: 1, 9: 2}, "pair": (1, 2.5), "ü": None})
    expected = {"counts": {"10": 1, "9": 2}, "pair": [1, 2.5], "ü": None}
    assert read_sealed(tmp_path / "f") == expected


def test_every_flipped_bit_of_what_is_sealed_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "f"
    write_sealed(file, {"a": [1, 2], "b": "text", "c": 2.5})
    data = file.read_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        with pytest.raises(DamagedArtifactError):
            read_sealed(file)


def test_sweeping_removes_the_unfinished_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.tmp", ".lock", ".b.training", "c.tmp", "d"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".e.tmp").mkdir()
    (tmp_path / ".e.tmp" / "f").write_bytes(b"x")
    sweep(tmp_path)
    sweep(tmp_path / "no such folder")
    assert sorted(tree(tmp_path)) == [".b.training", ".lock", "c.tmp", "d"]


# -- The lock --------------------------------------------------------------------------------------


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with lock(folder):
        with pytest.raises(BusyError, match=str(folder)), lock(folder):
            pass
        with lock(tmp_path / "other"):
            pass
    with lock(folder):
        assert folder.is_dir()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError), lock(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with lock(tmp_path):
        assert holder.returncode == -9


def test_a_lock_that_its_holder_removed_before_we_got_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, removals = locks.fcntl.flock, [tmp_path / "shop"]

    def removed_meanwhile(file: int, operation: int) -> None:
        flock(file, operation)
        for folder in removals:
            shutil.rmtree(folder)
        removals.clear()

    monkeypatch.setattr(locks.fcntl, "flock", removed_meanwhile)
    with locks.lock(tmp_path / "shop"):
        assert not removals
        with pytest.raises(BusyError), locks.lock(tmp_path / "shop"):
            pass


def test_a_sweep_leaves_what_is_being_written(tmp_path: Path) -> None:
    (tmp_path / ".left.1.tmp").write_bytes(b"half")
    (tmp_path / ".left.tmp").mkdir()
    with artifacts.replacing(tmp_path / "file") as unfinished, locks.lock(tmp_path / ".d.tmp"):
        artifacts.sweep(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".d.tmp", unfinished.name]
        unfinished.write_bytes(b"whole")
    artifacts.sweep(tmp_path)
    assert tree(tmp_path) == {"file": b"whole"}


def test_an_error_of_the_disk_names_the_file_that_was_to_be(tmp_path: Path) -> None:
    def fill(path: Path) -> None:
        with artifacts.replacing(path):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*/file'"):
        fill(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match=r"'.*/no/file'"):
        fill(tmp_path / "no" / "file")
    assert tree(tmp_path) == {}
