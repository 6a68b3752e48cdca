"""Keep libraries from writing into the user's home: an import must leave no trace there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path


@contextmanager
def temporary_cache_dirs() -> Iterator[None]:
    """Import Keras or matplotlib within this block: their folders end with the process.

    Keras writes its settings at import, matplotlib (which Keras imports too) a list of fonts. Both
    keep the folders that they were imported with. What the user has set, or a `~/.keras` that is
    there and may hold downloaded weights, is used as is.
    """
    variables = ["MPLCONFIGDIR"]
    if not Path("~/.keras").expanduser().is_dir():
        variables.append("KERAS_HOME")
    with environment({name: _folder().name for name in variables if name not in os.environ}):
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


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="imgsearch-", ignore_cleanup_errors=True)
