"""Which images are rejected, and the named reason that the ledger shows."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image

from pipeline.errors import RejectedImage

_MAX_SIDE = 65_535  # pixels, as in JPEG: resizing takes memory and time by the longer side too
_MAX_STORED_SIDE = 4096  # pixels: the limit of the setting `download.resize`


@dataclass(frozen=True)
class ImageLimits:
    """What is acceptable, judged by the file's size and its header."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000  # width times height
    min_side: int = 1  # of the shorter side, in pixels

    def for_stored(self) -> ImageLimits:
        """Return the limits for photos that were accepted, in whatever size they are stored."""
        pixels = max(self.max_pixels, _MAX_STORED_SIDE**2)
        return ImageLimits(max(self.max_bytes, 3 * pixels), pixels, min_side=1)


class Reject(StrEnum):
    """Why an image was rejected, as the ledger shows it."""

    EMPTY = "empty file"
    TOO_MANY_BYTES = "too many bytes"
    NOT_AN_IMAGE = "not an image"
    UNSUPPORTED_FORMAT = "unsupported format"
    TOO_MANY_PIXELS = "too many pixels"
    TOO_SMALL = "too small"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"


def check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    """Raise RejectedImage if (width, height) is not within the limits."""
    width, height = size
    if width * height > limits.max_pixels:
        raise RejectedImage(
            Reject.TOO_MANY_PIXELS, f"{width}x{height}, the limit is {limits.max_pixels} pixels"
        )
    if max(size) > _MAX_SIDE:
        raise RejectedImage(
            Reject.TOO_MANY_PIXELS, f"{width}x{height}, the limit of a side is {_MAX_SIDE} pixels"
        )
    if min(size) < limits.min_side:
        raise RejectedImage(
            Reject.TOO_SMALL, f"{width}x{height}, the shorter side must be {limits.min_side}"
        )


def check_bytes(count: int, limits: ImageLimits) -> None:
    """Raise RejectedImage if a file has too many bytes."""
    if count > limits.max_bytes:
        raise RejectedImage(Reject.TOO_MANY_BYTES, f"{count}, the limit is {limits.max_bytes}")


def reason_for(error: Exception) -> Reject:
    """Name the reason for an exception that Pillow, or a check of ours, raised."""
    if isinstance(error, Image.DecompressionBombError | MemoryError):
        return Reject.TOO_MANY_PIXELS
    origin, text = error.__cause__ or error, str(error).lower()
    if "security limit exceeded" in text:  # libheif's own, on a picture of too many pixels
        return Reject.TOO_MANY_PIXELS
    if "unsupported" in text or "unknown pixel mode" in text or "cannot handle" in text:
        return Reject.UNSUPPORTED_FORMAT
    ran_out = isinstance(origin, EOFError | IndexError | TypeError | struct.error)
    return Reject.TRUNCATED if ran_out or "truncated" in text else Reject.CORRUPT
