"""What a runtime makes of a model folder: a network that can be called."""

from __future__ import annotations

from typing import Protocol

from pipeline.models.base import F32Matrix, U8Batch


class Network(Protocol):
    """A network from raw pixels to vectors, open in one runtime.

    vectors = network(np.stack(photos))  # (n, h, w, 3) uint8 → (n, dim) float32
    """

    @property
    def runtime(self) -> str:
        """Which library computes, and its version: `onnxruntime 1.32.0`."""

    def __call__(self, pixels: U8Batch) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, dim) float32, C-contiguous; n may be 0.

        A photo gets the same vector, to the last bit, whatever photos are beside it.
        """
