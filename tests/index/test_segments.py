"""Builds that follow from builds: whatever changed, they answer as one made from nothing does."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pipeline import index, models
from pipeline.artifacts import digest, publish
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.records import ImageRecord, State
from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.errors import NotBuiltError
from pipeline.index.build import build_index
from pipeline.index.builds import Build
from pipeline.index.pruned import PrunedIndex, PruningOptions, write_pruned
from pipeline.models.store import WEIGHTS
from pipeline.search.engine_searcher import open_engine
from pipeline.search.query import Item

DIM = 64
OPTIONS = PruningOptions(max_memory_share=9, min_coded_rows=8, code_length=32)
PHOTOS = 90
CATEGORIES = ["hats", "caps", ""]
_BASIS = np.random.default_rng(5).standard_normal((6, DIM))


def photo_hash(photo: int) -> bytes:
    return hashlib.sha256(f"photo {photo}".encode()).digest()


def vector(photo: int) -> np.ndarray:
    """Vectors near to a subspace, for codes to be of use; some are equal, and some zero."""
    if photo % 29 == 7:
        return np.zeros(DIM, np.float32)
    rng = np.random.default_rng(photo % 60)
    values = rng.standard_normal(6) @ _BASIS + 0.01 * rng.standard_normal(DIM)
    return values.astype(np.float32)


@dataclass(frozen=True)
class Thing:
    photos: tuple[int, ...]
    category: str = ""


@dataclass
class Store:
    """A catalog whose index `grown` follows its changes, and `fresh` is made anew each time."""

    root: Path
    kind: str = "flat"
    normalize: bool = False
    things: dict[str, Thing] = field(default_factory=dict)
    run: int = 0

    def __post_init__(self) -> None:
        engine = {"type": "pretrained", "weights": "random"}
        self.config = Config.model_validate(
            {
                "name": "shop",
                "root": str(self.root),
                "source": {"type": "sample"},
                "index": {"type": self.kind},
                "engines": {"grown": engine, "fresh": engine},
            }
        )
        self.catalog = Catalog(self.config.folder, create=True)
        for name in self.config.engines:
            content = {
                "recipe": models.recipe(self.config.engines[name]),
                "embedding": {"type": "pretrained", "normalize": self.normalize},
                "dim": DIM,
                "weights": "w",
            }
            store = Engine(name, self.config).models
            with publish(store.folder / digest(content), content) as aside:
                (aside / WEIGHTS).write_text("w")
            store.use(store.open(digest(content)))

    def offer(self, things: Mapping[str, Thing]) -> None:
        """Make the ledger say what is offered, as an ingest does."""
        self.things = dict(things)
        with self.catalog.transaction():
            self.run = self.catalog.begin_ingest()
            for key, thing in things.items():
                images = [
                    ImageRecord(
                        f"{p}.jpg", State.AVAILABLE, path=f"/{key}/{p}", sha256=photo_hash(p)
                    )
                    for p in thing.photos
                ]
                self.catalog.put(self.run, key, key, thing.category, {"size": len(key)}, images)
            self.catalog.finish_ingest(self.run)

    def embed(self, name: str, shard_size: int = 16) -> int:
        """Put the vectors of photos that have none into the store; return how many that were."""
        vectors = self.vectors(name)
        has_vector = vectors.photos()
        shown = {photo_hash(p): p for thing in self.things.values() for p in thing.photos}
        missing = [sha for sha in shown if sha not in has_vector]
        for start in range(0, len(missing), shard_size):
            part = missing[start : start + shard_size]
            vectors.write(part, np.stack([vector(shown[sha]) for sha in part]))
        return len(missing)

    def vectors(self, name: str):  # type: ignore[no-untyped-def]
        engine = Engine(name, self.config)
        return engine.embeddings(engine.model.fingerprint)

    def index(self, name: str, keep_builds: int = 2) -> Build:
        engine = Engine(name, self.config)
        vectors, settings = engine.embeddings(engine.model.fingerprint), self.config.index
        build = build_index(name, engine.model, self.catalog, vectors, engine.builds, settings)
        engine.builds.remove_unneeded([path.name for path in engine.builds.all()[-keep_builds:]])
        return build

    def grow(self, things: Mapping[str, Thing], keep_builds: int = 2) -> Build:
        self.offer(things)
        self.embed("grown")
        return self.index("grown", keep_builds)

    def build_afresh(self) -> Build:
        folder = Engine("fresh", self.config).folder
        for place in ("embeddings", "segments", "builds"):
            shutil.rmtree(folder / place, ignore_errors=True)
        self.embed("fresh")
        return self.index("fresh")

    def answers(self, name: str, seed: int = 0) -> list[object]:
        """What queries of many kinds are answered."""
        rng = np.random.default_rng(seed)
        found: list[object] = []
        with open_engine(self.config, name) as searcher:
            items = sorted({int(item) for item in searcher.build.ids[:, 1]})
            near = [vector(p) for p in rng.choice(PHOTOS, 4, replace=False).tolist()]
            far = [x + rng.standard_normal(DIM).astype(np.float32) for x in near[:2]]
            queries = [
                *near,
                *far,
                *map(Item, rng.choice(items, min(6, len(items)), replace=False)),
            ]
            filters: list[dict[str, object]] = [
                {},
                {"where": "category = 'hats'"},
                {"where": "size < 3", "group_by": "category"},
                {"min_distance": 1.0, "max_distance": 12.0},
            ]
            for k in (1, 4, 200):
                for one in filters:
                    for result in searcher.search_all(queries, k, **one):  # type: ignore[arg-type]
                        hits = getattr(result, "hits", None)
                        found.append(
                            (
                                str(result) if hits is None else hits,
                                getattr(result, "is_no_match", None),
                            )
                        )
            found += [block for block in searcher.graph(3)]
            found.append({k: v.tolist() for k, v in searcher.calibration.by_category.items()})
            found.append(searcher.build.without_direction)
        return found

    def check(self, seed: int = 0) -> None:
        fresh = self.build_afresh()
        assert len(fresh.segments) == 1
        build = Engine("grown", self.config).current_build()
        assert {*map(bytes, build.photos)} == {*map(bytes, fresh.photos)}
        assert as_pairs(build) == as_pairs(fresh)
        assert without_rows(self.answers("grown", seed)) == without_rows(
            self.answers("fresh", seed)
        )


def as_pairs(build: Build) -> set[tuple[bytes, int]]:
    return {(build.photos[row].tobytes(), item) for row, item in build.ids.tolist()}


def without_rows(answers: Sequence[object]) -> list[object]:
    """The graph names rows, which are numbered in another order."""
    return [
        [(item, [(n.item, n.distance) for n in near]) for item, near in answer]
        if isinstance(answer, list)
        else answer
        for answer in answers
    ]


@pytest.fixture
def pruned_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small segments have codes too."""
    kind = index.IndexType(
        lambda folder, file: write_pruned(folder, file, OPTIONS),
        lambda folder, file, flat: PrunedIndex(folder, file, flat, OPTIONS),
    )
    monkeypatch.setitem(index.INDEX_TYPES, "pruned", kind)


