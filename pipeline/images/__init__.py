"""Bytes → RGB pixels, safely: the one door for catalog photos and for queries.

Accepted: JPEG (MPO: its first picture), PNG, WebP, GIF (first frame), BMP, TIFF (first page).
Refused, with one of the reasons in `Reject`: everything else, whatever the bytes.

- Limits hold before pixels exist: only the header has been read when they are checked. Pillow's
  own stop at twice `Image.MAX_IMAGE_PIXELS` remains, above our limit, for TIFF, WebP and GIF.
- Transparency is laid on white, the EXIF orientation applied; ICC profiles and text are ignored.
- 16-bit samples keep their high byte; 32-bit, signed and float ones, without an agreed white, are
  refused, and so are TIFF's rarer codecs.
- A JPEG whose data end early is refused, though libjpeg would fill it with gray (`jpeg.py`).
"""

from __future__ import annotations

from pathlib import Path
from stat import S_ISREG

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.errors import RejectedImage
from pipeline.images.color import flatten
from pipeline.images.encode import encode_jpeg
from pipeline.images.formats import open_image, suffix
from pipeline.images.jpeg import load_whole
from pipeline.images.limits import ImageLimits, Reject, reason_for, too_many_bytes
from pipeline.images.orientation import upright

__all__ = [
    "ImageLimits",
    "Reject",
    "U8Image",
    "decode",
    "encode_jpeg",
    "read_bytes",
    "resize",
    "suffix",
    "to_rgb",
]

U8Image = npt.NDArray[np.uint8]  # (height, width, 3) RGB


def read_bytes(path: Path, limits: ImageLimits) -> bytes:
    """A regular file's bytes, at most `max_bytes`. Raises RejectedImage; OSError is let through."""
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise RejectedImage(Reject.NOT_AN_IMAGE, f"{path} is not a regular file")
    if status.st_size > limits.max_bytes:
        raise too_many_bytes(status.st_size, limits)
    with path.open("rb") as file:
        data = file.read(limits.max_bytes + 1)  # the file may have grown since
    if len(data) > limits.max_bytes:
        raise too_many_bytes(len(data), limits)
    return data


def decode(data: bytes, limits: ImageLimits) -> Image.Image:
    """Encoded bytes → an upright picture in mode RGB without metadata. Raises RejectedImage only.

    Safe to call from many threads.
    """
    if not data:
        raise RejectedImage(Reject.EMPTY, "0 bytes")
    if len(data) > limits.max_bytes:
        raise too_many_bytes(len(data), limits)
    try:
        image = open_image(data, limits)
        load_whole(image, data)
        return to_rgb(image)
    except RejectedImage:
        raise
    except Exception as error:  # on damaged bytes Pillow raises nearly every built-in exception
        message = " ".join(str(error).split()) or type(error).__name__
        raise RejectedImage(reason_for(error), message) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image → an upright picture in mode RGB without metadata."""
    rgb = upright(flatten(image), image.info.get("exif"))
    rgb.info = {}  # an orientation left behind would be applied again by someone else
    return rgb


def resize(image: Image.Image, size: tuple[int, int], method: str) -> U8Image:
    """RGB image → (height, width, 3) uint8, C-contiguous; `size` is (height, width).

    `method` is a key of `_RESAMPLING`; the pixels are those of Pillow's `Image.resize`, exactly.
    """
    if method not in _RESAMPLING:
        raise ValueError(f"unknown resampling {method!r}; choose from {', '.join(_RESAMPLING)}")
    height, width = size
    return np.ascontiguousarray(image.resize((width, height), _RESAMPLING[method]), dtype=np.uint8)


_RESAMPLING = {
    name: Image.Resampling[name.upper()]
    for name in ("nearest", "box", "bilinear", "bicubic", "lanczos")
}
