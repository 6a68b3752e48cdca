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

from pipeline.config import Config, load_config
from pipeline.evaluation.ablation import Ablation
from pipeline.evaluation.evaluate import engine_retriever
from pipeline.evaluation.experiment import RetrievalExperiment
from pipeline.evaluation.folds import fold_weights
from pipeline.evaluation.gallery import Gallery, leave_one_out
from pipeline.evaluation.labels import values_of
from pipeline.evaluation.metrics import METRICS
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
    """Yield a row for every two and three engines of a catalog."""
    with search.open(config) as searcher:
        engines = searcher.engines
        labels = values_of(searcher.catalog, "category")
        indexed = [one.build.ids[:, 1] for one in engines.values()]
        gallery = Gallery.of(searcher.catalog, labels, {}, indexed, ())
        queries = leave_one_out(gallery, QUERIES, SEED)
        experiment = RetrievalExperiment.of(gallery, queries)
        retrievers = {name: engine_retriever(one, gallery) for name, one in engines.items()}
        alone = experiment.run(list(retrievers.values()), fuse=False).scores
        off = {name: alone[:, i] for i, name in enumerate(engines)}
        for names in (pick for size in (2, 3) for pick in combinations(engines, size)):
            chosen = {name: engines[name] for name in names}
            weights = fold_weights(chosen, gallery, queries, SEED)
            of_names = [retrievers[name] for name in names]
            ablation = Ablation(experiment, gallery, chosen, of_names, SEED, RESAMPLES)
            gains = ablation.fusing({name: off[name] for name in names}, weights.of_queries)
            best = gains[0].of
            yield {
                "catalog": config.catalog,
                "engines": "+".join(names),
                "best": best,
                "its P@3": f"{off[best][:, list(METRICS).index('P@3')].mean():.3f}",
                **{
                    one.stage: "{mean:+.3f} ({low:+.3f} to {high:+.3f})".format(
                        **vars(one.gains["P@3"])
                    )
                    for one in gains
                },
                "first fold": {n: round(w, 2) for n, w in weights.by_fold[0].items()},
            }
