"""Pillow without a word on stderr: what is wrong with a photo goes into the ledger.

Importing this changes nothing. Within `silence()`, and only there:

- libtiff's error handler and the absence of a handler of Pillow's logger, both of the whole
  process, are replaced; the last thread to leave restores them.
- Warnings of Pillow are ignored in the threads that are within it. Warning filters belong to the
  process (`catch_warnings` is not for threads), and other code removes them, so every use makes
  sure that ours is there. It stays in `warnings.filters`, and matches nothing in other threads.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from PIL import _imaging

from pipeline.concurrency import SharedContext

_thread = threading.local()
_LOGGER, _HANDLER = logging.getLogger("PIL"), logging.NullHandler()


class _SilentModules:
    """Stands in for the module pattern of a warning filter."""

    pattern = "(?!)"
    """What copies of the filter are made of, such as scikit-learn's: it matches nothing."""

    def match(self, module: str) -> bool:
        return getattr(_thread, "is_silent", False) and module.startswith("PIL.")


_FILTER = ("ignore", None, Warning, _SilentModules(), 0)


@contextmanager
def silence() -> Iterator[None]:
    """Keep Pillow and libtiff from writing to stderr, and from raising warnings under `-W error`.

    with silence(): image.load()
    """
    filters = cast("list[Any]", warnings.filters)
    if filters[:1] != [_FILTER]:
        filters.insert(0, _FILTER)
    before = getattr(_thread, "is_silent", False)
    _thread.is_silent = True
    try:
        with _QUIET_LIBRARIES:
            yield
    finally:
        _thread.is_silent = before


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    _LOGGER.addHandler(_HANDLER)  # else logging writes to stderr where the host has configured none
    set_handler = _tiff_error_handler()
    before = set_handler(None)
    try:
        yield
    finally:
        set_handler(before)
        _LOGGER.removeHandler(_HANDLER)


_QUIET_LIBRARIES = SharedContext(_quiet_libraries)


@cache
def _tiff_error_handler() -> Callable[[int | None], int | None]:
    """Find libtiff's function that sets its error handler and returns the previous one.

    It is among the libraries that Pillow's own links to, where the platform can tell; where it
    cannot, the function does nothing.
    """
    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (OSError, AttributeError):
        return lambda handler: handler
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    return cast("Callable[[int | None], int | None]", set_handler)
