"""How long `imgsearch query --id` takes, against importing numpy and faiss.

On 18,322 items with two engines: one of 16 numbers and one of 4,096, the article's sizes. The
vectors are random: the time does not depend on them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline import models
from pipeline.artifacts import publish
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.config import IndexSettings, load_config
from pipeline.engine import Engine
from pipeline.index import Kind
from pipeline.index.build import build_index

ITEMS = 18_322
ROUNDS = 7
SETTINGS = """
root: {root}
name: big
source: {{type: sample}}
engines:
  autoencoder: {{type: autoencoder}}
  vgg16: {{type: pretrained, weights: random}}
"""


def measure(_: Path | None) -> list[dict[str, object]]:
    """Take turns; compare medians."""
    with tempfile.TemporaryDirectory() as folder:
        config = make_catalog(Path(folder), {"autoencoder": 16, "vgg16": 4096})
        imports = [sys.executable, "-c", "import numpy, faiss"]
        query = [str(Path(sys.executable).with_name("imgsearch")), "query", "--id", "77"]
        query += ["--config", str(config)]
        seconds: dict[str, list[float]] = {"imports": [], "query": []}
        for _round in range(ROUNDS + 1):
            for name, command in (("imports", imports), ("query", query)):
                began = time.perf_counter()
                subprocess.run(command, capture_output=True, check=True)
                seconds[name].append(time.perf_counter() - began)
        medians = {name: float(np.median(times[1:])) for name, times in seconds.items()}
        ratio = medians["query"] / medians["imports"]
        return [{"items": ITEMS, "query --id ÷ import numpy, faiss": round(ratio, 2)}]


def make_catalog(folder: Path, engines: Mapping[str, int], kind: Kind = "flat") -> Path:
    """Build an index for each engine, of so many numbers a vector; return the settings.

    The vectors are random, but most of what sets them apart is in few directions, as of photos.
    """
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS.format(root=folder))
    config = load_config(settings)
    random = np.random.default_rng(0)
    hashes = [random.bytes(32) for _ in range(ITEMS)]
    with Catalog(folder / "big", create=True) as catalog:
        with catalog.transaction():
            for number, sha256 in enumerate(hashes):
                photo = ImageRecord(f"{number}.jpg", State.AVAILABLE, path="x.jpg", sha256=sha256)
                metadata = {"price": number % 1000}
                catalog.put(1, f"{number}.jpg", f"item {number}", "things", metadata, [photo])
        for name, dim in engines.items():
            scale = 1 / np.arange(1, min(dim, 64) + 1)
            directions = scale[:, np.newaxis] * random.standard_normal((len(scale), dim))
            engine = Engine(name, config)
            recipe = models.recipe(config.engines[name])
            content = {"recipe": recipe, "embedding": {}, "dim": dim, "weights": name}
            with publish(engine.models.folder / "0", content):
                pass
            model = engine.models.use(engine.models.open("0"))
            vectors = engine.embeddings(model.fingerprint)
            for start in range(0, ITEMS, 1024):
                some = hashes[start : start + 1024]
                places = random.standard_normal((len(some), len(scale)))
                noise = 0.1 * random.standard_normal((len(some), dim))
                vectors.write(some, (places @ directions + noise).astype(np.float32))
            settled = IndexSettings(type=kind)
            build_index(name, model, catalog, vectors, engine.builds, settled)
    return settings
