"""Encoded bytes → an opened decoder: only the header has been read, and no pixel allocated.

Pillow's classes are called directly. `Image.open` would also try MPO, and would judge the size by a
process-wide setting, with a warning or an error before our own limits are looked at.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import replace

from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline.errors import RejectedImage
from pipeline.images.formats import is_other_format, sniff
from pipeline.images.gif import open_gif
from pipeline.images.heif import open_avif, open_heif
from pipeline.images.jpeg import Jpeg
from pipeline.images.jpeg2000 import open_jpeg2000
from pipeline.images.limits import ImageLimits, Reject, check_size
from pipeline.images.png import open_png
from pipeline.images.tiff import open_tiff


def open_image(data: bytes, limits: ImageLimits) -> ImageFile:
    """Open encoded bytes with the matching decoder, and check the limits before pixels exist.

    Raises:
        RejectedImage: the format is not accepted, or the limits are exceeded.
        Exception: what Pillow raises on damaged bytes; `reason_for` names it.
    """
    name = sniff(data)
    if name is None:
        reason = Reject.UNSUPPORTED_FORMAT if is_other_format(data) else Reject.NOT_AN_IMAGE
        raise RejectedImage(reason, "send JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP, TIFF or JPEG 2000")
    image = _OPENERS[name](data, limits)
    check_size(image.size, limits)
    if image.mode in ("I", "F"):
        raise RejectedImage(Reject.UNSUPPORTED_FORMAT, "32-bit, signed or float samples")
    return image


def _open_webp(data: bytes, limits: ImageLimits) -> ImageFile:
    """Pillow allocates the canvas while it opens a WebP file, so its header is read here."""
    size = int.from_bytes(data[4:8], "little") + 8
    if size > len(data):
        raise EOFError(f"truncated: {len(data)} of {size} bytes")
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<2H", data, 26))
    check_size(
        (width, height), replace(limits, max_pixels=min(limits.max_pixels, _MAX_WEBP_PIXELS))
    )
    return WebPImageFile(io.BytesIO(data))


def _open_bmp(data: bytes, limits: ImageLimits) -> ImageFile:
    """Refuse what Pillow unpacks byte by byte for seconds: a large file of run-length codes."""
    image = BmpImageFile(io.BytesIO(data))
    if image.tile and image.tile[0].codec_name == "bmp_rle" and len(data) > _MAX_RLE_BYTES:
        raise RejectedImage(
            Reject.TOO_MANY_BYTES, f"{len(data)}, the limit is {_MAX_RLE_BYTES} of compressed BMP"
        )
    return image


_MAX_RLE_BYTES = 8_000_000
# Pillow and libwebp keep four copies of such a picture: 600 MB are enough for these pixels.
_MAX_WEBP_PIXELS = 30_000_000
_OPENERS: dict[str, Callable[[bytes, ImageLimits], ImageFile]] = {
    "jpeg": lambda data, limits: Jpeg.of(data),
    "png": lambda data, limits: open_png(data),
    "webp": _open_webp,
    "gif": lambda data, limits: open_gif(data),
    "tiff": open_tiff,
    "bmp": _open_bmp,
    "avif": open_avif,
    "heif": lambda data, limits: open_heif(data),
    "jpeg2000": open_jpeg2000,
}
