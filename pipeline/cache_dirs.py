"""Keep libraries from writing into the user's home: an import must leave no trace there."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

_PREFIX = "imgsearch-"
_CHOICES = (  # in `keras.json`; another value ends the import of Keras
    ("floatx", "float32", "float16", "float64"),
    ("image_data_format", "channels_last", "channels_first"),
)


@contextmanager
def temporary_cache_dirs() -> Iterator[None]:
    """Import Keras or matplotlib within this block: their folders end with the process.

    Keras writes its settings at import, matplotlib (which Keras imports too) a list of fonts. Both
    keep the folders that they were imported with. What the user has set, or a `~/.keras` that is
    there and may hold downloaded weights, is used as is, unless Keras would fail over it.
    """
    variables = [] if "MPLCONFIGDIR" in os.environ else ["MPLCONFIGDIR"]
    if not _has_keras_home():
        variables.append("KERAS_HOME")
    with environment({name: str(_folder()) for name in variables}):
        yield


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the length of a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _has_keras_home() -> bool:
    """Whether the user has a folder for Keras whose settings, if any, Keras can read and takes."""
    given = os.environ.get("KERAS_HOME")
    try:
        folder = Path(given or "~/.keras").expanduser()
        settings = json.loads((folder / "keras.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return bool(given) or os.access(folder, os.R_OK | os.X_OK)
    except (OSError, RuntimeError):  # it may not be read, or there is no home
        return False
    except ValueError:
        return True  # it is no JSON, over which Keras passes
    return (
        isinstance(settings, dict)
        and isinstance(settings.get("epsilon", 1e-7), float)
        and all(settings.get(name, first) in (first, *others) for name, first, *others in _CHOICES)
    )


@cache
def _folder() -> Path:
    """Return a folder that is removed when the process ends; if it is killed, by the next one."""
    _remove_left_ones(Path(tempfile.gettempdir()))
    while True:
        folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        _kept.append(folder)
        if _lock(Path(folder.name)) is not None:
            return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []  # each is removed with the last reference to it


def _remove_left_ones(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        descriptor = _lock(folder)
        if descriptor is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def _lock(folder: Path) -> int | None:
    """Lock a folder of this user's, until the descriptor that is returned is closed.

    None if another process has it, or has removed it meanwhile.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here = os.fstat(descriptor)
            if here.st_uid == os.geteuid() and os.path.samestat(here, folder.stat()):
                return descriptor
        os.close(descriptor)
    return None
