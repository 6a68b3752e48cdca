"""Keep libraries from writing into the user's home: an import must leave no trace there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_kept_until_exit: list[tempfile.TemporaryDirectory[str]] = []


def redirect_cache_dirs() -> None:
    """Give Keras and matplotlib folders that end with the process; call before importing either.

    Keras writes its settings at import, matplotlib (which Keras imports too) a list of fonts. What
    the user has set, or a `~/.keras` that is there and may hold downloaded weights, is used as is.
    """
    _own("MPLCONFIGDIR")
    if not Path("~/.keras").expanduser().is_dir():
        _own("KERAS_HOME")


def _own(variable: str) -> None:
    if variable not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="imgsearch-", ignore_cleanup_errors=True)
        _kept_until_exit.append(folder)
        os.environ[variable] = folder.name
