"""A catalog of random vectors, of any size: a table of URLs whose photos are not on the disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline import models, sources
from pipeline.artifacts import publish
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import source_version
from pipeline.catalog.ledger_copy import writing
from pipeline.config import Config, load_config
from pipeline.engine import Engine, image_limits
from pipeline.stages import build

ITEMS = 18_322
SHARD_ROWS = 8192
SETTINGS = """
root: {folder}
name: big
source:
  type: table
  path: {folder}/table.csv
  columns: {{key: id, image: url, name: name, category: category}}
index: {{type: {kind}}}
engines:
"""
NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT :items)"
LEDGER = (
    "INSERT INTO items (id, key, name, category, metadata, state, reason)"
    f" {NUMBERS} SELECT n + 1, n, 'item ' || n, 'kind ' || (n % 20),"
    " json_object('price', n % 1000), 'available', '' FROM numbers",
    "INSERT INTO images (item, position, uri, path, sha256, state, reason, attempts, tried_at)"
    f" {NUMBERS} SELECT n + 1, 0, 'https://shop.example/' || n || '.jpg', 'images/' || n || '.jpg',"
    " randomblob(32), 'available', '', 1, '2026-01-01T00:00:00+00:00' FROM numbers",
)
EMBEDDING = {"input_size": 224, "resize": "bilinear", "normalize": False}


def make_catalog(
    folder: Path, engines: Mapping[str, int], kind: str = "flat", items: int = ITEMS
) -> Path:
    """Publish a catalog with an index for each engine, of so many numbers a vector.

    Returns the file of the settings.
    """
    settings = prepare_catalog(folder, engines, kind, items)
    build(load_config(settings))
    return settings


def prepare_catalog(
    folder: Path, engines: Mapping[str, int], kind: str = "flat", items: int = ITEMS
) -> Path:
    """Do what `make_catalog` does, up to the vectors."""
    settings = folder / "settings.yaml"
    lines = [f"  {name}: {{type: pretrained, weights: random}}\n" for name in engines]
    settings.write_text(SETTINGS.format(folder=folder, kind=kind) + "".join(lines))
    with (folder / "table.csv").open("w") as table:
        table.write("id,url,name,category,price\n")
        for item in range(items):
            url = f"https://shop.example/{item}.jpg"
            table.write(f"{item},{url},item {item},kind {item % 20},{item % 1000}\n")
    config = load_config(settings)
    _write_ledger(config, items)
    for name, dim in engines.items():
        _write_model(Engine(name, config), dim)
    with Catalog(config.folder) as catalog:
        write_vectors(config, [photo for photo, _ in catalog.photo_item_pairs()])
    return settings


def _write_ledger(config: Config, items: int) -> None:
    """Write what an ingest and a download of the table would have written, but for the photos."""
    limits = image_limits(config)
    with Catalog(config.folder, create=True) as catalog, catalog.transaction():
        for statement in LEDGER:
            catalog.change(statement, {"items": items})
        catalog.set_meta("limits", str(limits))
        catalog.finish_ingest(source_version(sources.create(config.source), limits))


def change_photos(config: Config, items: Sequence[int]) -> None:
    """Give items, by their ids, other photos, and these their vectors."""
    photos = [os.urandom(32) for _ in items]
    with writing(config.folder), Catalog(config.folder) as catalog, catalog.transaction():
        for item, photo in zip(items, photos, strict=True):
            values = {"photo": photo, "item": item}
            catalog.change("UPDATE images SET sha256 = :photo WHERE item = :item", values)
    write_vectors(config, photos)


def write_vectors(config: Config, photos: Sequence[bytes]) -> None:
    """Write random vectors of photos, for each engine.

    Most of what sets them apart is in few directions, as of vectors of photos.
    """
    for name in config.engines:
        model = Engine(name, config).model
        random = np.random.default_rng(0)
        scale = 1 / np.arange(1, min(model.dim, 64) + 1)
        directions = scale[:, np.newaxis] * random.standard_normal((len(scale), model.dim))
        random = np.random.default_rng(list(photos[0]))
        vectors = Engine(name, config).embeddings(model.fingerprint)
        for start in range(0, len(photos), SHARD_ROWS):
            some = photos[start : start + SHARD_ROWS]
            places = random.standard_normal((len(some), len(scale)))
            noise = 0.1 * random.standard_normal((len(some), model.dim))
            vectors.write(some, (places @ directions + noise).astype(np.float32))


def _write_model(engine: Engine, dim: int) -> None:
    """Write a model that no photo is ever given."""
    recipe = models.recipe(engine.settings)
    content = {"recipe": recipe, "embedding": EMBEDDING, "dim": dim, "weights": engine.name}
    with publish(engine.models.folder / "0", content):
        pass
    engine.models.use(engine.models.open("0"))
