"""How fast photos become vectors without TensorFlow, against Keras, and in how much memory.

Each embeds the same JPEG files of 250×250 pixels, decoding included, in a process of its own; they
take turns.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.config import load_config
from pipeline.stages import build

ROUNDS = 3
SETTINGS = """
root: {root}
source: {{type: sample, photos: {photos}, near_duplicates: 0, size: 250, seed: 7}}
engines:
  vgg16: {{type: pretrained, weights: random}}
  mobilenet:
    type: pretrained
    network: MobileNetV2
    weights: random
    include_top: false
    layer: null
    pooling: avg
  strided:
    type: autoencoder
    architecture: strided
    resize: bilinear
    training: {{batch_size: 32, epochs: 1}}
  descriptor:
    type: autoencoder
    architecture: descriptor
    resize: bilinear
    training: {{batch_size: 32, epochs: 1}}
embedding: {{batch_size: 32, shard_size: 1024, decoders: 2}}
"""
PHOTOS = {"vgg16": 500, "mobilenet": 500, "strided": 500, "descriptor": 500}
STAGE = """
import re, sys, tempfile, time
from pathlib import Path
from PIL import Image
from pipeline import models
from pipeline.catalog.catalog import Catalog
from pipeline.config import load_config
from pipeline.embeddings.embed import embed
from pipeline.embeddings.store import EmbeddingStore
from pipeline.engine import Engine
from pipeline.images import ImageLimits
from pipeline.models.network_model import NetworkModel
from pipeline.models.runtimes.keras import KerasNetwork

settings, name, runtime, count = sys.argv[1:]
config = load_config(settings)
folder = Engine(name, config).models.current()
if runtime == "keras":
    kind = {"autoencoder": models.autoencoder, "pretrained": models.pretrained}
    network = KerasNetwork(kind[folder.embedding["type"]].load_encoder(folder))
    model = NetworkModel(name, folder, network)
else:
    model = models.load(name, folder)

class Some(Catalog):
    def photos(self):
        for _, photo in zip(range(int(count)), super().photos()):
            yield photo

    def photo_count(self):
        return int(count)

with Some(config.folder) as catalog, tempfile.TemporaryDirectory() as vectors:
    photo = next(catalog.photos())
    model.encode(model.prepare(Image.open(photo.path).convert("RGB"))[None])
    began = time.perf_counter()
    embed(model, catalog, EmbeddingStore(Path(vectors)), ImageLimits(), batch_size=32)
    seconds = time.perf_counter() - began
# Not getrusage: a process starts with the peak of the one that started it.
peak = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]
print(model.runtime.replace(" ", "-"), int(count) / seconds, peak)
"""


def measure(_: Path | None) -> list[dict[str, object]]:
    """Compare the best rate, and the highest peak of memory, of several rounds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "settings.yaml")
        settings.write_text(SETTINGS.format(root=folder, photos=max(PHOTOS.values())))
        build(load_config(settings), stages=("train", "ingest"))
        return [_engine(settings, name, count) for name, count in PHOTOS.items()]


def _engine(settings: Path, name: str, count: int) -> dict[str, object]:
    rates: dict[str, float] = {}
    peaks: dict[str, float] = {}
    names = {}
    for _ in range(ROUNDS):
        for runtime in ("keras", "best"):
            command = [sys.executable, "-c", STAGE, str(settings), name, runtime, str(count)]
            ran = subprocess.run(command, capture_output=True, text=True, check=True)
            names[runtime], rate, peak = ran.stdout.split()
            rates[runtime] = max(rates.get(runtime, 0), float(rate))
            peaks[runtime] = max(peaks.get(runtime, 0), float(peak))
    return {
        "engine": name,
        "photos": count,
        "by": names["best"],
        "stage ÷ by Keras": round(rates["best"] / rates["keras"], 2),
        "peak memory ÷ by Keras": round(peaks["best"] / peaks["keras"], 2),
    }
