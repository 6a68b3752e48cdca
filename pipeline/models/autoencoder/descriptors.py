"""Descriptors: what a photo shows in numbers that need no training, as fixed convolutions.

    hog          histograms of gradient directions in 8×8 cells, each normalized with its neighbors
                 (Dalal and Triggs, Histograms of oriented gradients for human detection, CVPR 2005)
    silhouette   where the photo is not white, in 16×16 cells
    colors      one joint histogram of 6×6×6 colors in L*a*b* (Swain and Ballard, Color indexing,
                 IJCV 7, 1991), of which roots are taken
    pixels       the photo itself in 16×16 cells

They are the first layers of the `descriptor` network, and what a guide lets a latent be taught by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.models.base import F32Matrix, import_keras, import_tensorflow

U8Photos = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64]

_CELLS, _COARSE = 8, 16  # a side
_DIRECTIONS = 9  # of gradients, whose sign does not count
_CLIP = 0.2  # of a normalized block, so that no single edge decides
_WHITE, _STEEPNESS = 0.93, 40.0  # what is darker than that is no white ground
_COLORS = 6  # along each axis of L*a*b*
_AXES = ((0.0, 100.0), (-60.0, 60.0), (-60.0, 60.0))
_EPSILON = 1e-4
_BATCH = 256  # photos described at a time

STEP = 16
"""Photos are squares whose side is a multiple of this."""


def describe(photos: Any) -> dict[str, Any]:
    """(n, side, side, 3) float32 in 0..1 → each descriptor: (n, its numbers) float32 tensors."""
    tf = import_tensorflow()
    flat = {
        "hog": _hog(photos),
        "foreground_mask": _coarse(
            tf.sigmoid((_WHITE - tf.reduce_min(photos, -1, True)) * _STEEPNESS)
        ),
        "lab_histogram": _lab_histogram(photos),
        "pixels": _coarse(photos),
    }
    return {name: tf.reshape(x, (-1, math.prod(x.shape[1:]))) for name, x in flat.items()}


def layer(name: str) -> Any:
    """Return a Keras layer: (n, side, side, 3) in 0..1 → (n, numbers), all descriptors in a row.

    Each is centered and scaled to one total variance by the photos that `adapt` has seen; until
    then they are as they are.
    """
    keras, tf = import_keras(), import_tensorflow()

    class Descriptors(keras.layers.Layer):  # type: ignore[name-defined,misc]
        def build(self, shape: Any) -> None:
            numbers = self.compute_output_shape(shape)[-1]
            weight = {"shape": (numbers,), "trainable": False}
            self.mean = self.add_weight(name="mean", initializer="zeros", **weight)
            self.scale = self.add_weight(name="scale", initializer="ones", **weight)

        def call(self, photos: Any) -> Any:
            return (tf.concat([*describe(photos).values()], axis=1) - self.mean) * self.scale

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], sum(sizes(shape[1]).values()))

    return Descriptors(name=name, dtype="float32")


def sizes(side: int) -> dict[str, int]:
    """How many numbers each descriptor has."""
    tf = import_tensorflow()
    blank = tf.zeros((1, side, side, 3))
    return {name: int(x.shape[1]) for name, x in describe(blank).items()}


def described(photos: U8Photos, rows: Ids, *, mirrored: bool = False) -> dict[str, F32Matrix]:
    """Describe rows of (n, side, side, 3) uint8: each descriptor's (len(rows), numbers) float32.

    With `mirrored`, each is the mean of the photo's and of its mirror image's.
    """
    describe_batch = _describer(photos.shape[1], mirrored)
    batches = [
        describe_batch(photos[rows[start : start + _BATCH]])
        for start in range(0, len(rows), _BATCH)
    ]
    return {
        name: np.concatenate([np.asarray(batch[name], np.float32) for batch in batches])
        for name in batches[0]
    }


@cache  # each is compiled once
def _describer(side: int, mirrored: bool) -> Callable[[U8Photos], Mapping[str, Any]]:
    tf = import_tensorflow()

    def describe_batch(pixels: Any) -> dict[str, Any]:
        batch = tf.cast(pixels, tf.float32) / 255.0
        found = describe(batch)
        if mirrored:
            other = describe(batch[:, :, ::-1])
            found = {name: (part + other[name]) / 2 for name, part in found.items()}
        return found

    signature = [tf.TensorSpec((None, side, side, 3), tf.uint8)]
    compiled: Callable[[U8Photos], Mapping[str, Any]] = tf.function(
        describe_batch, input_signature=signature, autograph=False
    )
    return compiled


def _coarse(photos: Any) -> Any:
    """(n, side, side, c) → (n, 16, 16, c): the mean of each cell."""
    tf = import_tensorflow()
    cell = photos.shape[1] // _COARSE
    return tf.nn.avg_pool2d(photos, cell, cell, "VALID")


def _hog(photos: Any) -> Any:
    """(n, side, side, 3) → (n, 7, 7, 36): four cells of nine directions in each block."""
    tf = import_tensorflow()
    gray = tf.reduce_mean(photos, axis=-1, keepdims=True)
    across = tf.pad(gray[:, :, 2:] - gray[:, :, :-2], ((0, 0), (0, 0), (1, 1), (0, 0)))
    down = tf.pad(gray[:, 2:] - gray[:, :-2], ((0, 0), (1, 1), (0, 0), (0, 0)))
    length = tf.sqrt(across**2 + down**2 + 1e-8)
    angles = [math.pi * at / _DIRECTIONS for at in range(_DIRECTIONS)]
    along = tf.abs(across * [math.cos(a) for a in angles] + down * [math.sin(a) for a in angles])
    # Full for a gradient in that direction, none from the next direction on.
    next_one = math.cos(math.pi / _DIRECTIONS)
    strength = tf.nn.relu(along - next_one * length) / (1 - next_one)
    cell = photos.shape[1] // _CELLS
    cells = tf.nn.avg_pool2d(strength, cell, cell, "VALID")
    last = _CELLS - 1
    blocks = tf.concat([cells[:, i : i + last, j : j + last] for i in (0, 1) for j in (0, 1)], -1)
    return _unit(tf.minimum(_unit(blocks), 2 * _CLIP))


def _unit(blocks: Any) -> Any:
    tf = import_tensorflow()
    return blocks / tf.sqrt(tf.reduce_sum(blocks**2, axis=-1, keepdims=True) + _EPSILON)


def _lab_histogram(photos: Any) -> Any:
    """(n, side, side, 3) → (n, 216): roots of the share of each color; a pixel counts for two."""
    tf = import_tensorflow()
    lab = _lab(tf.nn.avg_pool2d(photos, 2, 2, "VALID"))
    centers = tf.range(_COLORS, dtype=tf.float32)
    shares = []
    for at, (low, high) in enumerate(_AXES):
        place = tf.clip_by_value((lab[..., at] - low) / (high - low), 0, 1) * _COLORS - 0.5
        place = tf.clip_by_value(place, 0, _COLORS - 1)[..., tf.newaxis]
        shares.append(tf.nn.relu(1 - tf.abs(place - centers)))
    pixels = lab.shape[1] * lab.shape[2]
    lightness, a, b = (tf.reshape(share, (-1, pixels, _COLORS)) for share in shares)
    # Two axes pixel by pixel, the third as a product of matrices: all three would take long.
    two = tf.reshape(lightness[..., tf.newaxis] * a[:, :, tf.newaxis], (-1, pixels, _COLORS**2))
    return tf.sqrt(tf.matmul(two, b, transpose_a=True) / pixels + 1e-6)


def _lab(photos: Any) -> Any:
    """RGB in 0..1 → L*a*b* under the white point D65 (IEC 61966-2-1, CIE 15)."""
    tf = import_tensorflow()
    rgb = tf.clip_by_value(photos, 1e-4, 1)
    rgb = tf.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    # Columns of the matrix to X, Y and Z, each divided by white's.
    to_xyz = [
        [0.412453 / 0.95047, 0.212671, 0.019334 / 1.08883],
        [0.357580 / 0.95047, 0.715160, 0.119193 / 1.08883],
        [0.180423 / 0.95047, 0.072169, 0.950227 / 1.08883],
    ]
    xyz = tf.tensordot(rgb, to_xyz, 1)
    f = tf.where(xyz > 0.008856, tf.maximum(xyz, 1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return tf.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
