"""TIFF bytes → an opened decoder for the first page."""

from __future__ import annotations

import io

from PIL import ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from pipeline.errors import RejectedImage
from pipeline.images.limits import ImageLimits, Reject, check_size

# The other codecs are rare in photographs, and the JPEG one fills missing data with gray.
_CODECS = {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate",
           "tiff_ccitt", "group3", "group4"}  # fmt: skip
_STRIP_OFFSETS, _TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS = 273, 322, 323, 324
_MAX_STRIPS = 100_000


class _Tiff(TiffImageFile):
    def _setup(self) -> None:
        for tag in (_STRIP_OFFSETS, _TILE_OFFSETS):
            if len(self.tag_v2.get(tag, ())) > _MAX_STRIPS:
                raise ValueError("too many strips")  # 10 MB of them keep Pillow busy for 10 s
        super()._setup()

    def load_end(self) -> None:
        """Only turn the first page upright: Pillow also follows the chain of pages here."""
        ImageOps.exif_transpose(self, in_place=True)


def open_tiff(data: bytes, limits: ImageLimits) -> TiffImageFile:
    """Open a TIFF file.

    Raises:
        RejectedImage: its codec is not read, or its tiles exceed the limits.
        EOFError: its list of strips is truncated.
        Exception: what Pillow raises on damaged bytes.
    """
    image = _Tiff(io.BytesIO(data))
    check_size(image.size, limits)
    tile = image.tag_v2.get(_TILE_WIDTH, 1), image.tag_v2.get(_TILE_LENGTH, 1)
    check_size((max(tile[0], image.width), max(tile[1], image.height)), limits)
    if image.info["compression"] not in _CODECS:
        raise RejectedImage(Reject.UNSUPPORTED_FORMAT, f"TIFF {image.info['compression']}")
    if (image.tile[-1].extents or ())[2:] not in (image.size, image.size[::-1]):
        raise EOFError("truncated list of strips")
    return image
