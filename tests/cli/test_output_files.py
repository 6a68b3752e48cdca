"""Files that commands write where the user says: complete, elsewhere than what is read or built."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.artifacts import replacing
from pipeline.cli import main, output_files
from pipeline.cli.output_files import check_apart, check_output
from pipeline.config import Config
from pipeline.errors import QueryError
from tests.conftest import ENGINE, Shop, png, tree

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    shop: Shop, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Run a command on a small built catalog; return its exit code and what it says."""
    shop.build({"a": [(1, 0, 0)], "b": [(5, 0, 0)], "c": [(9, 0, 0)]})
    settings = tmp_path / "shop.yaml"
    settings.write_text(shop.config.model_dump_json())  # JSON is YAML

    def run(*arguments: object, with_config: bool = True) -> tuple[int, str]:
        command = ["imgsearch", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command + ["--config", str(settings)] * with_config)
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capfd.readouterr().err

    return run


COMMANDS = {
    "grid.png": ["query", "--id", "1", "--grid"],
    "graph.npy": ["neighbors", ENGINE],
    "graph.parquet": ["neighbors", ENGINE],
    "projected": ["projector"],
    "evaluation.json": ["evaluate", "--out"],
    "report.html": ["report", "--out"],
    "audit.html": ["audit", "--html"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_written_into_the_catalogs_folder(name: str, run: Run, shop: Shop) -> None:
    before = tree(shop.folder)
    code, said = run(*COMMANDS[name], shop.folder / ENGINE / name)
    assert code == 1
    assert f"{name}: among the catalog's folder, {shop.folder}; give a path outside of it" in said
    assert tree(shop.folder) == before


@pytest.mark.parametrize("name", ["grid.png", "graph.npy", "graph.parquet", "audit.html"])
def test_a_full_disk_leaves_the_earlier_file_and_nothing_else(
    name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_bytes(b"earlier")
    monkeypatch.setattr("pipeline.artifacts.os.fsync", full)
    code, said = run(*COMMANDS[name], folder / name)
    assert (code, tree(folder)) == (1, {name: b"earlier"})
    assert f"{folder / name}: No space left on device; free some space there" in said
    monkeypatch.undo()


def full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_what_a_killed_run_left_of_a_file_is_removed(run: Run, shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".grid.png.17.tmp").write_bytes(b"half")
    (folder / ".other.png.17.tmp").write_bytes(b"the user's")
    assert run("query", "--id", "1", "--grid", folder / "grid.png")[0] == 0
    assert sorted(tree(folder)) == [".other.png.17.tmp", "grid.png"]
    assert Image.open(folder / "grid.png").format == "PNG"
    (shop.folder / ".report.html.17.tmp").write_bytes(b"half")
    run("report", "--no-cost")
    assert not (shop.folder / ".report.html.17.tmp").exists()


def test_a_file_that_is_being_written_is_left(tmp_path: Path, shop: Shop) -> None:
    with replacing(tmp_path / "grid.png") as unfinished:
        check_output("--grid", tmp_path / "grid.png", [".png"], shop.config)
        unfinished.write_bytes(b"whole")
    assert (tmp_path / "grid.png").read_bytes() == b"whole"


def test_a_photo_that_is_searched_with_is_not_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png((1, 0, 0)))
    link = tmp_path / "link.png"
    link.symlink_to("photo.png")
    for name in ("photo.png", "link.png"):
        code, said = run("query", tmp_path / "photo.png", "--grid", tmp_path / name)
        assert (code, (tmp_path / "photo.png").read_bytes()) == (1, png((1, 0, 0)))
        assert "it is searched with; give another name" in said


def test_the_source_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    table = {"type": "table", "path": "t.csv", "columns": {"key": "a", "image": "b"}}
    folder = {"type": "folder", "path": str(tmp_path / "photos")}
    root = str(tmp_path / "indexes")
    config = Config.model_validate({"source": folder, "root": root})
    for name in ("photos/new.png", "photos", "link/new.png", "photos/../photos/a/b.png"):
        with pytest.raises(QueryError, match="among the photos of the source"):
            check_apart("--grid", tmp_path / name, config)
    check_apart("--grid", tmp_path / "photos.png", config)
    table["path"] = str(tmp_path / "items.parquet")
    config = Config.model_validate({"source": table, "root": root})
    with pytest.raises(QueryError, match="among the table of the source"):
        check_apart("neighbors", tmp_path / "items.parquet", config)
    check_apart("neighbors", tmp_path / "graph.parquet", config)


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        (["projector", "out/new/projected"], "out"),
        (["report"], "indexes"),
        (["report", "--out", "out/report.html"], "out"),
        (["evaluate", "--out", "out/e.json"], "out"),
        (["init", ".", "--out", "out/shop.yaml"], "out"),
    ],
)
def test_where_nothing_can_be_written_is_said_before_the_work(
    command: list[str],
    folder: str,
    run: Run,
    tmp_path: Path,
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    tried: list[Path] = []

    def refuse(dir: Path) -> None:  # noqa: A002
        tried.append(dir.absolute())
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(output_files.tempfile, "TemporaryFile", refuse)
    code, said = run(*command, with_config=command[0] != "init")
    assert (code, len(said.splitlines())) == (1, 1)
    refused = "can only be read" if command == ["report"] else "Permission denied"
    assert refused in said
    assert tried == [shop.folder if folder == "indexes" else tmp_path / folder]


def test_settings_are_not_written_over_a_photo(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png((1, 0, 0)))
    out = tmp_path / "photo.png"
    code, said = run("init", tmp_path, "--out", out, "--force", with_config=False)
    assert (code, out.read_bytes()) == (1, png((1, 0, 0)))
    assert f"{out}: give a name that ends in .yaml or .yml" in said


@pytest.mark.skipif("os.geteuid() == 0", reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said_before_the_work(run: Run, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    code, said = run("evaluate", "--out", tmp_path / "locked" / "e.json")
    assert (code, len(said.splitlines())) == (1, 1)
    assert f"{tmp_path / 'locked'}: Permission denied" in said
