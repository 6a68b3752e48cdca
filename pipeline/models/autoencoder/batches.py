"""Pixels, or what a stem gives → batches to train on: in a given order, changed at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import AugmentSettings
from pipeline.models.autoencoder.stem import F16Features
from pipeline.models.base import F32Matrix, U8Batch
from pipeline.models.keras_runtime import tf


def draw_affine(
    random: np.random.Generator, count: int, side: int, augment: AugmentSettings
) -> F32Matrix | None:
    """Draw for each photo how it is flipped, shifted and zoomed; None if `augment` has none of it.

    Returns:
        (count, 8) float32: projective transforms from output to input pixels, as TensorFlow's
        `ImageProjectiveTransformV3` takes them.
    """
    if not (augment.flip or augment.shift or augment.zoom):
        return None
    mirror = np.where(random.random(count) < 0.5 * augment.flip, -1.0, 1.0)
    scale = np.exp(random.uniform(-augment.zoom, augment.zoom, (2, count)))
    shift = random.uniform(-augment.shift, augment.shift, (2, count)) * side
    middle = (side - 1) / 2
    affine = np.zeros((count, 8), np.float32)
    affine[:, 0], affine[:, 4] = scale[0] * mirror, scale[1]
    affine[:, 2] = middle - affine[:, 0] * middle + shift[0]
    affine[:, 5] = middle - affine[:, 4] * middle + shift[1]
    return affine


def batches_of(
    photos: U8Batch,
    order: npt.NDArray[np.int64],
    size: int,
    affine: F32Matrix | None = None,
    *,
    clean: bool = False,
    drop_remainder: bool = False,
) -> Any:
    """Return a `tf.data` pipeline of batches (inputs, expected outputs, rows) in the given order.

    `photos` is (n, h, w, 3) uint8. Inputs are (size, h, w, 3) float32 in 0..1, transformed by
    `affine` if given; beyond a photo's border is the color of its nearest pixel. Expected outputs
    are the inputs or, if `clean`, the photos before they were transformed. Rows are (size,) int64.
    """
    shape = photos.shape[1:]

    def read(rows: Any) -> Any:
        pixels = tf.numpy_function(lambda chosen: photos[chosen], [rows], tf.uint8)
        pixels = tf.cast(tf.ensure_shape(pixels, (None, *shape)), tf.float32) / 255.0
        if affine is None:
            return pixels, pixels, rows
        transformed = tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels,
            transforms=tf.gather(affine, rows),
            output_shape=shape[:2],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )
        return transformed, pixels if clean else transformed, rows

    rows = tf.data.Dataset.from_tensor_slices(order).batch(size, drop_remainder=drop_remainder)
    return rows.map(read).prefetch(2)


def feature_batches(
    photos: U8Batch,
    features: F16Features,
    order: npt.NDArray[np.int64],
    size: int,
    is_mirrored: npt.NDArray[np.bool_] | None = None,
) -> Any:
    """Return a `tf.data` pipeline of batches (inputs, expected outputs, rows) in the given order.

    `photos` is (n, h, w, 3) uint8 and `features` (n, 2, dim), of each photo and its mirror image,
    of which (n,) `is_mirrored` chooses. Inputs are (size, dim) float32, expected outputs
    (size, h, w, 3) float32 in 0..1: the photos as they are. Rows are (size,) int64.
    """
    side = np.zeros(len(photos), np.int64) if is_mirrored is None else is_mirrored.astype(np.int64)

    def read(rows: Any) -> Any:
        inputs, pixels = tf.numpy_function(
            lambda chosen: (features[chosen, side[chosen]].astype(np.float32), photos[chosen]),
            [rows],
            (tf.float32, tf.uint8),
        )
        pixels = tf.cast(tf.ensure_shape(pixels, (None, *photos.shape[1:])), tf.float32) / 255.0
        return tf.ensure_shape(inputs, (None, features.shape[2])), pixels, rows

    rows = tf.data.Dataset.from_tensor_slices(order).batch(size)
    return rows.map(read).prefetch(2)
