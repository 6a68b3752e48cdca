"""How far photos are off that an autoencoder has rebuilt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.models.base import VARIANCE_EPS, F64Matrix, Ids, U8Batch
from pipeline.progress import Advance, ignored

Rebuild = Callable[[U8Batch], npt.NDArray[np.float32]]
"""(n, h, w, 3) uint8 → the photos as they are rebuilt: the same shape, float32 in 0..1."""


def reconstruction_errors(
    rebuild: Rebuild,
    photos: U8Batch,
    rows: Ids | None = None,
    *,
    batch_size: int = 64,
    advance: Advance = ignored,
) -> F64Matrix:
    """Rebuild photos and measure how far they are off: (n, h, w, 3) uint8 → (n, 2) float64.

    The columns are the mean squared error, pixels being 0..1, and the same divided by the variance
    of the photo's pixels (plus `VARIANCE_EPS`). The latter tells apart noise, whose rebuilt photo
    is plain gray: its error is small, but all of its variance is lost. Only `rows` of the photos
    are rebuilt, if given. Memory holds one batch.

        errors = reconstruction_errors(model.rebuild, pixels)
    """
    rows = np.arange(len(photos)) if rows is None else rows
    batches = [np.empty((0, 2))]
    for start in range(0, len(rows), batch_size):
        originals = photos[rows[start : start + batch_size]]
        pixels = originals.astype(np.float32) / np.float32(255)
        difference = rebuild(originals) - pixels
        error = np.square(difference).mean(axis=(1, 2, 3), dtype=np.float64)
        variance = pixels.var(axis=(1, 2), dtype=np.float64).mean(axis=1)
        batches.append(np.column_stack([error, error / (variance + VARIANCE_EPS)]))
        advance(len(pixels))
    return np.concatenate(batches)


def to_uint8(photos: npt.NDArray[np.floating[Any]]) -> U8Batch:
    """Pixels of about 0..1 → uint8, rounded to the nearest."""
    pixels: U8Batch = np.rint(np.clip(photos, 0, 1) * 255).astype(np.uint8)
    return pixels
