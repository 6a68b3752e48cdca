"""Descriptors of photos that need no training, as fixed convolutions.

    hog              histograms of oriented gradients in 8×8 cells, each normalized with its
                     neighbors (Dalal and Triggs, Histograms of oriented gradients for human
                     detection, CVPR 2005)
    foreground_mask  where the photo is not white, in 16×16 cells
    lab_histogram    square roots of a joint histogram of 6×6×6 colors in L*a*b* (Swain and Ballard,
                     Color indexing, IJCV 7, 1991)
    pixels           the photo itself in 16×16 cells

They are the first layers of the `descriptor` network, and part of the targets of distillation.
Arrays that have a value for each pixel have the pixels last: ONNX Runtime is several times slower
where the last axis is short.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from pipeline.models.base import F32Matrix, Ids, U8Batch
from pipeline.models.keras_runtime import Compiled, compiled, keras, tf

_HOG_CELLS, _COARSE_CELLS = 8, 16  # along each side
_DIRECTIONS = 9  # of gradients, over half a circle: opposite directions are one
_TURN = math.pi / _DIRECTIONS  # from one to the next
_CLIP = 0.2  # of a normalized block, so that a single edge cannot outweigh all others
_WHITE, _STEEPNESS = 0.93, 40.0  # a darker pixel belongs to the foreground
_COLOR_BINS = 6  # along each axis of L*a*b*
_LAB_RANGES = ((0.0, 100.0), (-60.0, 60.0), (-60.0, 60.0))
_EPSILON = 1e-4
_BATCH_SIZE = 256


def compute(photos: Any) -> dict[str, Any]:
    """(n, side, side, 3) float32 in 0..1, sides a multiple of 16 → name: (n, dim) float32."""
    darkness = _WHITE - tf.reduce_min(photos, -1)
    parts = {
        "hog": _hog(photos),
        "foreground_mask": _cell_means(tf.sigmoid(darkness * _STEEPNESS), _COARSE_CELLS),
        "lab_histogram": _lab_histogram(photos),
        "pixels": _cell_colors(photos),
    }
    return {name: tf.reshape(x, (-1, math.prod(x.shape[1:]))) for name, x in parts.items()}


def layer(name: str) -> Any:
    """Return a Keras layer: (n, side, side, 3) in 0..1 → (n, dim), all descriptors in a row.

    `network.adapt` sets its weights, which center each descriptor and scale it to the same total
    variance; initially they change nothing.
    """

    class Descriptors(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            weight = {"shape": self.compute_output_shape(shape)[1:], "trainable": False}
            self.mean = self.add_weight(name="mean", initializer="zeros", **weight)
            self.scale = self.add_weight(name="scale", initializer="ones", **weight)

        def call(self, photos: Any) -> Any:
            return (tf.concat([*compute(photos).values()], axis=1) - self.mean) * self.scale

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], sum(dims(shape[1]).values()))

    return Descriptors(name=name, dtype="float32")


def dims(side: int) -> dict[str, int]:
    """Return the length of each descriptor."""
    blank = tf.zeros((1, side, side, 3))
    return {name: int(x.shape[1]) for name, x in compute(blank).items()}


def extract(photos: U8Batch, rows: Ids, *, mirrored: bool = False) -> dict[str, F32Matrix]:
    """Compute descriptors of rows of (n, side, side, 3) uint8: name → (len(rows), dim) float32.

    With `mirrored`, each is the mean of the photo's and its mirror image's.

        hog = extract(photos, np.arange(len(photos)))["hog"]
    """
    compute_batch = _compute_batch(photos.shape[1], mirrored)
    batches = [
        compute_batch(photos[rows[start : start + _BATCH_SIZE]])
        for start in range(0, len(rows), _BATCH_SIZE)
    ]
    return {
        name: np.concatenate([np.asarray(batch[name], np.float32) for batch in batches])
        for name in batches[0]
    }


@cache  # each is compiled once
def _compute_batch(side: int, mirrored: bool) -> Compiled:
    def compute_batch(pixels: Any) -> dict[str, Any]:
        photos = tf.cast(pixels, tf.float32) / 255.0
        parts = compute(photos)
        if mirrored:
            mirror_parts = compute(photos[:, :, ::-1])
            parts = {name: (part + mirror_parts[name]) / 2 for name, part in parts.items()}
        return parts

    return compiled(compute_batch, (side, side, 3), tf.uint8)


def _cell_means(planes: Any, cells: int) -> Any:
    """(…, side, side) → (…, cells, cells)."""
    *others, side = planes.shape[1:-1]
    split = tf.reshape(planes, (-1, *others, cells, side // cells, cells, side // cells))
    return tf.reduce_mean(split, (-3, -1))


def _cell_colors(photos: Any) -> Any:
    """(n, side, side, 3) → (n, cells, cells, 3)."""
    cell = photos.shape[1] // _COARSE_CELLS
    return tf.nn.avg_pool2d(photos, cell, cell, "VALID")


def _hog(photos: Any) -> Any:
    """(n, side, side, 3) → (n, 7, 7, 36): four cells of nine directions in each block."""
    gray = tf.reduce_mean(photos, axis=-1)
    across = tf.pad(gray[:, :, 2:] - gray[:, :, :-2], ((0, 0), (0, 0), (1, 1)))[:, tf.newaxis]
    down = tf.pad(gray[:, 2:] - gray[:, :-2], ((0, 0), (1, 1), (0, 0)))[:, tf.newaxis]
    length = tf.sqrt(across * across + down * down + 1e-8)
    angles = np.arange(_DIRECTIONS, dtype=np.float32)[:, np.newaxis, np.newaxis] * _TURN
    along = tf.abs(across * np.cos(angles) + down * np.sin(angles))
    # A gradient counts fully for its own direction and not at all for the adjacent ones.
    adjacent = math.cos(_TURN)
    strength = tf.nn.relu(along - adjacent * length) / (1 - adjacent)
    cells = tf.transpose(_cell_means(strength, _HOG_CELLS), (0, 2, 3, 1))
    side = _HOG_CELLS - 1
    blocks = tf.concat([cells[:, i : i + side, j : j + side] for i in (0, 1) for j in (0, 1)], -1)
    return _unit(tf.minimum(_unit(blocks), 2 * _CLIP))


def _unit(blocks: Any) -> Any:
    return blocks / tf.sqrt(tf.reduce_sum(blocks**2, axis=-1, keepdims=True) + _EPSILON)


def _lab_histogram(photos: Any) -> Any:
    """(n, side, side, 3) → (n, 216): roots of the share of each color.

    A pixel is shared linearly between the two nearest bins of each axis.
    """
    lab = _lab(_planes(tf.nn.avg_pool2d(photos, 2, 2, "VALID")))
    pixels = lab.shape[2]
    bins = np.arange(_COLOR_BINS, dtype=np.float32)[:, np.newaxis]
    shares = []
    for axis, (low, high) in enumerate(_LAB_RANGES):
        values = lab[:, axis : axis + 1]
        position = tf.clip_by_value((values - low) / (high - low), 0, 1) * _COLOR_BINS - 0.5
        position = tf.clip_by_value(position, 0, _COLOR_BINS - 1)
        shares.append(tf.nn.relu(1 - tf.abs(position - bins)))
    lightness, a, b = shares
    # Two axes pixel by pixel and the third by a matrix product, which is much faster than all
    # three pixel by pixel.
    joint = lightness[:, :, tf.newaxis] * a[:, tf.newaxis]
    joint = tf.reshape(joint, (-1, _COLOR_BINS**2, pixels))
    return tf.sqrt(tf.matmul(joint, b, transpose_b=True) / pixels + 1e-6)


def _planes(photos: Any) -> Any:
    """(n, height, width, 3) → (n, 3, pixels)."""
    pixels = photos.shape[1] * photos.shape[2]
    return tf.transpose(tf.reshape(photos, (-1, pixels, 3)), (0, 2, 1))


def _lab(planes: Any) -> Any:
    """RGB in 0..1 → L*a*b* under the white point D65 (IEC 61966-2-1, CIE 15): (n, 3, pixels)."""
    rgb = tf.clip_by_value(planes, 1e-4, 1)
    rgb = tf.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    # Rows give X, Y and Z, each divided by that of white.
    to_xyz = np.array(
        [
            [0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047],
            [0.212671, 0.715160, 0.072169],
            [0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883],
        ],
        np.float32,
    )
    xyz = tf.matmul(to_xyz, rgb)
    f = tf.where(xyz > 0.008856, tf.maximum(xyz, 1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f[:, 0], f[:, 1], f[:, 2]
    return tf.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
