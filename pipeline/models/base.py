"""What an embedding model is: photos → vectors."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.images import U8Image

U8Batch = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64]
F32Matrix = npt.NDArray[np.float32]
F64Matrix = npt.NDArray[np.float64]

VARIANCE_EPS = 1e-3
"""Added to a photo's variance, which is 0 if it has a single color, before dividing by it."""


class EmbeddingModel(Protocol):
    """Turns photos into vectors; photos of the catalog and of queries go through the same steps.

    vectors = model.encode(np.stack([model.prepare(photo) for photo in photos]))
    """

    @property
    def name(self) -> str:
        """The engine's name."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the pixels that it takes."""

    @property
    def fingerprint(self) -> str:
        """Names the network, its weights and the way photos are prepared: see `ModelFolder`."""

    @property
    def runtime(self) -> str:
        """Which library computes, and its version."""

    def prepare(self, image: Image.Image) -> U8Image:
        """Any RGB image → (height, width, 3) uint8, as the network takes it."""

    def encode(self, pixels: U8Batch) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, dim) float32, C-contiguous."""

    def reconstruction_errors(self, pixels: U8Batch) -> F32Matrix | None:
        """(n, height, width, 3) uint8 → (n, 2) float32: how far the rebuilt photos are off.

        The columns are those of `reconstruction.reconstruction_errors`. None if the model rebuilds
        no photos.
        """
