"""A network on disk as an embedding model."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from PIL import Image

from pipeline import images
from pipeline.images import U8Image
from pipeline.models import runtimes
from pipeline.models.base import F32Matrix, U8Batch
from pipeline.models.reconstruction import Rebuild, reconstruction_errors
from pipeline.models.runtimes.base import Network
from pipeline.models.store import ModelFolder


class NetworkModel:
    """An embedding model that is a network, open in some runtime, from raw pixels to the vector."""

    def __init__(self, name: str, folder: ModelFolder, network: Network) -> None:
        spec = folder.embedding
        self.name, self.dim, self.fingerprint = name, folder.dim, folder.fingerprint
        self.input_size = folder.input_size
        self.resize, self.crop, self.normalize = spec["resize"], spec.get("crop"), spec["normalize"]
        self.runtime = network.runtime
        self._network, self._folder = network, folder

    @cached_property
    def rebuild(self) -> Rebuild | None:
        """(n, h, w, 3) uint8 → the same float32 in 0..1, rebuilt; None if it rebuilds no photos."""
        decoder = runtimes.open_decoder(self._folder)
        return None if decoder is None else lambda pixels: decoder(self._network(pixels))

    def prepare(self, image: Image.Image) -> U8Image:
        """Any RGB image → (height, width, 3) uint8: all of it stretched, or cropped."""
        return images.resize(image, self.input_size, self.resize, crop=self.crop)

    def encode(self, pixels: U8Batch) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, dim) float32, C-contiguous, unit length if normalized.

        A vector of zeros has no direction and stays as it is.
        """
        vectors = self._network(pixels)
        if self.normalize:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.where(norms > 0, norms, np.float32(1))
        return vectors

    def reconstruction_errors(self, pixels: U8Batch) -> F32Matrix | None:
        """The function `reconstruction_errors`; None if the model rebuilds no photos."""
        if self.rebuild is None:
            return None
        return reconstruction_errors(self.rebuild, pixels).astype(np.float32)
