"""How well an autoencoder reconstructs photos it was not trained on, beside PCA of as many dims."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline import models
from pipeline.evaluation.pixels import Pixels, U8Photos, pixel_vectors
from pipeline.index import pca
from pipeline.models.reconstruction import reconstruction_errors, to_uint8
from pipeline.models.store import ModelFolder
from pipeline.progress import SILENT, Progress

SAMPLE_PHOTOS = 8  # that are kept to be shown


@dataclass(frozen=True)
class Reconstruction:
    """Mean squared errors over photos that were held out; pixels are 0..1."""

    engine: str
    photos: int
    """Held-out photos that are still there, on which both are measured."""
    training_photos: int
    """Photos the network was trained on that are still there: PCA is fitted to them."""
    dim: int
    """The length of the latent, and the components of PCA."""
    mse: float
    pca_mse: float


@dataclass(frozen=True)
class ReconstructionSample:
    """The errors, and a few of the held-out photos: arrays are (n, h, w, 3) uint8."""

    measured: Reconstruction
    photos: U8Photos
    by_engine: U8Photos
    by_pca: U8Photos


def reconstruction(
    engine: str, model: ModelFolder, pixels: Pixels, seed: int, progress: Progress = SILENT
) -> ReconstructionSample | None:
    """Measure a trained autoencoder, and PCA of as many dims, on photos as the network takes them.

    None if no photo that it was trained on, or none that was held out, is there any more.
    """
    rows = pixels.row_of()
    training, validation = (
        np.array([rows[sha] for row in model.photos(part) if (sha := row.tobytes()) in rows])
        for part in ("training", "validation")
    )
    if not len(training) or not len(validation):
        return None
    if (rebuild := models.load(engine, model).rebuild) is None:
        return None
    with progress.task(f"{engine}: reconstructing", len(validation), "photos") as advance:
        errors = reconstruction_errors(rebuild, pixels.rows, validation, advance=advance)
    count = min(model.dim, len(training))
    fitted = pca.fit(lambda: pixel_vectors(pixels.rows, training), count, seed=seed)
    mse = float(errors[:, 0].mean())
    pca_mse = fitted.reconstruction_error(pixel_vectors(pixels.rows, validation))
    # Spread over all held-out photos: neighbors in the catalog are often alike.
    spread = np.unique(np.linspace(0, len(validation) - 1, SAMPLE_PHOTOS).astype(np.int64))
    sample = np.asarray(pixels.rows[validation[spread]])
    (vectors,) = pixel_vectors(sample, block_bytes=sample.size * 4)
    return ReconstructionSample(
        Reconstruction(engine, len(validation), len(training), model.dim, mse, pca_mse),
        sample,
        to_uint8(rebuild(sample)),
        to_uint8(fitted.reconstruct(fitted.project(vectors)).reshape(sample.shape)),
    )
