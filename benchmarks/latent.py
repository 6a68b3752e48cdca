"""How good an autoencoder's 16 dimensions are at finding neighbors, on photos held out of training.

Flipkart: 700 photos in five folds. Four are the catalog, on which the autoencoder is trained, the
photos of the fifth are the queries; right is what has the same top category. Fashion: 18,322
photos, a fifth of them held out of training. The labeled ones of those are the queries, all labeled
photos can be found; right is what has the same articleType. Needs the folder of the reference data.
"""

from __future__ import annotations

import csv
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.catalog.catalog import Catalog
from pipeline.config import Config, load_config
from pipeline.engine import Engine
from pipeline.evaluation.evaluate import EvaluationOptions, evaluate
from pipeline.stages import build

FOLDS, METRIC, ARTICLE = 5, "P@3", "articleType"
HERE = Path(__file__).parent
Rows = list[dict[str, object]]


def measure(data: Path | None) -> Rows:
    """Train as `neighbors-flipkart.yaml` and `neighbors-fashion.yaml` say, and evaluate."""
    if data is None or not (data / "mobilenet_v2_imagenet_notop.weights.h5").is_file():
        return [{"skipped": "needs the reference data: make bench DATA=its folder"}]
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"flipkart": flipkart, "fashion": fashion}
        return [
            {"photos": name, **found}
            for name, run in kinds.items()
            for found in summed(run(data, Path(folder, name), recipe(name, data)))
        ]


def recipe(name: str, data: Path) -> dict[str, Any]:
    """Engines as a file beside this one describes them."""
    text = (HERE / f"neighbors-{name}.yaml").read_text()
    return dict(yaml.safe_load(text.replace("DATA", str(data))))


def summed(runs: Iterator[dict[str, float]]) -> Rows:
    """Average over runs, and say how each went."""
    runs_ = list(runs)
    return [
        {
            "ranked by": name,
            METRIC: round(float(np.mean([run[name] for run in runs_])), 3),
            "each": " ".join(f"{run[name]:.3f}" for run in runs_),
            "minutes of training": round(float(np.mean([run["minutes"] for run in runs_])), 1),
        }
        for name in runs_[0]
        if name != "minutes"
    ]


def flipkart(data: Path, folder: Path, engines: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    """Yield P@3 by each engine and baseline, fold by fold."""
    with (data / "flipkart-700/products.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["image"])
    label = {r["image"]: json.loads(r["product_category_tree"])[0].split(">>")[0] for r in rows}
    for fold in range(FOLDS):
        known = folder / f"{fold}" / "photos"
        known.mkdir(parents=True)
        asked = {}
        for number, (name, category) in enumerate(label.items()):
            photo = data / "flipkart-700/images" / name
            if number % FOLDS == fold:
                asked[photo] = category.strip()
            else:
                (known / category.strip()).mkdir(exist_ok=True)
                (known / category.strip() / name).symlink_to(photo)
        config = settings(known.parent, {"type": "folder", "path": str(known)}, engines)
        minutes = trained(config)
        yield {**scores(config, "category", query_set(asked, known.parent)), "minutes": minutes}


def fashion(data: Path, folder: Path, engines: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    """Yield P@3 by each engine and baseline, once."""
    folder.mkdir()
    with tarfile.open(data / "fashion-18322.tar") as tar:
        tar.extractall(folder / "photos", filter="data")
    # No column is the category: photos without a row have none of these labels, then.
    table = {"file": str(folder / "photos/styles.csv"), "key": "image"}
    source = {"type": "folder", "path": str(folder / "photos"), "metadata": table}
    config = settings(folder, source, engines)
    minutes = trained(config)
    model = Engine("autoencoder", config).models.current()
    assert model is not None
    held_out = {row.tobytes() for row in model.photos("validation")}
    with Catalog(config.folder) as catalog:
        items = {catalog.folder / p: catalog.item(i) for p, i in shown(catalog, held_out)}
    labels = {path: item.metadata.get(ARTICLE) for path, item in items.items() if item}
    asked = {path: str(label) for path, label in labels.items() if label}
    yield {**scores(config, ARTICLE, query_set(asked, folder)), "minutes": minutes}


def shown(catalog: Catalog, photos: set[bytes]) -> Iterator[tuple[Path, int]]:
    """Yield the file and the item of each of these photos."""
    for photo, item in catalog.photo_item_pairs():
        path = catalog.photo_path(photo, item)
        if photo in photos and path:
            yield path, item


def settings(folder: Path, source: Mapping[str, Any], engines: Mapping[str, Any]) -> Config:
    """Write settings into a folder and read them."""
    file = folder / "settings.yaml"
    content = {"name": "bench", "root": str(folder), "source": source, "engines": engines}
    file.write_text(yaml.safe_dump(content))
    return load_config(file)


def trained(config: Config) -> float:
    """Build; return the minutes that training took, its teacher's embedding included."""
    build(config, ("ingest",))
    began = time.monotonic()
    build(config, ("train",))
    minutes = (time.monotonic() - began) / 60
    build(config)
    return minutes


def query_set(asked: Mapping[Path, str], folder: Path) -> Path:
    """Write labeled photos as a query set."""
    file = folder / "queries.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("file", "label"))
        writer.writerows(asked.items())
    return file


def scores(config: Config, label: str, queries: Path) -> dict[str, float]:
    """P@3 by each engine and baseline."""
    found = evaluate(config, EvaluationOptions(label, query_set=queries, cost=False))
    return {
        system.name: system.scores[METRIC].mean
        for system in found.systems
        if system.kind != "fusion" and system.name != "random"
    }


if __name__ == "__main__":
    for row in measure(Path(sys.argv[1])):
        print(row)  # noqa: T201
