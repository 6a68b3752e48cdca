"""What an audit measures of one photo: 156 bytes, from a picture of at most 256 pixels a side."""

from __future__ import annotations

from typing import Any

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.images import U8Image

Measures = npt.NDArray[np.void]
"""(n,) rows of `MEASURES`."""

SIDE = 256  # pixels of the longer side that everything is measured at, so that size plays no part
HASH_SIDE = 16  # 16² = 256 bits: 64 bits take one shoe for another as soon as they forgive a copy
_CELLS = 6
LUMA_STEP = 4  # levels of luma that count as one of color: lighting changes it, and color little
_LEVELS = 12  # of 256: what JPEG makes of a plain surface
MEASURES = np.dtype(
    [
        ("photo", np.int64),
        ("hash", np.uint64, HASH_SIDE**2 // 64),
        ("color", np.uint8, 3 * _CELLS**2),
        ("plain", np.float32),
        ("sharpness", np.float32),
    ]
)


def measure(photo: int, image: Image.Image) -> Measures:
    """Measure an RGB image; returns one row, (1,), with `photo` as its id.

    `hash` is the perceptual hash by `imagehash.phash`, `color` the mean of Y / `LUMA_STEP`,
    Cb and Cr of 6×6 cells.
    """
    shrink = SIDE / max(image.size)
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    small = image.resize(size, Image.Resampling.BOX) if shrink < 1 else image
    cells = small.convert("YCbCr").resize((_CELLS, _CELLS), Image.Resampling.BOX)
    row = np.zeros(1, MEASURES)
    row["photo"] = photo
    row["hash"] = np.packbits(imagehash.phash(small, HASH_SIDE).hash).view(np.uint64)
    row["color"] = (np.asarray(cells) // (LUMA_STEP, 1, 1)).ravel()
    row["plain"] = plainness(np.asarray(small))
    row["sharpness"] = sharpness(np.asarray(small.convert("L"), np.float32))
    return row


def plainness(pixels: U8Image) -> float:
    """Share of the pixels within 12 levels, in each channel, of the median color."""
    channels = np.ascontiguousarray(pixels.reshape(-1, 3).T, np.int16)
    # If one color fills half of a picture, the median is that color.
    color = np.median(channels, axis=1, keepdims=True)
    return float(np.mean((np.abs(channels - color) <= _LEVELS).all(axis=0)))


def sharpness(luma: npt.NDArray[Any]) -> float:
    """(height, width) luma → the strength of its strongest edges, whatever its contrast.

    The 99.5th percentile of the Laplacian's magnitude, as a share of the range of the luma. Not
    the Laplacian's variance: that is small too where a sharp product fills little of the photo.
    """
    around = np.pad(luma, 1, mode="edge")
    neighbors = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    low, high = np.percentile(luma, (0.5, 99.5))
    # + 8 levels: what JPEG leaves on a plain surface is no edge.
    return float(np.percentile(np.abs(neighbors - 4 * luma), 99.5) / (high - low + 8))
