"""What small vectors know: a network's, brought down by PCA, and with a head trained on labels.

700 Flipkart photos, MobileNetV2, P@3 of the top category. Heads are judged as `fit_head` does: five
folds of items are held out one after another, and ask for their nearest among all others. So is
another label, which the head was not shown. Needs the folder of the reference data.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from catalogs import MOBILENET

from pipeline.catalog.catalog import Catalog
from pipeline.config import Config, load_config
from pipeline.derived.head import DIM, precision
from pipeline.derived.labeled import Labeled, read_labels
from pipeline.derived.metric import fit_metric, unit
from pipeline.derived.vectors import Sample
from pipeline.embeddings.arrays import find_rows
from pipeline.evaluation.evaluate import EvaluationOptions, evaluate
from pipeline.search.engine_searcher import open_engine
from pipeline.stages import build

SETTINGS = (
    """
root: ROOT
source:
  type: folder
  path: PHOTOS
  metadata: {file: products.csv, key: image, name: product_name, category: product_category_tree}
engines:
"""
    + MOBILENET
)
DIMS = (16, 32, 64)
SHARE = 0.2  # held out
STRENGTHS = (0.25, 0.5, 1.0)
LABELS = ("category", "category_2")


class Means(NamedTuple):
    """P@3 over the photos held out."""

    head: float
    source: float


def measure(data: Path | None) -> list[dict[str, object]]:
    """Build, evaluate, and judge heads."""
    weights = data / "mobilenet_v2_imagenet_notop.weights.h5" if data else None
    if data is None or weights is None or not weights.is_file():
        return [{"skipped": "needs the reference data: make bench DATA=its folder"}]
    with tempfile.TemporaryDirectory() as folder:
        text = SETTINGS.replace("ROOT", folder).replace("PHOTOS", str(data / "flipkart-700"))
        for dim in DIMS:
            for how in ("", ", whiten: true", ", normalize: false"):
                name = f"pca{dim}{how.split(':')[0].replace(', ', '-')}"
                text += f"  {name}: {{type: reduced, of: mobilenet, dim: {dim}{how}}}\n"
        file = Path(folder, "settings.yaml")
        file.write_text(text.replace("WEIGHTS", str(weights)))
        config = load_config(file)
        build(config)
        return [*_reduced(config), *_heads(config)]


def _reduced(config: Config) -> list[dict[str, object]]:
    evaluation = evaluate(config, EvaluationOptions(label="category", cost=False))
    engines = [system for system in evaluation.systems if system.kind == "engine"]
    full = engines[0].scores["P@3"].mean
    return [
        {
            "vectors": system.name,
            **{k: f"{system.scores[k].mean:.3f}" for k in ("P@1", "P@3", "mAP")},
            "of the full vectors' P@3": f"{system.scores['P@3'].mean / full:.3f}",
        }
        for system in engines
    ]


def _heads(config: Config) -> list[dict[str, object]]:
    with open_engine(config, "mobilenet") as opened:
        photos = opened.build.photos
        order = np.lexsort(photos.T[::-1])
        sample = Sample(photos[order], opened.index.vectors(order))
    with Catalog(config.folder) as catalog:
        labeled = {label: read_labels("head", catalog, label) for label in LABELS}
    rows: list[dict[str, object]] = []
    for learned in LABELS:
        for strength in STRENGTHS:
            row: dict[str, object] = {"head of": learned, "strength": strength}
            for judged in LABELS:
                means = _judged(sample, labeled[learned], labeled[judged], strength)
                gain = means.head - means.source
                row |= {f"P@3 of {judged}": f"{means.head:.3f} ({gain:+.3f})"}
            rows.append(row)
    return rows


def _judged(sample: Sample, learned: Labeled, judged: Labeled, strength: float) -> Means:
    """P@3 of a label, by heads that learned another one, and by the full vectors."""
    rows = find_rows(learned.photos, judged.photos)
    photos = judged.photos[rows >= 0]
    learned, judged = learned.subset(photos), judged.subset(photos)
    part = Sample(photos, sample.vectors[find_rows(sample.photos, photos)])
    x = unit(part.components(DIM).project(part.vectors.astype(np.float64)))
    by_head, by_source = [], []
    for fold in learned.folds(SHARE):
        head = fit_metric(x[~fold], learned.labels[~fold], strength)
        queries = fold & judged.answerable
        by_head.append(precision(unit(x @ head), judged, queries))
        by_source.append(precision(part.vectors, judged, queries))
    return Means(float(np.concatenate(by_head).mean()), float(np.concatenate(by_source).mean()))
