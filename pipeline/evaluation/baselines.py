"""What any engine has to beat: a few principal components of the pixels, and a random order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.pixels import Pixels, Preprocessing, pixel_vectors
from pipeline.evaluation.retriever import F32Matrix, Retriever, U8Image
from pipeline.index import pca
from pipeline.index.pca import Pca

RANDOM = "random"
"""What the random order is called, beside the engines' names."""
RANDOM_DIM = 16


def pca_name(dim: int) -> str:
    """Return what PCA of so many components is called, beside the engines' names."""
    return f"pca-{dim}"


@dataclass(frozen=True)
class PcaEncoder:
    """Photos → their pixels' principal components."""

    pca: Pca
    preprocessing: Preprocessing

    def prepare(self, image: Image.Image) -> U8Image:
        """RGB image → (height, width, 3) uint8."""
        return self.preprocessing.apply(image)

    def encode(self, pixels: npt.NDArray[np.uint8]) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, components) float32."""
        return _concatenate(map(self.pca.project, pixel_vectors(pixels)), len(self.pca.components))


@dataclass(frozen=True)
class RandomEncoder:
    """Photos → vectors drawn at random."""

    random: np.random.Generator

    def prepare(self, image: Image.Image) -> U8Image:
        """Any image → one pixel: what is on it does not matter."""
        return np.zeros((1, 1, 3), np.uint8)

    def encode(self, pixels: npt.NDArray[np.uint8]) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, 16) float32."""
        return self.random.standard_normal((len(pixels), RANDOM_DIM), np.float32)


def pca_retriever(
    gallery: Gallery, pixels: Pixels, preprocessing: Preprocessing, dim: int, seed: int
) -> Retriever:
    """Rank by `dim` principal components of the pixels, fitted to the gallery's photos."""
    rows = pixels.row_of()
    used = sorted({rows[photo] for photos in gallery.photos for photo in photos if photo in rows})
    fitted = pca.fit(
        lambda: pixel_vectors(pixels.rows, np.array(used)), min(dim, len(used)), seed=seed
    )
    encoder = PcaEncoder(fitted, preprocessing)
    vectors = gallery.vectors(encoder.encode(pixels.rows), rows)
    return Retriever(pca_name(dim), "baseline", vectors, lambda: encoder)


def random_retriever(gallery: Gallery, pixels: Pixels, seed: int) -> Retriever:
    """Rank by vectors drawn at random, one a photo: what to expect of no order."""
    encoder = RandomEncoder(np.random.default_rng(seed))
    vectors = gallery.vectors(encoder.encode(pixels.rows), pixels.row_of())
    return Retriever(RANDOM, "baseline", vectors, lambda: encoder)


def _concatenate(blocks: Iterable[F32Matrix], dim: int) -> F32Matrix:
    return np.concatenate([np.empty((0, dim), np.float32), *blocks])
