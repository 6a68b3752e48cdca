"""JPEG 2000 bytes → an opened decoder; a file without all of its tiles is refused.

The markers of the codestream are those of ITU-T T.800, annex A.
"""

from __future__ import annotations

import io
import struct

from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from pipeline.errors import RejectedImage
from pipeline.images.limits import ImageLimits, Reject, check_size

_SOC_SIZ, _SOT, _COD = b"\xff\x4f\xff\x51", 0xFF90, 0xFF52
_MAX_SAMPLES = 75_000_000  # OpenJPEG keeps 4 bytes of each, beside the picture
# At most 2 s: a byte takes as long to decode as these samples.
_MAX_WORK, _SAMPLES_PER_BYTE = 130_000_000, 7
_MAX_TILES, _MAX_LAYERS, _MAX_COMPONENTS = 10_000, 100, 4


def open_jpeg2000(data: bytes, limits: ImageLimits) -> Jpeg2KImageFile:
    """Open a JPEG 2000 file or a bare codestream.

    Raises:
        RejectedImage: the limits are exceeded.
        EOFError, struct.error: it is truncated.
        ValueError, SyntaxError: it is damaged, or has more parts than any real file.
    """
    start = data.find(_SOC_SIZ)
    if start < 0:
        raise EOFError("truncated before the picture data")
    size, tiles = _read_size(data, start, limits)
    _check_tiles(data, start + 2, tiles)
    image = Jpeg2KImageFile(io.BytesIO(data))
    if image.size != size:
        raise ValueError("two sizes")
    return image


def _read_size(data: bytes, start: int, limits: ImageLimits) -> tuple[tuple[int, int], int]:
    """Return (width, height) and the number of tiles that the codestream at `start` declares."""
    right, bottom, left, top, across, down, x, y = struct.unpack_from(">8I", data, start + 8)
    (components,) = struct.unpack_from(">H", data, start + 40)
    size = right - left, bottom - top
    check_size(size, limits)
    if min(*size, across, down) < 1:
        raise ValueError("no pixels")
    samples = size[0] * size[1] * components
    if samples > _MAX_SAMPLES or samples + _SAMPLES_PER_BYTE * len(data) > _MAX_WORK:
        message = f"{samples} samples in {len(data)} bytes, which JPEG 2000 takes long to decode"
        raise RejectedImage(Reject.TOO_MANY_PIXELS, message)
    tiles = -(-(right - x) // across) * -(-(bottom - y) // down)
    if components > _MAX_COMPONENTS or not 0 < tiles <= _MAX_TILES:
        raise ValueError("too many components or tiles")
    return size, tiles


def _check_tiles(data: bytes, position: int, tiles: int) -> None:
    """Raise EOFError unless all parts of all tiles are there."""
    missing = dict.fromkeys(range(tiles), 1)  # tile → its parts that are missing
    while any(count > 0 for count in missing.values()):
        marker, length = struct.unpack_from(">2H", data, position)
        if marker == _COD and struct.unpack_from(">H", data, position + 6)[0] > _MAX_LAYERS:
            raise ValueError("too many layers")
        if marker == _SOT:
            tile, length, part, parts = struct.unpack_from(">HI2B", data, position + 4)
            missing[tile] = (parts or part + 1) - part - 1
            length = (length or len(data) - position) - 2
        position += 2 + length
        if position > len(data) or length < 2:
            raise EOFError("truncated: tiles are missing")
