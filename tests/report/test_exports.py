"""exports.py: a folder that a user named is the earlier export or the next one, never a part."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts import publish, read_manifest
from pipeline.errors import BusyError, QueryError
from pipeline.integrity import damaged_files
from pipeline.report.exports import exporting
from tests.conftest import tree

DIES = """
import os, sys
from pathlib import Path
from pipeline.report.exports import exporting
when = sys.argv[2]
rename = Path.rename
def dies(path, target):
    if path.name == "new" and when == "between the renames":
        os._exit(9)
    rename(path, target)
    if path.name == "new":
        os._exit(9)
with exporting(Path(sys.argv[1]), "kind", {}) as aside:
    (aside / "next").write_bytes(b"next")
    if when == "while writing":
        os._exit(9)
    Path.rename = dies
"""


class Killed(BaseException):
    """Stands in for the death of the process."""


def write(folder: Path, name: str, kind: str = "kind") -> dict[str, bytes]:
    """Export one file in a folder of its own; return what is there then."""
    with exporting(folder, kind, {"a": 1}) as aside:
        assert list(aside.iterdir()) == []
        (aside / name).mkdir()
        (aside / name / "file").write_bytes(name.encode())
    return tree(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_export_has_what_was_written_and_checksums_of_all_of_it(tmp_path: Path) -> None:
    written = write(tmp_path / "deep" / "out", "first")
    assert list(written) == ["first/file", "manifest.json"]
    manifest = read_manifest(tmp_path / "deep" / "out")
    assert (manifest["kind"], manifest["a"], list(manifest["files"])) == ("kind", 1, ["first/file"])
    assert names(tmp_path / "deep") == ["out"]
    (tmp_path / "deep" / "out" / "first" / "file").write_bytes(b"FIRST")
    assert len(list(damaged_files(tmp_path / "deep" / "out"))) == 1


def test_the_next_export_replaces_all_of_the_earlier_one(tmp_path: Path) -> None:
    write(tmp_path / "out", "first")
    assert list(write(tmp_path / "out", "second")) == ["manifest.json", "second/file"]
    (tmp_path / "out" / "second" / "file").unlink()  # what is left of one is one
    assert list(write(tmp_path / "out", "third")) == ["manifest.json", "third/file"]
    assert names(tmp_path) == ["out"]


def test_an_empty_folder_and_what_a_link_leads_to_are_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    assert write(tmp_path / "link", "first") == tree(tmp_path / "empty")
    assert (tmp_path / "link").is_symlink()


def a_file(out: Path) -> None:
    out.write_text("mine")


def files(out: Path) -> None:
    out.mkdir()
    (out / "notes.txt").write_text("mine")


def an_export_and_a_file(out: Path) -> None:
    write(out, "first")
    (out / "first" / "notes.txt").write_text("mine")


def another_kind(out: Path) -> None:
    write(out, "first", "another kind")


def an_artifact(out: Path) -> None:
    with publish(out, {"dim": 3}) as aside:
        (aside / "weights").write_text("dear")


def a_manifest_of_someone_else(out: Path) -> None:
    out.mkdir()
    (out / "manifest.json").write_text(json.dumps({"kind": "kind", "files": ["mine"]}))


@pytest.mark.parametrize(
    "occupy",
    [
        a_file,
        files,
        an_export_and_a_file,
        another_kind,
        an_artifact,
        a_manifest_of_someone_else,
    ],
)
def test_what_is_the_users_is_never_replaced(
    tmp_path: Path, occupy: Callable[[Path], None]
) -> None:
    occupy(tmp_path / "out")
    before = tree(tmp_path)
    with pytest.raises(QueryError, match=r"out: (not a folder|holds something else)"):
        write(tmp_path / "out", "second")
    assert tree(tmp_path) == before
    assert names(tmp_path) == ["out"]


def test_what_a_user_puts_there_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def export() -> None:
        with exporting(tmp_path / "out", "kind", {}) as aside:
            (aside / "ours").write_bytes(b"ours")
            files(tmp_path / "out")

    with pytest.raises(QueryError, match="holds something else"):
        export()
    assert tree(tmp_path) == {"out/notes.txt": b"mine"}


def test_a_mount_point_is_refused_before_any_work() -> None:
    with pytest.raises(QueryError, match="/: a mount point cannot be replaced"):
        write(Path("/"), "first")


@pytest.mark.parametrize("earlier", [True, False])
def test_a_block_that_fails_changes_nothing(tmp_path: Path, earlier: bool) -> None:
    before = write(tmp_path / "out", "first") if earlier else {}

    def export() -> None:
        with exporting(tmp_path / "out", "kind", {}) as aside:
            (aside / "half").write_bytes(b"half")
            raise Killed

    with pytest.raises(Killed):
        export()
    assert tree(tmp_path / "out") == before
    assert names(tmp_path) == (["out"] if earlier else [])


def test_an_interruption_between_the_renames_puts_the_earlier_export_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(tmp_path / "out", "first")
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if path.name == "new":
            assert not (tmp_path / "out").exists()
            raise Killed
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(Killed):
        write(tmp_path / "out", "second")
    assert tree(tmp_path / "out") == before
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("fails_first", [True, False])
@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("when", ["while writing", "between the renames", "after them"])
def test_a_kill_leaves_nothing_half_written_and_the_next_run_mends_it(
    tmp_path: Path, when: str, earlier: bool, fails_first: bool
) -> None:
    out = tmp_path / "out"
    before = write(out, "first") if earlier else {}
    killed = subprocess.run([sys.executable, "-c", DIES, str(out), when], check=False)
    assert killed.returncode == 9
    left = tree(out)
    if when == "after them":
        assert list(left) == ["manifest.json", "next"]
        assert list(damaged_files(out)) == []
        before = left
    else:
        assert left == (before if when == "while writing" else {})

    def fails() -> None:
        with exporting(out, "kind", {}):
            raise Killed

    if fails_first:
        with pytest.raises(Killed):
            fails()
        assert tree(out) == before
    assert list(write(out, "second")) == ["manifest.json", "second/file"]
    assert names(tmp_path) == ["out"]


def test_only_one_writes_at_a_time(tmp_path: Path) -> None:
    with exporting(tmp_path / "out", "kind", {}) as aside:
        (aside / "file").write_bytes(b"first")
        with pytest.raises(BusyError, match="another imgsearch is writing"):
            write(tmp_path / "out", "second")
        assert (aside / "file").read_bytes() == b"first"
    assert list(tree(tmp_path / "out")) == ["file", "manifest.json"]
