"""Every two and three engines fused by weights from other folds, beside the best of them.

Strong and weak ones: MobileNetV2, a layer in its middle, an autoencoder that was trained briefly,
and random weights. Needs the folder of the reference data, as `catalogs` does.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from pipeline.config import Config, load_config
from pipeline.evaluation.candidates import Candidates, labeled_candidates
from pipeline.evaluation.folds import FOLDS, folds_of
from pipeline.evaluation.fusion_fit import fit_weights
from pipeline.evaluation.intervals import bootstrap
from pipeline.evaluation.labels import values_of
from pipeline.index.base import F64Matrix, F64Vector
from pipeline.search import searcher as search
from pipeline.stages import build

QUERIES, RESAMPLES, SEED = 1000, 1000, 7
ENGINES = """
engines:
  autoencoder:
    type: autoencoder
    architecture: strided
    input_size: 64
    resize: bilinear
    training:
      {batch_size: 64, epochs: EPOCHS, learning_rate: 0.003, schedule: cosine, split: first}
  mobilenet: {<<: &net {type: pretrained, network: MobileNetV2, weights: WEIGHTS,
    include_top: false, layer: null, pooling: avg, input_size: SIDE}}
  middle: {<<: *net, layer: block_6_project_BN}
  random: {<<: *net, weights: random, input_size: 96}
"""
FOLDER = """
name: NAME
root: ROOT
source:
  type: folder
  path: PHOTOS
  metadata: METADATA
"""
FLIPKART = "{file: products.csv, key: image, name: product_name, category: product_category_tree}"
FASHION = "{file: styles.csv, key: image, name: productDisplayName, category: articleType}"


def measure(data: Path | None) -> list[dict[str, object]]:
    """Build the three catalogs, and fuse every two and three of their engines."""
    with tempfile.TemporaryDirectory() as folder:
        return [row for config in catalogs(data, Path(folder)) for row in fused(config)]


def catalogs(data: Path | None, folder: Path) -> Iterator[Config]:
    """Build the catalogs: Flipkart, fashion and the drawn sample; nothing without the data."""
    weights = data / "mobilenet_v2_imagenet_notop.weights.h5" if data else None
    if data is None or weights is None or not weights.is_file():
        return
    with tarfile.open(data / "fashion-18322.tar") as tar:
        tar.extractall(folder / "fashion", filter="data")
    sample = "name: sample\nroot: ROOT\nsource: {type: sample}\n"
    for name, source, side, epochs in (
        ("flipkart", FOLDER.replace("METADATA", FLIPKART), 224, 15),
        ("sample", sample, 96, 10),
        ("fashion", FOLDER.replace("METADATA", FASHION), 96, 2),
    ):
        photos = data / "flipkart-700" if name == "flipkart" else folder / "fashion"
        text = (source + ENGINES).replace("NAME", name).replace("ROOT", str(folder / "out"))
        text = text.replace("PHOTOS", str(photos)).replace("WEIGHTS", str(weights))
        file = folder / f"{name}.yaml"
        file.write_text(text.replace("SIDE", str(side)).replace("EPOCHS", str(epochs)))
        config = load_config(file)
        build(config)
        yield config


def fused(config: Config) -> Iterator[dict[str, object]]:
    """Yield a row for every two and three engines of a catalog.

    The first three of every fusion are among the first 30 of its engines, but for rare exceptions,
    so no more is ranked.
    """
    with search.open(config) as searcher:
        labels = values_of(searcher.catalog, "category")
        candidates = labeled_candidates(searcher.engines, labels, QUERIES)
    items = np.unique(np.concatenate([candidates.queries, *candidates.items]))
    fold_of = dict(zip(items.tolist(), folds_of(len(items), SEED).tolist(), strict=True))
    folds = np.array([fold_of[query] for query in candidates.queries.tolist()])
    for names in (pick for size in (2, 3) for pick in combinations(candidates.engines, size)):
        chosen = candidates.among(names)
        fitted = [
            fit_weights(chosen.without(np.array([i for i, f in fold_of.items() if f == fold])))
            for fold in range(FOLDS)
        ]
        weights = np.array([list(of_fold.values()) for of_fold in fitted])[folds]
        alone = [_precision(chosen, np.full_like(weights, row)) for row in np.eye(len(names))]
        best = int(np.argmax([one.mean() for one in alone]))
        difference = _precision(chosen, weights) - alone[best]
        (gain,) = bootstrap(difference[:, np.newaxis], RESAMPLES, SEED)
        yield {
            "catalog": config.catalog,
            "engines": "+".join(names),
            "best": names[best],
            "its P@3": f"{alone[best].mean():.3f}",
            "weighted": f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})",
            "mean weights": dict(zip(names, weights.mean(axis=0).round(2).tolist(), strict=True)),
        }


def _precision(candidates: Candidates, weights: F64Matrix) -> F64Vector:
    """P@3 of each query, by (queries, engines) weights."""
    total = np.zeros(candidates.items.shape)
    for of_queries, distances in zip(weights.T, candidates.distances, strict=True):
        weight = of_queries[:, np.newaxis]
        total += weight * np.where(weight > 0, distances, 0)
    total[candidates.items < 0] = np.inf
    first = np.argsort(total, axis=1, kind="stable")[:, :3]
    precision: F64Vector = np.take_along_axis(candidates.relevant, first, axis=1).mean(axis=1)
    return precision
