"""A picture as the camera was held → upright, by its EXIF orientation."""

from __future__ import annotations

import struct

from PIL import Image

_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, exif: bytes | None) -> Image.Image:
    """Turn the picture as its EXIF data say."""
    if exif and (orientation := _orientation(exif)) in _TO_UPRIGHT:
        return image.transpose(_TO_UPRIGHT[orientation])
    return image


def _orientation(exif: bytes) -> int:
    """Read the EXIF orientation, 1 if absent or unreadable; Pillow turns TIFFs upright itself."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = ">" if tiff[:2] == b"MM" else "<"
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == 0x0112:
                value = struct.unpack_from(order + "HI"[kind == 4], tiff, entry + 8)[0]
                return int(value)
    except struct.error:
        pass
    return 1
