"""What an autoencoder loses of photos it was not trained on, beside what PCA loses of the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.evaluation import pca
from pipeline.evaluation.pixels import Pixels
from pipeline.models import autoencoder
from pipeline.models.keras_model import reconstruction_errors, to_uint8
from pipeline.models.store import ModelFolder
from pipeline.progress import SILENT, Progress

U8Photos = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64]

_SHOWN = 8  # photos that are kept to be looked at


@dataclass(frozen=True)
class Reconstruction:
    """Mean squared errors over photos that were held out; pixels are 0..1."""

    engine: str
    photos: int
    """Held-out photos that are still there, on which both are measured."""
    fitted: int
    """Photos the network was trained on that are still there: PCA is fitted to them."""
    numbers: int
    """The length of the latent, and the rank of PCA."""
    mse: float
    pca_mse: float


@dataclass(frozen=True)
class ReconstructionSample:
    """What was measured, and a few of the held-out photos: all (n, h, w, 3) uint8."""

    measured: Reconstruction
    photos: U8Photos
    by_engine: U8Photos
    by_pca: U8Photos


def reconstruction(
    engine: str, model: ModelFolder, pixels: Pixels, seed: int, progress: Progress = SILENT
) -> ReconstructionSample | None:
    """Measure a trained autoencoder and PCA of the same rank on photos as the network takes them.

    None if no photo that it was trained on, or none that was held out, is there any more.
    """
    rows = pixels.row_of()
    training, validation = (
        np.array([rows[sha] for row in model.photos(part) if (sha := row.tobytes()) in rows])
        for part in ("training", "validation")
    )
    if not len(training) or not len(validation):
        return None
    rebuild = autoencoder.load(engine, model).rebuild
    if rebuild is None:
        return None
    with progress.task(f"{engine}: rebuilding", len(validation), "photos") as advance:
        errors = reconstruction_errors(rebuild, pixels.rows, validation, advance=advance)
    fitted = pca.fit(pixels.rows, training, model.dim, seed)
    mse = float(errors[:, 0].mean())
    pca_mse = fitted.error(pixels.rows, validation)
    # From end to end of the held-out photos: neighbors in the catalog are often alike.
    places = np.unique(np.linspace(0, len(validation) - 1, _SHOWN).astype(np.int64))
    shown = np.asarray(pixels.rows[validation[places]])
    by_pca = fitted.rebuild(shown, np.arange(len(shown)))
    return ReconstructionSample(
        Reconstruction(engine, len(validation), len(training), model.dim, mse, pca_mse),
        shown,
        to_uint8(np.asarray(rebuild(shown / np.float32(255)))),
        to_uint8(by_pca),
    )
