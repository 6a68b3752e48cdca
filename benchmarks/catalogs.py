"""Real photos, end to end: build, verify, and compare neighbors with NumPy's brute force.

Needs the folder of the reference data: `flipkart-700/`, `fashion-18322.tar` and
`mobilenet_v2_imagenet_notop.weights.h5`.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import numpy as np

from pipeline.config import Config, load_config
from pipeline.maintenance.verify import verify
from pipeline.search.engine_searcher import open_engine
from pipeline.stages import build

QUERIES, K = 200, 10
AUTOENCODER = """
  autoencoder:
    type: autoencoder
    architecture: strided
    input_size: 64
    resize: bilinear
    training:
      batch_size: 64
      epochs: 3
      learning_rate: 0.003
      schedule: cosine
      split: first
      augment: {flip: false, shift: 0, zoom: 0, noise: 0}
"""
MOBILENET = """
  mobilenet:
    type: pretrained
    network: MobileNetV2
    weights: WEIGHTS
    include_top: false
    layer: null
    pooling: avg
    input_size: 224
"""
FLIPKART = (
    """
root: ROOT
source:
  type: folder
  path: PHOTOS
  metadata: {file: products.csv, key: image, name: product_name, category: product_category_tree}
engines:
  vgg16: {type: pretrained, weights: random}
"""
    + AUTOENCODER
    + MOBILENET
)
FASHION = (
    """
root: ROOT
source:
  type: folder
  path: PHOTOS
  metadata: {file: styles.csv, key: image, name: productDisplayName, category: articleType}
engines:
"""
    + AUTOENCODER
    + MOBILENET
)


def measure(data: Path | None) -> list[dict[str, object]]:
    """Build both catalogs with every engine and check each."""
    weights = data / "mobilenet_v2_imagenet_notop.weights.h5" if data else None
    if data is None or weights is None or not weights.is_file():
        return [{"skipped": "needs the reference data: make bench DATA=its folder"}]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        fashion = Path(folder, "fashion")
        with tarfile.open(data / "fashion-18322.tar") as tar:
            tar.extractall(fashion, filter="data")
        for name, photos, template in (
            ("flipkart-700", data / "flipkart-700", FLIPKART),
            ("fashion", fashion, FASHION),
        ):
            settings = Path(folder, f"{name}.yaml")
            text = template.replace("ROOT", f"{folder}/out").replace("PHOTOS", str(photos))
            settings.write_text(text.replace("WEIGHTS", str(weights)))
            config = load_config(settings)
            report = build(config)
            problems = verify(config).problems
            states = report.ingest.counts if report.ingest else {}
            rows += [
                {
                    "catalog": name,
                    "states": states,
                    "verify": problems or "clean",
                    "engine": engine,
                    **_check(config, engine),
                }
                for engine in config.engines
            ]
    return rows


def _check(config: Config, engine: str) -> dict[str, object]:
    """Compare random queries with float64 distances to every vector."""
    searcher = open_engine(config, engine)
    vectors = searcher.index.vectors(np.arange(searcher.index.rows)).astype(np.float64)
    random = np.random.default_rng(0)
    same, worst = 0, 0.0
    for _ in range(QUERIES):
        near = vectors[random.integers(len(vectors))]
        query = (near + random.normal(0, 0.1 * near.std(), near.shape)).astype(np.float32)
        distances = np.linalg.norm(vectors - query, axis=1)
        rows, items = searcher.build.ids.T
        order = np.lexsort((items, distances[rows]))
        _, first = np.unique(items[order], return_index=True)
        expected = order[np.sort(first)][:K]
        hits = searcher.search(query, K).hits
        same += [hit.item.id for hit in hits] == items[expected].tolist()
        exact = distances[rows[expected]]
        worst = max(worst, float(np.max(np.abs([hit.distance for hit in hits] - exact) / exact)))
    return {
        "equal to brute force": f"{same} of {QUERIES}",
        "largest relative error": f"{worst:.1e}",
    }
