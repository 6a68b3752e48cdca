"""The built wheel, installed into an empty folder and used from another one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.models.onnx_file.test_onnx_file import encoder

REPOSITORY = Path(__file__).parents[2]
TINY = (
    "source={{type: sample, photos: 6, near_duplicates: 0, size: 48, seed: 3}}"
    " engines={{colors: {{type: onnx, file: {file}, mean: [0, 0, 0], std: [1, 1, 1],"
    " output: vector}}}}"
)


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that the repository stays as it is."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "pipeline", copy / "pipeline", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    pip("wheel", copy, "--no-deps", "--no-build-isolation", "--wheel-dir", out)
    (file,) = out.glob("*.whl")
    return file


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("pipeline/")}
    files = (path for path in (REPOSITORY / "pipeline").rglob("*") if path.is_file())
    there = {path.relative_to(REPOSITORY).as_posix() for path in files}
    assert packed == {name for name in there if "__pycache__" not in name}
    assert {"pipeline/py.typed", "pipeline/__main__.py"} <= packed


def test_the_installed_program_works_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    installed, folder = tmp_path / "installed", tmp_path / "empty"
    folder.mkdir()
    tiny = TINY.format(file=encoder(tmp_path / "colors.onnx"))
    pip("install", wheel, "--no-deps", "--target", installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def run(*command: object) -> str:
        program = [str(part) for part in command]
        return subprocess.run(
            program, cwd=folder, env=environment, capture_output=True, text=True, check=True
        ).stdout

    where = run(sys.executable, "-c", "import pipeline; print(pipeline.__file__)")
    assert Path(where.strip()) == installed / "pipeline/__init__.py"
    imgsearch = installed / "bin/imgsearch"
    assert run(imgsearch, "--version").startswith("imgsearch ")
    assert "# Every setting of the built-in settings." in run(imgsearch, "config")
    assert "6 items offered = 6 available" in run(imgsearch, "ingest", "--set", tiny)
    run(imgsearch, "build", "--set", tiny)
    photo = next(folder.glob("indexes/sample/images/*/*.*"))
    answer = json.loads(run(imgsearch, "query", photo, "--json", "--set", tiny))
    assert len(answer["engines"]["colors"]["hits"]) == 3
    assert [path.name for path in folder.iterdir()] == ["indexes"]
    run(imgsearch, "audit", "--html", "audit.html", "--set", tiny)
    assert (folder / "audit.html").stat().st_size > 1_000
