"""Nothing on stderr: what is wrong with a photo goes into the ledger."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import re
import warnings

from PIL import _imaging

# Left alone, Pillow's logger and libtiff (found among the libraries that Pillow's own links to,
# where the platform can do that) write to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())
with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)

_MUTED = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def mute_warnings() -> None:
    """Keep damaged tags from being announced on stderr, or raised under `-W error`.

    Filters belong to the process (`catch_warnings` is not for threads) and others undo them, so
    ours is looked for at every use.
    """
    if warnings.filters[:1] != [_MUTED]:
        warnings.filterwarnings("ignore", module=r"PIL\.")
