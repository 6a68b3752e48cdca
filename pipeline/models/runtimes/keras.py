"""Networks in Keras: for training, on GPUs, and as what the other runtimes are compared with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.models.base import F32Matrix, U8Batch
from pipeline.models.keras_runtime import compiled, keras, tf


class KerasNetwork:
    """A `keras.Model`, (n, h, w, 3) float32 in 0..255 → (n, dim), that takes raw pixels.

    vectors = KerasNetwork(network)(pixels)
    """

    def __init__(self, network: Any) -> None:
        self.runtime = f"keras {keras.__version__}"
        call = compiled(
            lambda pixels: network(tf.cast(pixels, tf.float32), training=False),
            network.input_shape[1:],
            tf.uint8,
        )
        self._call = call

    def __call__(self, pixels: U8Batch) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, dim) float32, C-contiguous."""
        vectors: F32Matrix = np.array(self._call(pixels), dtype=np.float32, order="C")
        return vectors


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU; it is imported only where there may be one."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(_nvidia_devices()) and bool(tf.config.list_physical_devices("GPU"))


def _nvidia_devices() -> Iterator[Path]:
    return Path("/dev").glob("nvidia[0-9]*")
