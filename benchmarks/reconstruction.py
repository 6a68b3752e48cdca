"""How well 16 dimensions rebuild a photo: the strided autoencoder against PCA, on the same photos.

Needs `fashion-18322.tar`: trained on the last 14,658 photos in the archive's order, validated on
the first 3,664, at 64 × 64 pixels.
"""

from __future__ import annotations

import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.config import load_config
from pipeline.engine import Engine
from pipeline.stages import build

SIDE, HELD_OUT, COMPONENTS = 64, 3_664, 16
SETTINGS = """
root: {root}
source: {{type: folder, path: {photos}}}
engines:
  autoencoder: {recipe}
"""
RECIPE = Path(__file__).with_name("fashion.yaml")


def measure(data: Path | None) -> list[dict[str, object]]:
    """Train as `fashion.yaml` says and compare with PCA's error."""
    archive = data / "fashion-18322.tar" if data else None
    if archive is None or not archive.is_file():
        return [{"skipped": "needs fashion-18322.tar: make bench DATA=its folder"}]
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder, "photos")
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
            names = [name for name in tar.getnames() if name.endswith(".jpg")]
        photos = np.stack([_pixels(unpacked / name) for name in names])
        recipe = RECIPE.read_text().replace("\n", "\n    ")
        settings = Path(folder, "settings.yaml")
        settings.write_text(
            SETTINGS.format(root=Path(folder, "out"), photos=unpacked, recipe="\n    " + recipe)
        )
        config = load_config(settings)
        build(config, stages=("ingest",))
        began = time.monotonic()
        build(config, stages=("train",))
        minutes = (time.monotonic() - began) / 60
        model = Engine("autoencoder", config).models.current()
        assert model is not None
        error, pca = float(model.manifest["validation_mse"]), _pca_error(photos)
        return [
            {
                "photos": len(photos),
                "autoencoder, mean squared error": round(error, 5),
                "PCA of as many numbers": round(pca, 5),
                "ratio": round(error / pca, 3),
                "minutes of training": round(minutes, 1),
                "epochs": model.manifest["epochs"],
            }
        ]


def _pixels(path: Path) -> npt.NDArray[np.uint8]:
    photo = Image.open(path).convert("RGB")
    return np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _pca_error(photos: npt.NDArray[np.uint8]) -> float:
    """Fit on the rest by subspace iteration, and rebuild the first photos."""
    rows = photos.reshape(len(photos), -1).astype(np.float32) / 255
    held_out, fitted = rows[:HELD_OUT], rows[HELD_OUT:]
    mean = fitted.mean(axis=0)
    centered = fitted - mean
    start = np.random.default_rng(0).standard_normal((rows.shape[1], 48)).astype(np.float32)
    basis, _ = np.linalg.qr(centered.T @ (centered @ start))
    for _ in range(5):
        basis, _ = np.linalg.qr(centered.T @ (centered @ basis))
    _, _, right = np.linalg.svd(centered @ basis, full_matrices=False)
    components = basis @ right.T[:, :COMPONENTS]
    rest = (held_out - mean) - (held_out - mean) @ components @ components.T
    return float(np.mean(rest**2))
