"""What else was tried for an autoencoder's neighbors, measured as in `latent`.

Takes hours for all of it. Needs the folder of the reference data.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import latent

Change = dict[str, Any]
"""Dotted path below the autoencoder's settings → value."""

NO_STEM: Change = {"stem_layer": None, "input_size": 64}
DESCRIPTORS: Change = {"architecture": "descriptor", **NO_STEM}
PIXELS: Change = {
    **NO_STEM,
    "architecture": "strided",
    "standardize": False,
    "training.distillation": None,
    "training.weight_decay": 0,
    "training.augment": {"flip": True, "shift": 0.05, "zoom": 0.1, "noise": 0.1},
}
CONVOLUTIONS: Change = {
    **NO_STEM,
    "architecture": "strided",
    "training.augment": {
        "flip": True,
        "clean_target": True,
        "shift": 0.05,
        "zoom": 0.1,
        "noise": 0.1,
    },
}
NO_TEACHER: Change = {
    **DESCRIPTORS,
    "training.distillation.teacher": None,
    "training.distillation.hog": 1,
}
TRIED: dict[str, dict[str, Change]] = {
    "flipkart": {
        "descriptors instead of a stem": {**DESCRIPTORS, "training.augment.descriptor_noise": 1.0},
        "a stem of fewer layers": {"stem_layer": "block_9_add"},
        "a stem of few layers": {"stem_layer": "block_5_add"},
        "a stem of more layers": {"stem_layer": "block_15_add", "input_size": 128},
        "pixels alone": {**PIXELS, "training.batch_size": 16, "training.epochs": 100},
        "strided convolutions, distilled": CONVOLUTIONS,
        "no teacher": {
            **NO_TEACHER,
            "training.distillation.foreground_mask": 0.7,
            "training.distillation.lab_histogram": 0.7,
        },
        "teacher and shape": {"training.distillation.hog": 0.5},
        "latent not standardized": {"standardize": False},
        "correlations allowed": {"training.distillation.decorrelation_weight": 0},
        "targets rebuilt with ten times the weight": {"training.distillation.target_weight": 1},
        "less noise": {"training.augment.descriptor_noise": 0.3},
    },
    "fashion": {
        "descriptors instead of a stem": {**DESCRIPTORS, "training.epochs": 10},
        "a stem of fewer layers": {"stem_layer": "block_9_add"},
        "pixels alone": {**PIXELS, "training.batch_size": 64, "training.epochs": 40},
        "strided convolutions, distilled": CONVOLUTIONS,
        "no teacher": NO_TEACHER,
        "more noise": {"training.augment.descriptor_noise": 1.0},
    },
}


def measure(data: Path | None, only: str = "") -> latent.Rows:
    """Train and evaluate each variant, or those whose name contains `only`."""
    if data is None or not (data / "mobilenet_v2_imagenet_notop.weights.h5").is_file():
        return [{"skipped": "needs the reference data: make bench DATA=its folder"}]
    rows: latent.Rows = []
    for photos, variants in TRIED.items():
        run = {"flipkart": latent.flipkart, "fashion": latent.fashion}[photos]
        for name, change in variants.items():
            if only not in f"{photos}: {name}":
                continue
            with tempfile.TemporaryDirectory() as folder:
                engines = changed(latent.recipe(photos, data), change)
                found = latent.summed(run(data, Path(folder, "run"), engines))
            rows.append({"photos": photos, "tried": name, **found[0]})
            print(rows[-1], flush=True)
    return rows


def changed(engines: dict[str, Any], change: Change) -> dict[str, Any]:
    """Change settings of the autoencoder."""
    for path, value in change.items():
        at = engines["autoencoder"]
        *above, last = path.split(".")
        for key in above:
            at = at[key]
        at[last] = value
    return engines


if __name__ == "__main__":
    measure(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
