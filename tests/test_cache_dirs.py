"""cache_dirs.py: where Keras and matplotlib write, and that nothing of it stays."""

from __future__ import annotations

import fcntl
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import cache_dirs
from pipeline.cache_dirs import temporary_cache_dirs


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home, and the folder in which this process makes its temporary ones."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("KERAS_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    cache_dirs._folder.cache_clear()
    yield folder
    cache_dirs._folder.cache_clear()


def keras_home() -> str | None:
    with temporary_cache_dirs():
        return os.environ.get("KERAS_HOME")


def test_what_is_written_goes_to_a_folder_of_its_own(temporary: Path) -> None:
    made = keras_home()
    assert made is not None
    assert list(temporary.iterdir()) == [Path(made)]
    assert not {"KERAS_HOME", "MPLCONFIGDIR"} & os.environ.keys()


@pytest.mark.parametrize(
    ("settings", "is_used"),
    [
        (None, True),
        ("{}", True),
        ('{"floatx": "float16", "image_data_format": "channels_first"}', True),
        ('{"backend": "theano"}', True),
        ("{broken", True),
        ('{"floatx": "int8"}', False),
        ('{"image_data_format": 1}', False),
        ('{"epsilon": "small"}', False),
        ("[1]", False),
        ("[" * 100_000, False),
    ],
)
def test_the_users_folder_is_used_if_keras_takes_its_settings(
    settings: str | None, is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home" / ".keras"
    folder.mkdir()
    if settings is not None:
        (folder / "keras.json").write_text(settings)
    assert (keras_home() is None) is is_used
    monkeypatch.setenv("KERAS_HOME", str(folder))
    assert (keras_home() == str(folder)) is is_used


@pytest.mark.parametrize("home", [None, "/proc/1/root/none", "file", "a\ufdd0" * 300])
def test_no_home_is_needed(
    home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    (tmp_path / "file").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert keras_home()


def test_a_home_that_may_not_be_read_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert keras_home()


def test_folders_of_killed_processes_go_and_those_of_others_stay(temporary: Path) -> None:
    for name in ("imgsearch-killed", "imgsearch-running", "elsewhere"):
        (temporary / name).mkdir()
    (temporary / "imgsearch-killed" / "keras.json").write_text("{}")
    (temporary / "imgsearch-link").symlink_to("elsewhere")
    running = os.open(temporary / "imgsearch-running", os.O_RDONLY)
    fcntl.flock(running, fcntl.LOCK_EX)
    made = Path(keras_home() or "").name
    assert sorted(path.name for path in temporary.iterdir()) == sorted(
        ["elsewhere", "imgsearch-link", "imgsearch-running", made]
    )
    os.close(running)
    cache_dirs._remove_left_ones(temporary)  # as another process does
    assert made in {path.name for path in temporary.iterdir()}
