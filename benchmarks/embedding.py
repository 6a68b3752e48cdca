"""How fast photos become vectors: the embed stage against the bare network and the article's loop.

The bare network is the same layers, called on ready-made batches of the same size. The article's
loop opens, resizes, and calls `predict` on, one photo at a time. The three take turns, so that a
machine that gets slower during the run slows them all.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import models
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.pixel_files import PixelFolder
from pipeline.config import Config, PretrainedSettings, load_config
from pipeline.embeddings.embed import embed
from pipeline.embeddings.store import EmbeddingStore
from pipeline.engine import Engine
from pipeline.images import ImageLimits
from pipeline.models.keras_runtime import keras
from pipeline.stages import build

ROUNDS = 3
SETTINGS = """
root: {root}
source: {{type: sample, photos: {photos}, near_duplicates: 0, size: 250, seed: 7}}
engines:
  autoencoder:
    type: autoencoder
    architecture: strided
    input_size: 64
    resize: bilinear
    training: {{batch_size: 32, epochs: 1}}
  vgg16: {{type: pretrained, weights: random}}
embedding: {{batch_size: 32, shard_size: 1024, decoders: 2}}
"""


def measure(_: Path | None) -> list[dict[str, object]]:
    """Measure both engines on drawn photos of 250 × 250 pixels."""
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for name, count, one_by_one in (("vgg16", 128, 24), ("autoencoder", 2048, 128)):
            settings = Path(folder, f"{name}.yaml")
            settings.write_text(SETTINGS.format(root=Path(folder, name), photos=count))
            config = load_config(settings)
            config = config.model_copy(update={"engines": {name: config.engines[name]}})
            build(config, stages=("train", "ingest"))
            rows += _engine(config, name, one_by_one)
        return rows


def _engine(config: Config, name: str, one_by_one: int) -> list[dict[str, object]]:
    settings = config.engines[name]
    folder = Engine(name, config)
    model_folder = folder.models.current()
    assert model_folder is not None
    model = models.load(name, model_folder)
    kind = {"autoencoder": models.autoencoder, "pretrained": models.pretrained}[settings.type]
    network = kind.load_encoder(model_folder)
    side = (settings.input_size, settings.input_size)
    decoded = PixelFolder(folder.models.folder, side, settings.resize)
    with Catalog(config.folder) as catalog:
        paths = [photo.path for photo in catalog.photos()]
        size = config.embedding.batch_size
        batch = np.random.default_rng(0).integers(0, 256, (size, *side, 3), np.uint8)

        def bare() -> int:
            for _ in range(0, len(paths), size):
                model.encode(batch)
            return len(paths)

        def stage(known: PixelFolder | None) -> int:
            with tempfile.TemporaryDirectory() as vectors:
                embed(
                    model,
                    catalog,
                    EmbeddingStore(Path(vectors)),
                    ImageLimits(),
                    batch_size=size,
                    decoded=known,
                )
            return len(paths)

        def article() -> int:
            _article_loop(network, paths[:one_by_one], settings)
            return one_by_one

        contenders = {"bare": bare, "stage": lambda: stage(None), "article": article}
        if decoded:
            contenders["decoded"] = lambda: stage(decoded)
        rates = _race(contenders)
    rows: list[dict[str, object]] = [
        {
            "engine": name,
            "photos": len(paths),
            "photos from": "files",
            "embed stage ÷ bare network": round(rates["stage"] / rates["bare"], 2),
            "embed stage ÷ article's loop": round(rates["stage"] / rates["article"], 2),
        }
    ]
    if decoded:
        rows.append(
            {
                "engine": name,
                "photos": len(paths),
                "photos from": "training, already decoded",
                "embed stage ÷ bare network": round(rates["decoded"] / rates["bare"], 2),
                "embed stage ÷ article's loop": round(rates["decoded"] / rates["article"], 2),
            }
        )
    return rows


def _race(contenders: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Photos a second of each: the best of several rounds, in turns, after one to warm up."""
    best = dict.fromkeys(contenders, 0.0)
    for round_number in range(ROUNDS + 1):
        for name, run in contenders.items():
            began = time.perf_counter()
            rate = run() / (time.perf_counter() - began)
            if round_number:
                best[name] = max(best[name], rate)
    return best


def _article_loop(network: Any, paths: list[Path], settings: Any) -> None:
    from PIL import Image

    side = (settings.input_size, settings.input_size)
    for path in paths:
        if isinstance(settings, PretrainedSettings):
            photo = Image.open(path).resize(side).convert("RGB")
        else:
            photo = keras.utils.load_img(path, target_size=side)
        vector = network.predict(keras.utils.img_to_array(photo)[np.newaxis], verbose=0)[0]
        vector / np.linalg.norm(vector)
