"""What words find: compared with the column itself, and with chance where the text lacks them.

- *Words*: of the values of category and color columns that 10 items have, each is searched for as
  words; P@10 is the share of the first 10 items whose column has it. Filtering by the column has 1.
- *Look*: the text of half of the items, drawn at random, is taken away. Each value is searched for
  with `look`; P@10 is the share of the first 10 items without text that have it, chance its share
  among all of those.
- *Times*: medians, of a search by words and by their look against one by an item (of 1,280
  dimensions).

The photos of Flipkart and the labels of the fashion catalog need the folder of the reference data.
"""

from __future__ import annotations

import csv
import io
import random
import statistics
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from catalogs import MOBILENET

import pipeline
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.words import find_words
from pipeline.config import Config
from pipeline.search.query import Item, Text
from pipeline.search.searcher import Searcher
from pipeline.sources.sample.source import SampleSource
from pipeline.stages import build

MIN_ITEMS, K, SAMPLE, REPEATS = 10, 10, 600, 60
ITEMS = 400  # of a catalog that are asked for by id


class Good(NamedTuple):
    """One item of a catalog: its photo, its texts, and the values of its columns."""

    photo: bytes
    name: str
    columns: Mapping[str, str]


def measure(data: Path | None) -> list[dict[str, object]]:
    """Search the drawn sample, and where they are, the photos of Flipkart."""
    sample = _sample()
    rows = [{"catalog": "sample", **_words(sample)}]
    weights = data / "mobilenet_v2_imagenet_notop.weights.h5" if data else None
    if data is None or weights is None or not weights.is_file():
        return [*rows, {"skipped": "needs the reference data: make bench DATA=its folder"}]
    flipkart = _flipkart(data / "flipkart-700")
    rows += [{"catalog": "flipkart-700", **_words(flipkart)}]
    rows += [{"catalog": "fashion", **_words(_fashion(data / "fashion-18322.tar"))}]
    rows += [{"catalog": "sample", **_look(sample, weights)}]
    rows += [{"catalog": "flipkart-700", **_look(flipkart, weights)}]
    return rows


def _sample() -> list[Good]:
    items = SampleSource(photos=SAMPLE, near_duplicates=0).items()
    return [
        Good(
            item.photos[0].data or b"",
            item.name,
            {"category": item.category, "color": item.metadata["color"]},
        )
        for item in items
    ]


def _flipkart(folder: Path) -> list[Good]:
    with (folder / "products.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Good(
            (folder / "images" / row["image"]).read_bytes(),
            row["product_name"],
            {"category": row["product_category_tree"].strip('["]').split(" >> ")[0]},
        )
        for row in rows
    ]


def _fashion(tar: Path) -> list[Good]:
    with tarfile.open(tar) as archive:
        file = archive.extractfile("styles.csv")
        text = io.TextIOWrapper(file, "utf-8", newline="") if file else io.StringIO()
        rows = list(csv.DictReader(text))
    columns = {"articleType": "category", "subCategory": "kind", "baseColour": "color"}
    return [
        Good(b"", row["productDisplayName"], {new: row[old] for old, new in columns.items()})
        for row in rows
    ]


def _values(goods: Iterable[Good]) -> list[tuple[str, str]]:
    """(column, value) that at least 10 items have."""
    counts = Counter(entry for good in goods for entry in good.columns.items() if entry[1])
    return sorted(entry for entry, count in counts.items() if count >= MIN_ITEMS)


def _words(goods: Sequence[Good]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder, Catalog(Path(folder), create=True) as catalog:
        with catalog.transaction():
            for number, good in enumerate(goods):
                rest = {n: value for n, value in good.columns.items() if n != "category"}
                photo = ImageRecord("", State.AVAILABLE, path="x", size=1, sha256=bytes(32))
                catalog.put(str(number), good.name, good.columns["category"], rest, [photo])
        catalog.seal_generation()
        values = _values(goods)
        precision = [
            _precision(goods, find_words(catalog, value).items[:K] - 1, column, value)
            for column, value in values
        ]
    return {"words": len(values), "P@10": round(statistics.mean(precision), 3)}


def _precision(goods: Sequence[Good], found: Iterable[int], column: str, value: str) -> float:
    hits = [goods[number].columns[column] == value for number in found]
    return sum(hits) / K


def _look(goods: Sequence[Good], weights: Path) -> dict[str, object]:
    chance = random.Random(3)
    silent = set(chance.sample(range(len(goods)), len(goods) // 2))
    with tempfile.TemporaryDirectory() as folder:
        config = _build(Path(folder), goods, silent, weights)
        with pipeline.open(config) as searcher:
            found, expected = [], []
            for column, value in _values(goods):
                hits = _silent_hits(searcher, value, silent)
                found.append(_precision(goods, hits, column, value))
                has = [goods[number].columns[column] == value for number in silent]
                expected.append(sum(has) / len(has))
            times = _times(searcher, [value for _, value in _values(goods)])
    return {
        "words": len(found),
        "P@10 of silent items": round(statistics.mean(found), 3),
        "chance": round(statistics.mean(expected), 3),
        "ratio": round(sum(found) / sum(expected), 1),
        **times,
    }


def _silent_hits(searcher: Searcher, value: str, silent: set[int]) -> list[int]:
    hits = searcher.search(Text(value), len(silent) * 2, look=True)["mobilenet"].hits
    numbers = [int(hit.item.key.removesuffix(".jpg")) for hit in hits]
    return [number for number in numbers if number in silent][:K]


def _build(folder: Path, goods: Sequence[Good], silent: set[int], weights: Path) -> Config:
    """Build a catalog in which items that are silent have no text."""
    photos = folder / "photos"
    photos.mkdir()
    with (folder / "goods.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "name", *goods[0].columns])
        for number, good in enumerate(goods):
            name = f"{number:05d}.jpg"
            (photos / name).write_bytes(good.photo)
            texts = [good.name, *good.columns.values()]
            writer.writerow([name, *("" if number in silent else text for text in texts)])
    metadata = {"file": "../goods.csv", "key": "file", "name": "name", "category": "category"}
    settings = {
        "root": str(folder / "out"),
        "source": {"type": "folder", "path": str(photos), "metadata": metadata},
        "engines": yaml.safe_load(MOBILENET.replace("WEIGHTS", str(weights))),
    }
    config = Config.model_validate(settings)
    build(config)
    return config


def _times(searcher: Searcher, values: Sequence[str]) -> dict[str, float]:
    """Seconds of the processor, as others may share the machine; in turns, as it may change."""
    chance = random.Random(4)
    searches: dict[str, Callable[[], object]] = {
        "id": lambda: searcher.search(Item(chance.randint(1, ITEMS)), K),
        "words": lambda: searcher.search(Text(chance.choice(values)), K),
        "look": lambda: searcher.search(Text(chance.choice(values)), K, look=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(REPEATS):
        for name, search in searches.items():
            start = time.process_time()
            search()
            seconds[name].append(time.process_time() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "time of words / by id": round(median["words"] / median["id"], 2),
        "time of look / by id": round(median["look"] / median["id"], 2),
    }
