"""JPEG bytes → a picture; one that lacks data is refused, which libjpeg does not report."""

from __future__ import annotations

import io
import zlib

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from pipeline.images.jpeg_scans import MAX_ZEROS, JpegScans, read_scans

_FILL = range(126, 131)  # what libjpeg's mid-gray becomes in any color space
_STRIP = 256  # rows whose bytes exist at a time


class Jpeg(JpegImageFile):
    """Pillow's decoder, given only what makes the picture."""

    scans: JpegScans

    @classmethod
    def of(cls, data: bytes) -> Jpeg:
        """Open the picture of a JPEG file; see `read_scans` for the errors."""
        scans = read_scans(data)
        image = cls(io.BytesIO(scans.essentials))
        image.scans = scans
        return image

    def _read_dpi_from_exif(self) -> None:
        """Do nothing: the DPI is never used, and damaged EXIF would make the file unreadable."""


def load_whole(image: Jpeg) -> None:
    """Decode the pixels of an opened picture; refuse it if some of its blocks are missing.

    When data end early, libjpeg warns, Pillow does not pass the warning on, and the rest stays
    mid-gray or coarse. To see it, the file is decoded a second time with padding. This is done for
    files of several scans or restart intervals, without an end marker, or with a mid-gray last
    pixel. Not detected: a cut inside the very last block of a single scan that is followed by an
    end marker, and bytes overwritten in place.

    Raises:
        EOFError: the data end early.
    """
    scans = image.scans
    if not (scans.is_huffman or scans.is_ended):
        raise EOFError("truncated: no end marker")
    has_parts = scans.scans > 1 or scans.intervals > 1 or not scans.is_ended
    padded = _padded_checksum(scans) if has_parts and scans.is_huffman else None
    image.load()
    if padded is None and scans.is_huffman and _ends_gray(image):
        padded = _padded_checksum(scans)
    if padded is not None and (padded != _checksum(image) or _is_zero_filled(scans, padded)):
        raise EOFError("truncated picture data")


def _is_zero_filled(scans: JpegScans, checksum: int) -> bool:
    """Whether zeros in place of what was cut make a picture of this checksum complete.

    Flat parts of a picture may be zeros too, of which then none can be done without.
    """
    cut = scans.tail.rstrip(b"\0")
    if scans.is_ended or len(scans.tail) - len(cut) <= MAX_ZEROS:
        return False
    needs_some = _padded_checksum(scans, cut + bytes(MAX_ZEROS)) != checksum
    return needs_some and _padded_checksum(scans, scans.tail[:-MAX_ZEROS]) == checksum


def _ends_gray(image: Image.Image) -> bool:
    corner = image.getpixel((image.width - 1, image.height - 1))
    values = corner if isinstance(corner, tuple) else (corner,)
    return all(value in _FILL for value in values)


def _padded_checksum(scans: JpegScans, tail: bytes | None = None) -> int:
    """Checksum of the pixels of `scans.padded(tail)`."""
    with Jpeg(io.BytesIO(scans.padded(tail))) as image:
        image.load()
        return _checksum(image)


def _checksum(image: Image.Image) -> int:
    """Checksum of the pixels, without a copy of all of them."""
    checksum = 0
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        checksum = zlib.crc32(strip.tobytes(), checksum)
    return checksum
