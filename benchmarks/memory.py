"""Peak memory of embedding and indexing, at 2,000 and at 18,322 photos."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

SETTINGS = """
root: {root}
source: {{type: folder, path: {photos}}}
engines:
  mobilenet:
    type: pretrained
    network: MobileNet
    weights: random
    include_top: false
    layer: null
    pooling: avg
    input_size: 32
embedding: {{batch_size: 64, shard_size: 1024, decoders: 2}}
"""
STAGE = """
import re, sys
from pathlib import Path
from pipeline.stages import build
from pipeline.config import load_config
build(load_config(sys.argv[1]), stages=[sys.argv[2]])
# Not getrusage: a process starts with the peak of the one that started it.
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def measure(_: Path | None) -> list[dict[str, object]]:
    """Run each stage in a process of its own and ask for its peak."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (2_000, 18_322):
            config = write_catalog(Path(folder, str(count)), count)
            peaks = {stage: _peak(config, stage) for stage in ("ingest", "train", "embed", "index")}
            vectors = count * 1024 * 4 / 1e6
            row: dict[str, object] = {"photos": count, "all vectors, MB": round(vectors)}
            rows.append(row | {f"{stage}, MB": round(peak) for stage, peak in peaks.items()})
    growth = {key: rows[1][key] - rows[0][key] for key in rows[0]}  # type: ignore[operator]
    return [*rows, {"grew by": json.dumps(growth)}]


def write_catalog(folder: Path, count: int) -> Path:
    """Write `count` different photos of 60 × 80 pixels and a configuration for them."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(count):
        colors = random.integers(0, 256, (4, 3, 3), np.uint8)
        picture = Image.fromarray(colors).resize((60, 80), Image.Resampling.BICUBIC)
        picture.save(photos / f"{number}.jpg", quality=85)
    config = folder / "settings.yaml"
    config.write_text(SETTINGS.format(root=folder / "indexes", photos=photos))
    return config


def _peak(config: Path, stage: str) -> float:
    """Megabytes that the stage had resident at most."""
    command = [sys.executable, "-c", STAGE, str(config), stage]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(ran.stdout) * 1024 / 1e6