def changed(things: dict[str, Thing], dice: random.Random) -> dict[str, Thing]:
    """The things after one to three changes."""
    things = dict(things)
    for _ in range(dice.choice([1, 1, 2, 3])):
        keys = list(things) or ["0"]
        key = dice.choice(keys)
        photos = tuple(dice.sample(range(PHOTOS), dice.choice([1, 1, 2, 3])))
        action = dice.choice(
            ["add", "add", "add many", "change", "file", "remove", "remove many", "share", "swap"]
        )
        if action == "add":
            things[f"{len(things)}-{dice.randrange(99)}"] = Thing(photos, dice.choice(CATEGORIES))
        elif action == "add many":
            for n in range(dice.randrange(20)):
                things[f"m{n}-{dice.randrange(9)}"] = Thing(
                    (dice.randrange(PHOTOS),), dice.choice(CATEGORIES)
                )
        elif action == "change":
            things[key] = Thing(photos, dice.choice(CATEGORIES))
        elif action == "file" and key in things:
            things[key] = Thing(things[key].photos, dice.choice(CATEGORIES))
        elif action == "remove":
            things.pop(key, None)
        elif action == "remove many":
            for gone in dice.sample(keys, dice.randrange(len(keys) // 3 + 1)):
                things.pop(gone, None)
        elif action == "share" and key in things:
            things[f"s{dice.randrange(30)}"] = things[key]
        elif action == "swap" and key in things:
            other = dice.choice(list(things))
            things[key], things[other] = things[other], things[key]
    return things


@pytest.mark.parametrize("kind", ["flat", "pruned"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.soak
def test_any_changes_one_after_another_answer_as_a_build_from_nothing(
    tmp_path: Path, kind: str, normalize: bool, soak: bool, pruned_at_once: None
) -> None:
    for seed in range(60 if soak else 1):
        dice = random.Random(seed)
        store = Store(tmp_path / str(seed), kind, normalize)
        things = {str(n): Thing((n,), CATEGORIES[n % 3]) for n in range(dice.choice([2, 20, 60]))}
        store.grow(things)
        store.check(seed)
        for step in range(20 if soak else 8):
            things = changed(things, dice)
            try:
                store.grow(things)
            except NotBuiltError:
                continue
            store.check(step)
        store.catalog.close()
