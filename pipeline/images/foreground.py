"""Where the thing is that a photo shows, if it lies on a plain background.

A plain background is known by its frame: a rectangle along whose sides colors hardly change
inward, and which ends there, at the edge of the photo or in a sudden change of color. The one with
the longest plain sides counts. So the background is found of a product photo, and also of one
within a cluttered picture, such as a screenshot. The foreground is what differs from the color of
that frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]  # left, top, right, bottom

_CELLS = 64  # along the longer side: corners of frames are looked for on this grid
_MIN_CELLS = 8  # along the shorter side
_FLAT, _STEP = 12, 20  # of 255: changes from pixel to pixel of a background, and at its end
_MIN_PLAIN = 0.45  # share of each side of a frame; things reach beyond it here and there
_MIN_SIDE = 4  # the sides of a frame are at least a quarter of the photo's
_MIN_PIXELS = 2  # of 2 × 64: a row or column with fewer is no foreground


def foreground_box(image: Image.Image) -> Box | None:
    """RGB image → (left, top, right, bottom) in pixels; None if no background is plain.

    box = foreground_box(decode(data, limits))
    """
    longer = max(image.size)
    width, height = (max(_MIN_CELLS, round(_CELLS * side / longer)) for side in image.size)
    pixels = np.asarray(image.resize((2 * width, 2 * height), Image.Resampling.BOX), np.int16)
    frame = _plain_frame(pixels)
    box = None if frame is None else _foreground(pixels, frame)
    if box is None:
        return None
    left, top, right, bottom = box
    across, down = image.width / (2 * width), image.height / (2 * height)
    return round(left * across), round(top * down), round(right * across), round(bottom * down)


def _plain_frame(pixels: Pixels) -> Box | None:
    """(2 h, 2 w, 3) → the rectangle with the longest plain sides; None if there is none."""
    from_left, to_right = _ends(pixels)
    from_top, to_bottom = _ends(pixels.transpose(1, 0, 2))
    height, width = len(pixels) // 2, pixels.shape[1] // 2
    top, bottom = np.triu_indices(height + 1, max(1, height // _MIN_SIDE))
    left, right = np.triu_indices(width + 1, max(1, width // _MIN_SIDE))
    plain = np.minimum(
        np.minimum(
            _shares(from_left, top, bottom)[:, left], _shares(to_right, top, bottom)[:, right]
        ),
        np.minimum(
            _shares(from_top, left, right)[:, top], _shares(to_bottom, left, right)[:, bottom]
        ).T,
    )
    lengths = np.where(plain >= _MIN_PLAIN, plain * np.add.outer(bottom - top, right - left), 0)
    row, column = np.unravel_index(lengths.argmax(), lengths.shape)
    if not lengths[row, column]:
        return None
    return 2 * int(left[column]), 2 * int(top[row]), 2 * int(right[column]), 2 * int(bottom[row])


def _ends(pixels: Pixels) -> tuple[Mask, Mask]:
    """(rows, 2 w, 3) → where something plain begins right of a line, and where it ends left of one.

    Both are (rows, w + 1), for the lines between every two columns.
    """
    changes = np.abs(np.diff(pixels, axis=1)).max(axis=2)
    changes = np.pad(changes, ((0, 0), (4, 4)), constant_values=255)  # the photo ends suddenly
    lines = pixels.shape[1] + 1

    def at(offset: int) -> Pixels:
        return changes[:, 3 + offset : 3 + offset + lines : 2]

    is_end = np.maximum(np.maximum(at(-1), at(0)), at(1)) > _STEP
    return (
        is_end & (np.maximum(at(2), at(3)) <= _FLAT),
        is_end & (np.maximum(at(-2), at(-3)) <= _FLAT),
    )


def _shares(
    mask: Mask, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """(2 h, lines), and n ranges of cells → (n, lines): the share of each range that is marked."""
    counts = np.pad(mask.cumsum(axis=0, dtype=np.float32), ((1, 0), (0, 0)))[::2]
    lengths = 2 * (stops - starts)[:, np.newaxis].astype(np.float32)
    return np.asarray((counts[stops] - counts[starts]) / lengths)


def _foreground(pixels: Pixels, frame: Box) -> Box | None:
    """The smallest box around what differs from the color of a frame, and a little more."""
    left, top, right, bottom = frame
    inside = pixels[top:bottom, left:right]
    edges = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    differs = np.abs(inside - np.median(edges, axis=0)).max(axis=2) > _STEP
    columns = np.flatnonzero(differs.sum(axis=0) >= _MIN_PIXELS)
    rows = np.flatnonzero(differs.sum(axis=1) >= _MIN_PIXELS)
    if not (len(rows) and len(columns)):
        return None
    return (
        max(left, left + int(columns[0]) - _MIN_PIXELS),
        max(top, top + int(rows[0]) - _MIN_PIXELS),
        min(right, left + int(columns[-1]) + 1 + _MIN_PIXELS),
        min(bottom, top + int(rows[-1]) + 1 + _MIN_PIXELS),
    )
