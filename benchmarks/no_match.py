"""How often a query has no good match, rightly and wrongly.

A catalog of Flipkart photos is searched with photos that were left out of it, which should find
something, and with noise and the photos of a fashion catalog, which should not. Needs the folder
of the reference data.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from catalogs import AUTOENCODER, MOBILENET
from PIL import Image

from pipeline.config import load_config
from pipeline.search.engine_searcher import EngineSearcher, open_engine
from pipeline.search.result import EngineResult
from pipeline.stages import build

EVERY = 5  # one photo in so many is left out of the catalog
FOREIGN_PHOTOS = 200
SETTINGS = (
    """
root: ROOT
source: {type: folder, path: PHOTOS, metadata: null}
engines:
"""
    + AUTOENCODER.replace("epochs: 3", "epochs: 40").replace("batch_size: 64", "batch_size: 16")
    + MOBILENET
)


def measure(data: Path | None) -> list[dict[str, object]]:
    """Build, search, and count."""
    weights = data / "mobilenet_v2_imagenet_notop.weights.h5" if data else None
    if data is None or weights is None or not weights.is_file():
        return [{"skipped": "needs the reference data: make bench DATA=its folder"}]
    with tempfile.TemporaryDirectory() as folder:
        photos = sorted((data / "flipkart-700").rglob("*.jpg"))
        Path(folder, "photos").mkdir()
        for number, photo in enumerate(photos):
            if number % EVERY:
                shutil.copy(photo, Path(folder, "photos"))
        settings = Path(folder, "settings.yaml")
        text = SETTINGS.replace("ROOT", f"{folder}/out").replace("PHOTOS", f"{folder}/photos")
        settings.write_text(text.replace("WEIGHTS", str(weights)))
        config = load_config(settings)
        build(config)
        query_sets = {
            "left-out photos": [photo.read_bytes() for photo in photos[::EVERY]],
            "noise": list(_noise()),
            "fashion photos": list(_fashion(data)),
        }
        rows = []
        for engine in config.engines:
            with open_engine(config, engine) as searcher:
                shares = {name: _flagged(searcher, queries) for name, queries in query_sets.items()}
            rows.append({"engine": engine, **{f"no match: {k}": v for k, v in shares.items()}})
        return rows


def _flagged(searcher: EngineSearcher, queries: list[bytes]) -> str:
    results = list(searcher.search_all(queries, 1))
    flagged = sum(isinstance(result, EngineResult) and result.no_match for result in results)
    return f"{100 * flagged / len(results):.1f} %"


def _noise() -> Iterator[bytes]:
    random = np.random.default_rng(0)
    for _ in range(FOREIGN_PHOTOS):
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (250, 250, 3), np.uint8)).save(file, "PNG")
        yield file.getvalue()


def _fashion(data: Path) -> Iterator[bytes]:
    with tarfile.open(data / "fashion-18322.tar") as tar:
        count = 0
        for member in tar:
            if member.name.endswith(".jpg") and count < FOREIGN_PHOTOS:
                count += 1
                file = tar.extractfile(member)
                assert file is not None
                yield file.read()
