"""What any engine has to beat: a few principal components of the pixels, and a random order."""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.pixels import Pixels, Preprocessing, U8Photos, pixel_vectors
from pipeline.evaluation.retriever import PhotoEncoder, Retriever
from pipeline.index import pca
from pipeline.index.base import F32Matrix

RANDOM = "random"
"""What the random order is called, beside the engines' names."""
RANDOM_DIM = 16
MAX_FITTED = 20_000
"""Photos that components are fitted to: those of more differ from theirs by next to nothing."""


def pca_name(dim: int) -> str:
    """Return what PCA of so many components is called, beside the engines' names."""
    return f"pca-{dim}"


def pca_retriever(
    gallery: Gallery,
    pixels: Pixels,
    preprocessing: Preprocessing,
    dim: int,
    seed: int,
    max_fitted: int = MAX_FITTED,
) -> Retriever:
    """Rank by `dim` principal components of the pixels, fitted to the gallery's photos.

    Of more than `max_fitted` photos, to a sample of them.
    """
    rows = pixels.row_of()
    photos = {photo for photos in gallery.photos for photo in photos}
    used = np.array(sorted(rows[photo] for photo in photos if photo in rows))
    if len(used) > max_fitted:
        chosen = np.random.default_rng(seed).choice(len(used), max_fitted, replace=False)
        used = used[np.sort(chosen)]
    fitted = pca.fit(lambda: pixel_vectors(pixels.rows, used), min(dim, len(used)), seed=seed)

    def encode(photos: U8Photos) -> F32Matrix:
        return np.concatenate([fitted.project(vectors) for vectors in pixel_vectors(photos)])

    return _baseline(pca_name(dim), gallery, pixels, PhotoEncoder(preprocessing.apply, encode))


def random_retriever(gallery: Gallery, pixels: Pixels, seed: int) -> Retriever:
    """Rank by vectors drawn at random, one a photo: what to expect of no order."""
    random = np.random.default_rng(seed)

    def encode(photos: U8Photos) -> F32Matrix:
        return random.standard_normal((len(photos), RANDOM_DIM), np.float32)

    # One pixel of any image: what is on it does not matter.
    encoder = PhotoEncoder(lambda _image: np.zeros((1, 1, 3), np.uint8), encode)
    return _baseline(RANDOM, gallery, pixels, encoder)


def _baseline(name: str, gallery: Gallery, pixels: Pixels, encoder: PhotoEncoder) -> Retriever:
    vectors = gallery.vectors(encoder.encode(pixels.rows), pixels.row_of())
    return Retriever(name, "baseline", vectors, lambda: encoder)
