"""TIFF bytes → an opened decoder for the first page."""

from __future__ import annotations

import io
import struct

from PIL import ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from pipeline.errors import RejectedImage
from pipeline.images.limits import ImageLimits, Reject, check_size

# The other codecs are rare in photographs, and the JPEG one fills missing data with gray.
_CODECS = {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate",
           "tiff_ccitt", "group3", "group4"}  # fmt: skip
# A sample that the file does not explain is its alpha, unless it is the same everywhere.
_EXTRA_SAMPLES, _UNSPECIFIED, _ALPHA = 338, (0,), (2,)
_PHOTOMETRIC, _GRAY_OR_RGB = 262, (1, 2)
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_MAX_TAGS, _MAX_VALUES = 1000, 100_000  # Pillow makes a Python object of each value
_BYTES = {1, 2, 6, 7}  # types of which the values are kept as bytes


class _Tiff(TiffImageFile):
    has_unspecified_sample = False

    def _setup(self) -> None:
        tags = self.tag_v2
        if tags.get(_EXTRA_SAMPLES) == _UNSPECIFIED and tags.get(_PHOTOMETRIC) in _GRAY_OR_RGB:
            self.has_unspecified_sample = True
            tags[_EXTRA_SAMPLES] = _ALPHA
        super()._setup()

    def load_end(self) -> None:
        """Turn the first page upright; Pillow also follows the chain of pages here."""
        ImageOps.exif_transpose(self, in_place=True)
        if self.has_unspecified_sample:
            low, high = self.im.getband(self.im.bands - 1).getextrema()
            if low == high:
                self._mode = self.mode.removesuffix("A")
                self.im = self.im.convert(self.mode)


def open_tiff(data: bytes, limits: ImageLimits) -> TiffImageFile:
    """Open a TIFF file.

    Raises:
        RejectedImage: its codec is not read, or its tiles exceed the limits.
        ValueError: it has more tags or strips than any real file.
        EOFError: its list of strips is truncated.
        Exception: what Pillow raises on damaged bytes.
    """
    _check_directory(data)
    image = _Tiff(io.BytesIO(data))
    check_size(image.size, limits)
    tile = image.tag_v2.get(_TILE_WIDTH, 1), image.tag_v2.get(_TILE_LENGTH, 1)
    check_size((max(tile[0], image.width), max(tile[1], image.height)), limits)
    if image.info["compression"] not in _CODECS:
        raise RejectedImage(Reject.UNSUPPORTED_FORMAT, f"TIFF {image.info['compression']}")
    if (image.tile[-1].extents or ())[2:] not in (image.size, image.size[::-1]):
        raise EOFError("truncated list of strips")
    return image


def _check_directory(data: bytes) -> None:
    """Raise ValueError if the first directory has too many tags, or one of them too many values."""
    order = "<" if data[:1] == b"I" else ">"
    if 43 in data[2:4]:  # BigTIFF
        start, head, entry = struct.unpack_from(order + "Q", data, 8)[0], "Q", "HHQQ"
    else:
        start, head, entry = struct.unpack_from(order + "I", data, 4)[0], "H", "HHII"
    (tags,) = struct.unpack_from(order + head, data, start)
    if tags > _MAX_TAGS:
        raise ValueError("too many tags")
    start, size = start + struct.calcsize(order + head), struct.calcsize(order + entry)
    for at in range(start, start + tags * size, size):
        _, kind, count, _ = struct.unpack_from(order + entry, data, at)
        if count > _MAX_VALUES and kind not in _BYTES:
            raise ValueError("too many values of a tag, such as strips")
