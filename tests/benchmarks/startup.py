"""How long `imgsearch query --id` takes, against importing numpy and faiss.

On 18,322 items with two engines: one of 16 numbers and one of 4,096, the article's sizes. The
vectors are random: the time does not depend on them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline import models
from pipeline.config import IndexSettings, load
from pipeline.index import build_index
from pipeline.store.artifacts import publish
from pipeline.store.catalogue import Catalogue, ImageRecord, State
from pipeline.store.engine import EngineFolder

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
        config = _catalogue(Path(folder))
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


def _catalogue(folder: Path) -> Path:
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS.format(root=folder))
    config = load(settings)
    random = np.random.default_rng(0)
    hashes = [random.bytes(32) for _ in range(ITEMS)]
    with Catalogue(folder / "big", create=True) as catalogue:
        with catalogue.transaction():
            for number, sha256 in enumerate(hashes):
                photo = ImageRecord(f"{number}.jpg", State.AVAILABLE, path="x.jpg", sha256=sha256)
                catalogue.put(1, f"{number}.jpg", f"item {number}", "things", {}, [photo])
        for name, dim in (("autoencoder", 16), ("vgg16", 4096)):
            engine = EngineFolder(folder / "big" / name)
            recipe = models.recipe(config.engines[name])
            content = {"recipe": recipe, "embedding": {}, "dim": dim, "weights": name}
            with publish(engine.models.folder / "0", content):
                pass
            model = engine.models.use(engine.models.open("0"))
            vectors = engine.embeddings(model.fingerprint)
            for start in range(0, ITEMS, 1024):
                some = hashes[start : start + 1024]
                vectors.write(some, random.random((len(some), dim), np.float32))
            build_index(name, model, catalogue, vectors, engine.builds, IndexSettings())
    return settings
