"""How long `imgsearch query` takes, from start to end, against importing numpy and faiss.

By id, on 18,322 items with two engines: one of 16 numbers and one of 4,096, the article's sizes;
the vectors are random: the time does not depend on them. By photo, on 60 items with real networks.
Modules are compiled before, as they are for whoever asks twice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from random_catalog import ITEMS, make_catalog

from pipeline.catalog.catalog import Catalog
from pipeline.config import load_config
from pipeline.stages import build

ROUNDS = 7
PHOTO_SETTINGS = """
root: {root}
source: {{type: sample, photos: 60, near_duplicates: 0, size: 250, seed: 7}}
engines:
  autoencoder: {{type: autoencoder, architecture: strided, training: {{epochs: 1}}}}
  vgg16: {{type: pretrained, weights: random}}
  mobilenet:
    type: pretrained
    network: MobileNetV2
    weights: random
    include_top: false
    layer: null
    pooling: avg
"""


def measure(_: Path | None) -> list[dict[str, object]]:
    """Take turns; compare the best of each, as other programs only make them slower."""
    with tempfile.TemporaryDirectory() as folder:
        by_id = make_catalog(Path(folder), {"autoencoder": 16, "vgg16": 4096})
        by_photo = Path(folder, "photos.yaml")
        by_photo.write_text(PHOTO_SETTINGS.format(root=folder))
        config = load_config(by_photo)
        build(config)
        with Catalog(config.folder) as catalog:
            photo = str(next(catalog.photos()).path)
        both = ["--engine", "vgg16", "--engine", "autoencoder"]
        return _ratios(
            {
                f"--id, {ITEMS:,} items": ["--config", str(by_id), "--id", "77"],
                "missing.jpg": ["--config", str(by_photo), "missing.jpg"],
                "photo, autoencoder": ["--config", str(by_photo), photo, *both[2:]],
                "photo, MobileNetV2": ["--config", str(by_photo), photo, "--engine", "mobilenet"],
                "photo, VGG16 and autoencoder": ["--config", str(by_photo), photo, *both],
            }
        )


def _ratios(queries: Mapping[str, Sequence[str]]) -> list[dict[str, object]]:
    query = [str(Path(sys.executable).with_name("imgsearch")), "query"]
    commands = {name: [*query, *options] for name, options in queries.items()}
    commands["imports"] = [sys.executable, "-c", "import numpy, faiss"]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for _round in range(ROUNDS + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, capture_output=True, check=name != "missing.jpg", env=variables)
            seconds[name].append(time.perf_counter() - began)
    best = {name: min(times[1:]) for name, times in seconds.items()}
    return [
        {"query": name, "÷ import numpy, faiss": round(best[name] / best["imports"], 2)}
        for name in queries
    ]
