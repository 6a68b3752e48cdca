"""Lay one thumbnail on another: which window of it the other shows, to a part of a pixel.

Lucas and Kanade, An iterative image registration technique with an application to stereo vision,
IJCAI 1981: Gauss-Newton on the squared differences, here of a window's place and size and of the
light, coarse to fine, with weights that spare what differs much, such as a logo.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_LEVELS = ((4, 3), (2, 3), (1, 4))  # pixels to average a side, and steps
_MAX_STEP = 0.08  # of the photo's side
_MIN_SIZE, _MAX_SIZE = 0.6, 1.6
_DAMPING = np.diag([2e3, 2e3, 2e3, 2e3, 1e3, 1.0]).astype(np.float32)
_GRAY = 128  # levels around which contrast changes, so that it does not change the mean


class Placement(NamedTuple):
    """Where n photos lie on n others, of which each may reach beyond the other."""

    across: F32
    """(n, 2): left edge and width, as fractions of the other photo's."""
    down: F32
    """(n, 2): top edge and height."""

    def sample(self, images: F32, side: int) -> F32:
        """(n, h, w) → (n, side, side): what lies below each of the photos' pixels."""
        rows = _interpolation(self.down, images.shape[1], side)
        columns = _interpolation(self.across, images.shape[2], side)
        lines: F32 = rows @ images
        below: F32 = lines @ columns.transpose(0, 2, 1)
        return below

    def overlap(self, side: int) -> Mask:
        """(n, side, side): which of the photos' pixels lie on the other photo at all."""
        rows, columns = (_is_within(_places(line, side)) for line in (self.down, self.across))
        return rows[:, :, np.newaxis] & columns[:, np.newaxis, :]


def align(photos: F32, others: F32, start: Placement) -> Placement:
    """(n, s, s) luma of photos and of others → where each lies best, near where it starts."""
    across, down = start.across.copy(), start.down.copy()
    for factor, steps in _LEVELS:
        small, small_others = shrunk(photos, factor), shrunk(others, factor)
        for _ in range(steps):
            step = _step(small, small_others, Placement(across, down))
            across += step[:, 0:2]
            down += step[:, 2:4]
            across[:, 1] = across[:, 1].clip(_MIN_SIZE, _MAX_SIZE)
            down[:, 1] = down[:, 1].clip(_MIN_SIZE, _MAX_SIZE)
    return Placement(across, down)


def _step(photos: F32, others: F32, at: Placement) -> F32:
    """(n, 4): by how much to change (left, width, top, height), by one step of Gauss-Newton."""
    side = photos.shape[1]
    below = at.sample(others, side)
    slope_down, slope_across = (slope * side for slope in np.gradient(below, axis=(1, 2)))
    slope_across = slope_across / at.across[:, 1, None, None]
    slope_down = slope_down / at.down[:, 1, None, None]
    place = ((np.arange(side) + 0.5) / side).astype(np.float32)
    derivatives = (
        *(slope_across, slope_across * place),
        *(slope_down, slope_down * place[:, np.newaxis]),
        *(below - _GRAY, np.ones_like(below)),
    )
    jacobian = np.stack(derivatives, axis=1).reshape(len(photos), 6, -1)
    residual = (photos - below).reshape(len(photos), -1)
    scale = 2 * np.median(np.abs(residual), axis=1, keepdims=True) + 6
    weights = at.overlap(side).reshape(residual.shape) / (1 + (residual / scale) ** 2)
    weighted = jacobian * weights[:, np.newaxis].astype(np.float32)
    normal = weighted @ jacobian.transpose(0, 2, 1) + _DAMPING
    step = np.linalg.solve(normal, weighted @ residual[..., np.newaxis])[:, :4, 0]
    limited: F32 = step.clip(-_MAX_STEP, _MAX_STEP)
    return limited


def shrunk(images: F32, factor: int) -> F32:
    """(n, h, w) → (n, h / factor, w / factor): the means of squares of that many pixels a side."""
    n, height, width = images.shape
    cells = images.reshape(n, height // factor, factor, width // factor, factor)
    means: F32 = cells.mean((2, 4))
    return means


def _places(line: F32, side: int) -> F32:
    """(n, 2) start and length → (n, side): the places of the pixels' centers on the other photo."""
    centers = ((np.arange(side) + 0.5) / side).astype(np.float32)
    return line[:, :1] + line[:, 1:] * centers


def _is_within(places: F32) -> Mask:
    return (places >= 0) & (places <= 1)


def _interpolation(line: F32, pixels: int, side: int) -> F32:
    """(n, side, pixels): the matrices that interpolate linearly at these places."""
    places = (_places(line, side) * pixels - 0.5).clip(0, pixels - 1)
    distances = np.abs(places[:, :, np.newaxis] - np.arange(pixels, dtype=np.float32))
    matrices: F32 = np.maximum(0, 1 - distances)
    return matrices
