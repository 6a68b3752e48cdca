"""Pixels → batches to train on: in a given order, mirrored, moved and scaled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import AugmentSettings
from pipeline.models.base import import_tensorflow

U8Photos = npt.NDArray[np.uint8]


def transforms_of(
    random: np.random.Generator, count: int, side: int, augment: AugmentSettings
) -> npt.NDArray[np.float32] | None:
    """Draw for each photo how it is mirrored, moved and scaled; None if nothing is asked for.

    Returns:
        (count, 8) float32: projective transforms from output to input pixels, as TensorFlow's
        `ImageProjectiveTransformV3` takes them.
    """
    if not (augment.flip or augment.shift or augment.zoom):
        return None
    mirror = np.where(random.random(count) < 0.5 * augment.flip, -1.0, 1.0)
    scale = np.exp(random.uniform(-augment.zoom, augment.zoom, (2, count)))
    move = random.uniform(-augment.shift, augment.shift, (2, count)) * side
    middle = (side - 1) / 2
    transforms = np.zeros((count, 8), np.float32)
    transforms[:, 0], transforms[:, 4] = scale[0] * mirror, scale[1]
    transforms[:, 2] = middle - transforms[:, 0] * middle + move[0]
    transforms[:, 5] = middle - transforms[:, 4] * middle + move[1]
    return transforms


def batches_of(
    photos: U8Photos,
    order: npt.NDArray[np.int64],
    size: int,
    transforms: npt.NDArray[np.float32] | None = None,
    *,
    clean: bool = False,
    drop_remainder: bool = False,
) -> Any:
    """A `tf.data` pipeline of batches in this order: what is shown, what it should be, whose it is.

    The first two are (n, h, w, 3) float32 in 0..1: moved, and as moved or, if `clean`, as it was.
    What a transform brings in from beyond the border is the color of the nearest pixel. The third
    are the photos' numbers, (n,) int64.
    """
    tf = import_tensorflow()
    shape = photos.shape[1:]

    def read(rows: Any) -> Any:
        pixels = tf.numpy_function(lambda chosen: photos[chosen], [rows], tf.uint8)
        pixels = tf.cast(tf.ensure_shape(pixels, (None, *shape)), tf.float32) / 255.0
        if transforms is None:
            return pixels, pixels, rows
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels,
            transforms=tf.gather(transforms, rows),
            output_shape=shape[:2],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )
        return moved, pixels if clean else moved, rows

    rows = tf.data.Dataset.from_tensor_slices(order).batch(size, drop_remainder=drop_remainder)
    return rows.map(read).prefetch(2)
