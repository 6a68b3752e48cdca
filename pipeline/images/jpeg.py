"""Decode the pixels, and detect what libjpeg does not report: a JPEG that is not complete."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

from PIL import ImageChops, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

_FILL = range(126, 131)  # what libjpeg's mid-gray becomes in any color space
_MAX_SCANS = 100  # real progressive files have about 10; each costs a pass over all pixels
_JPEG_NEXT = re.compile(rb"\xff([\xd9\xda])")  # the end, or another scan
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_SOS, _EOI, _TEM, _RESTARTS = 0xDA, 0xD9, 0x01, range(0xD0, 0xD8)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_PADDING = bytes(value * 89 % 255 for value in range(2, 130))  # irregular, and without 0xFF


class Jpeg(JpegImageFile):
    """Pillow's decoder; it fails on a missing picture, but not on damaged EXIF."""

    def _open(self) -> None:
        super()._open()
        if not self.tile:
            raise EOFError("truncated before the picture data")

    def _read_dpi_from_exif(self) -> None:
        """Do nothing: the DPI is never used, and damaged EXIF would make the file unreadable."""


def load_whole(image: ImageFile.ImageFile, data: bytes) -> None:
    """Decode the pixels of an opened image; a JPEG that may have been cut is checked thoroughly.

    When a JPEG's data end early, libjpeg warns, Pillow does not pass the warning on, and the rest
    stays mid-gray or coarse. What follows a complete scan is skipped up to the next marker, so
    padding there changes nothing, while an incomplete scan reads it as data and shows another
    picture. This costs a second decoding, so it is done only for several scans or a mid-gray last
    pixel. Not detected: a cut inside the very last block of a single scan, and bytes overwritten in
    place.

    Raises:
        EOFError: the data end early.
    """
    if not isinstance(image, JpegImageFile) or image.fp is None:
        image.load()
        return
    following = _JPEG_NEXT.search(data, image.fp.tell())
    if following is None:
        raise EOFError("truncated: no end marker")  # Pillow is content once all rows are filled
    scans = image.info.get("progressive") or following[1] == b"\xda"
    padded = _padded(data) if scans else None  # before the pixels: there may be far too many scans
    image.load()
    corner = image.getpixel((image.width - 1, image.height - 1))
    values = corner if isinstance(corner, tuple) else (corner,)
    if not scans and all(value in _FILL for value in values):
        padded = _padded(data)
    if padded and ImageChops.difference(image, Jpeg(io.BytesIO(padded))).getbbox():
        raise EOFError("truncated picture data")


def _padded(data: bytes) -> bytes | None:
    """Pad each run of entropy-coded data of a JPEG; None if padding would prove nothing.

    Raises EOFError if scans are missing.
    """
    if _frame(data) not in (_BASELINE, _EXTENDED, _PROGRESSIVE):
        return None  # arithmetic coding: zeros at the end of a scan are left out by design
    pieces, copied, restarts, in_scan = list[bytes](), 0, 0, False
    for marker, start, _ in _segments(data):
        if in_scan:
            pieces += [data[copied:start], _PADDING]
            copied = start
            if marker in _RESTARTS:
                restarts += 1
                continue
            # If the data were cut between two restart intervals, this marker is waited for.
            pieces += [bytes((0xFF, _RESTARTS[restarts % 8])), _PADDING]
        in_scan, restarts = marker == _SOS, 0
    return b"".join([*pieces, data[copied:]])


def _frame(data: bytes) -> int:
    """Return the frame marker of a JPEG that has all of its scans.

    Raises EOFError if a coefficient of some component never gets its last bit.
    """
    frame, scans, missing = 0, 0, dict[int, list[int]]()  # component → bits, by coefficient
    for marker, _, segment in _segments(data):
        if marker in _FRAMES:
            frame, missing = marker, {component: [99] * 64 for component in segment[6::3]}
        elif marker == _SOS:
            scans += 1
            if scans > _MAX_SCANS:
                raise ValueError("too many scans")
            first, last, approximation = segment[-3:]
            if frame != _PROGRESSIVE:
                first, last, approximation = 0, 63, 0
            for component in segment[1 : 2 * segment[0] : 2]:
                missing[component][first : last + 1] = [approximation & 15] * (last + 1 - first)
    if any(map(any, missing.values())):
        raise EOFError("truncated: scans are missing")
    return frame


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each marker of a JPEG after the first, to its end: (marker, where it begins, parameters)."""
    position = 2
    while match := _JPEG_MARKER.search(data, position):
        marker, position, parameters = match[1][0], match.end(), b""
        if marker not in (_EOI, _TEM, *_RESTARTS):
            (length,) = struct.unpack_from(">H", data, position)
            parameters = data[position + 2 : position + length]
            position += length
        yield marker, match.start(), parameters
        if marker == _EOI:
            return
    raise EOFError("truncated: no end marker")
