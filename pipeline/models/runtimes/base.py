"""What a runtime makes of a network on disk: something that can be called."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.models.base import F32Matrix, U8Batch

F32Array = npt.NDArray[np.float32]
MAX_DIFFERENCE = 1e-5
"""By which runtimes may differ for a network, as a share of the largest entry of their results."""


class Network(Protocol):
    """A network from raw pixels to vectors, open in one runtime.

    vectors = network(np.stack(photos))  # (n, h, w, 3) uint8 → (n, dim) float32
    """

    @property
    def runtime(self) -> str:
        """Which library computes, and its version: `onnxruntime 1.32.0`."""

    def __call__(self, pixels: U8Batch, /) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, dim) float32, C-contiguous; n may be 0.

        On a CPU a photo gets the same vector, to the last bit, whatever photos are beside it; where
        it was opened for queries, a photo alone may get another one, within `max_rounding`.
        """


class Decoder(Protocol):
    """The second half of an autoencoder: vectors → photos."""

    def __call__(self, vectors: F32Matrix, /) -> F32Array:
        """(n, dim) float32, not normalized → (n, height, width, 3) float32 in 0..1."""


def max_rounding(vector: npt.NDArray[np.float32]) -> float:
    """Return how far apart, in Euclidean distance, runtimes may put one photo: vector is (dim,)."""
    return MAX_DIFFERENCE * float(np.abs(vector).max() * np.sqrt(vector.size))


def difference(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """Return the largest difference of two arrays, as a share of the largest entry expected."""
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))
