"""Whatever happens to a folder and its catalog: what is published is what a new build would answer.

A state machine changes a folder of photos and publishes it, through the real stages. After each
publication all answers are compared, bit for bit, with those of a catalog that was built from
nothing, and those of earlier publications with what they were.
"""

from __future__ import annotations

import csv
import io
import random
import shutil
import tempfile
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from PIL import Image

import pipeline
from pipeline import images, index, models
from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.errors import GateError, HeldError, QueryError
from pipeline.index import IndexType
from pipeline.index.pruned import PrunedIndex, PruningOptions, write_pruned
from pipeline.maintenance.verify import verify
from pipeline.models.store import WEIGHTS, ModelFolder
from pipeline.publish.store import PublicationStore
from pipeline.publish.switching import force, roll_back
from pipeline.search.query import Filters, Item, Query
from pipeline.search.result import EngineResult, Hit, SearchResult
from pipeline.search.searcher import Searcher
from pipeline.stages import STAGES, Stage, build
from tests.publish.test_kill import Killed, killed_at

SAMPLE_STEPS, SOAK_STEPS, SOAK_RUNS = 9, 150, 40
ENGINES = ("coarse", "fine")
SIDE, DIM = 4, 128  # of the photos; of the vectors
CATEGORIES = ("hats", "socks", "toys")
QUERIES = 6  # items that are searched with
ALL, K = 1000, 3  # more hits than there are items; few of them
OPTIONS = PruningOptions(max_memory_share=9, min_coded_rows=8, code_length=32)
CODED = IndexType(
    lambda folder, file: write_pruned(folder, file, OPTIONS),
    lambda folder, file, flat: PrunedIndex(folder, file, flat, OPTIONS),
)

FILTERS: dict[str, Filters] = {
    "all": {},
    "category": {"where": "category = 'hats'"},
    "name or price": {"where": "name <> 'new' and (price < 50 or price is null)"},
    "not the nearest": {"min_distance": 100.0, "max_distance": 9000.0},
    "groups": {"group_by": "category"},
}

ROW_PATHS = "SELECT path, row_key FROM row_paths"

numbers = st.integers(0, 2**32 - 1)


@dataclass
class PixelModel:
    """Whole numbers times pixels: exact, and so the same in whatever batches photos come."""

    name: str
    folder: ModelFolder
    dim: int = DIM
    input_size: tuple[int, int] = (SIDE, SIDE)
    runtime: str = "pixels 1"

    @property
    def fingerprint(self) -> str:
        return self.folder.fingerprint

    def prepare(self, image: Image.Image) -> images.U8Image:
        return images.resize(image, self.input_size, "nearest")

    def encode(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        levels = 64 if self.name == "coarse" else 1  # where photos are alike, or the same
        dice = random.Random(f"{self.name} {self.folder.manifest['weights']}")
        weights = np.array([dice.randint(-3, 3) for _ in range(SIDE * SIDE * 3 * DIM)])
        flat = (pixels.reshape(len(pixels), -1) // levels).astype(np.int64)
        vectors: npt.NDArray[np.float32] = (flat @ weights.reshape(-1, DIM)).astype(np.float32)
        return vectors

    def reconstruction_errors(self, pixels: npt.NDArray[np.uint8]) -> None:
        return None


def make_model(name: str, config: Config, weights: str) -> ModelFolder:
    """Publish a model of these weights, as training would, and make it the one in use."""
    content = {
        "recipe": {**models.recipe(config.engines[name]), "obtained": True},
        "embedding": {"type": "pretrained", "input_size": SIDE, "resize": "nearest"},
        "dim": DIM,
        "weights": weights,
    }

    def write(folder: Path) -> None:
        (folder / WEIGHTS).write_text(weights)

    return Engine(name, config).models.publish(content, write)


def photo(number: int) -> bytes:
    """One of a few kinds of photos, in one of many shades."""
    kind = np.random.default_rng(number % 7).integers(0, 200, (SIDE, SIDE, 3))
    pixels = kind + np.random.default_rng(number).integers(0, 56, kind.shape)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


Row = dict[str, str]
Answer = dict[Hashable, Any]


class CatalogMachine(RuleBasedStateMachine):
    """A folder of photos, which may have a table of metadata, and its catalog."""

    has_table = False

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.photos = self.root / "photos"
        self.table: dict[str, Row] = {}
        self.weights = dict.fromkeys(ENGINES, 0)
        self.index_type = "flat"
        self.keep = 3
        self.ingested: dict[str, bytes] = {}  # the folder, and
        self.ingested_table: dict[str, Row] = {}  # the table, as the catalog last saw them
        self.embedded = False  # and whether all of that has vectors
        self.answers: dict[int, Answer] = {}  # of each publication, when it was published
        self.steps = 0

    @initialize(number=numbers)
    def begin(self, number: int) -> None:
        assume(
            number > 99
        )  # not in hypothesis's simplest example, in which next to nothing happens
        for n in range(12):
            name = f"{CATEGORIES[n % 3]}/{n}.png"
            self.write(name, photo(n))
            self.add_row(name, n)
        for engine in ENGINES:
            make_model(engine, self.config, "0")
        self.publish()

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    # -- The folder and its table ------------------------------------------------------------------

    @property
    def config(self) -> Config:
        return self.config_of(self.root)

    def config_of(self, root: Path) -> Config:
        table = {"file": "table.csv", "key": "path", "name": "title", "category": "kind"}
        return Config.model_validate(
            {
                "name": "shop",
                "root": str(root / "indexes"),
                "source": {
                    "type": "folder",
                    "path": str(root / "photos"),
                    "metadata": table if self.has_table else None,
                },
                "images": {"min_side": 1},
                "engines": {name: {"type": "pretrained", "weights": "random"} for name in ENGINES},
                "index": {"type": self.index_type, "keep_publications": self.keep},
                "embedding": {"shard_size": 5},
            }
        )

    def names(self) -> list[str]:
        files = (path for path in self.photos.rglob("*.png"))
        return sorted(path.relative_to(self.photos).as_posix() for path in files)

    def pick(self, number: int) -> str:
        names = self.names()
        return names[number % len(names)]

    def write(self, name: str, data: bytes) -> None:
        (self.photos / name).parent.mkdir(parents=True, exist_ok=True)
        (self.photos / name).write_bytes(data)

    def write_table(self) -> None:
        if self.has_table:
            write_table(self.photos, self.table)

    def add_row(self, name: str, number: int) -> None:
        kind, price = CATEGORIES[number % 3], str(number % 100)
        self.table[name] = {"title": f"title {number % 1000}", "kind": kind, "price": price}
        self.write_table()

    @rule(number=numbers, how_many=st.sampled_from([1, 1, 1, 2, 9]))
    def add(self, number: int, how_many: int) -> None:
        for n in range(number, number + how_many if len(self.names()) < 80 else 0):
            self.write(f"{CATEGORIES[n % 3]}/new{n}.png", photo(n))
            if n % 4:
                self.add_row(f"{CATEGORIES[n % 3]}/new{n}.png", n)

    @rule(which=numbers, number=numbers)
    def change(self, which: int, number: int) -> None:
        self.write(self.pick(which), photo(number))

    @rule(which=numbers)
    def spoil(self, which: int) -> None:
        self.write(self.pick(which), b"no photo")

    @precondition(lambda self: len(self.names()) > 4)
    @rule(which=numbers, with_row=st.booleans())
    def remove(self, which: int, with_row: bool) -> None:
        name = self.pick(which)
        (self.photos / name).unlink()
        if with_row:
            self.table.pop(name, None)
            self.write_table()

    @rule(which=numbers, number=numbers)
    def rename(self, which: int, number: int) -> None:
        self.move(self.pick(which), f"renamed{number % 9}.png")

    @rule(which=numbers, folder=st.sampled_from(CATEGORIES))
    def move_to_folder(self, which: int, folder: str) -> None:
        name = self.pick(which)
        self.move(name, f"{folder}/{Path(name).name}")

    def move(self, old: str, new: str) -> None:
        (self.photos / new).parent.mkdir(exist_ok=True)
        (self.photos / old).replace(self.photos / new)

    @rule(which=numbers, number=numbers, times_too=st.booleans())
    def duplicate(self, which: int, number: int, times_too: bool) -> None:
        copy = shutil.copy2 if times_too else shutil.copy
        name, other = self.pick(which), self.photos / f"toys/copy{number % 5}.png"
        other.parent.mkdir(exist_ok=True)
        if other != self.photos / name:
            copy(self.photos / name, other)

    @rule(which=numbers)
    def touch(self, which: int) -> None:
        (self.photos / self.pick(which)).touch()

    @rule(which=numbers, other=numbers)
    def swap(self, which: int, other: int) -> None:
        one, two = self.pick(which), self.pick(other)
        if one != two:
            self.move(one, "aside.png")
            self.move(two, one)
            self.move("aside.png", two)

    @precondition(lambda self: self.has_table)
    @rule(which=numbers, number=numbers)
    def change_row(self, which: int, number: int) -> None:
        keys = sorted(self.table) or self.names()
        self.add_row(keys[which % len(keys)], number)

    @precondition(lambda self: self.has_table and self.table)
    @rule(which=numbers)
    def remove_row(self, which: int) -> None:
        del self.table[sorted(self.table)[which % len(self.table)]]
        self.write_table()

    # -- The catalog -------------------------------------------------------------------------------

    @rule(name=st.sampled_from(ENGINES))
    def retrain(self, name: str) -> None:
        self.weights[name] += 1
        make_model(name, self.config, str(self.weights[name]))
        self.embedded = False

    @rule(kind=st.sampled_from(["flat", "pruned"]), keep=st.integers(1, 4))
    def change_settings(self, kind: str, keep: int) -> None:
        self.index_type, self.keep = kind, keep

    @rule(which=numbers)
    def roll_back(self, which: int) -> None:
        store = PublicationStore(self.config)
        kept = [n for n in store.numbers() if n <= store.last_pointer().newest]
        number = kept[which % len(kept)]
        assert roll_back(self.config, number).number == number
        with pipeline.open(self.config) as searcher:
            assert answers_of(searcher, self.photos) == self.answers[number]

    @rule(name=st.sampled_from(["christmas", "easter"]))
    def tag(self, name: str) -> None:
        store = PublicationStore(self.config)
        store.tag(store.last_pointer().publication, name)

    @rule(name=st.sampled_from(["christmas", "easter"]))
    def untag(self, name: str) -> None:
        store = PublicationStore(self.config)
        if name in store.tags():
            store.remove_tag(name)

    @rule()
    def ingest_only(self) -> None:
        self.run_stages("ingest")

    @rule()
    def embed_only(self) -> None:
        self.run_stages("embed")

    @precondition(lambda self: self.embedded)
    @rule()
    def index_only(self) -> None:
        self.run_stages("index")
        self.check_published()

    @rule()
    def publish(self) -> None:
        self.run_stages(*STAGES)
        self.check_published()

    @rule(point=st.integers(0, 80))
    def kill_and_rerun(self, point: int) -> None:
        store = PublicationStore(self.config)
        number = store.current_number()
        try:
            with killed_at(point):
                self.build(STAGES)
        except (Killed, GateError, HeldError):
            pass
        if number is not None and store.current_number() == number:
            with pipeline.open(self.config) as searcher:
                assert answers_of(searcher, self.photos) == self.answers[number]
        self.publish()

    def run_stages(self, *stages: Stage) -> None:
        """Run stages; what is refused or held is let through."""
        before = PublicationStore(self.config).current_number()
        try:
            self.build(stages)
        except HeldError:
            assert PublicationStore(self.config).current_number() == before
            self.build(stages, accept_removals=True)
        except GateError:
            assert PublicationStore(self.config).current_number() == before
            force(self.config)
        if "ingest" in stages:
            seen = {name: (self.photos / name).read_bytes() for name in self.names()}
            self.embedded = self.embedded and seen == self.ingested
            self.ingested, self.ingested_table = seen, dict(self.table)
        self.embedded = self.embedded or "embed" in stages

    def build(self, stages: Collection[Stage], accept_removals: bool = False) -> None:
        build(self.config, stages, accept_removals=accept_removals)

    # -- What must hold ----------------------------------------------------------------------------

    def check_published(self) -> None:
        """Compare what was last published with a build from nothing, and others with themselves."""
        store = PublicationStore(self.config)
        newest = store.last_pointer().newest
        expected = self.answers_from_nothing()
        for number in store.numbers():
            with pipeline.open(self.config, publication=number) as searcher:
                answers = answers_of(searcher, self.photos)
            if number == newest:
                assert answers == expected
                self.answers[number] = answers
            assert answers == self.answers[number]

    def answers_from_nothing(self) -> Answer:
        root = self.root / "from nothing"
        for name, data in self.ingested.items():
            (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "photos" / name).write_bytes(data)
        if self.has_table:
            write_table(root / "photos", self.bound_table())
        config = self.config_of(root)
        for name in ENGINES:
            make_model(name, config, str(self.weights[name]))
        build(config)
        with pipeline.open(config) as searcher:
            answers = answers_of(searcher, root / "photos")
        shutil.rmtree(root)
        return answers

    def bound_table(self) -> dict[str, Row]:
        """The table, in which rows go by where the photos are now that they describe."""
        with Catalog(self.config.folder) as catalog:
            paths = {
                key: path for path, key in catalog.select("SELECT path, row_key FROM row_paths")
            }
        seen, table = self.ingested, self.ingested_table
        is_moved = {
            key: key not in seen and paths.get(key) in seen and paths[key] not in table
            for key in table
        }
        return {paths[key] if is_moved[key] else key: row for key, row in table.items()}

    @invariant()
    def is_often_published(self) -> None:
        self.steps += 1
        if self.steps % 3 == 0:
            self.publish()

    @rule()
    def verify(self) -> None:
        self.publish()
        assert not verify(self.config).problems


class TableMachine(CatalogMachine):
    """With a table of metadata, whose rows go by the paths that photos had."""

    has_table = True


def write_table(folder: Path, table: dict[str, Row]) -> None:
    file = io.StringIO()
    writer = csv.DictWriter(file, ["path", "title", "kind", "price"])
    writer.writeheader()
    writer.writerows({"path": name} | row for name, row in table.items())
    folder.mkdir(exist_ok=True)
    (folder / "table.csv").write_text(file.getvalue())


def answers_of(searcher: Searcher, photos: Path) -> Answer:
    """Ask by items, photos and vectors, under all kinds of filters, for all there is to find."""
    found: Answer = {}
    by_key = {hit.item.key: hit.item.id for hit in hits_of(searcher)}
    found["items"] = sorted(by_key)
    keys = random.Random(len(by_key)).sample(sorted(by_key), min(QUERIES, len(by_key)))
    queries: dict[str, Query] = {key: Item(by_key[key]) for key in keys}
    queries |= {f"photo {n}": photo(n) for n in (1, 1000)}
    for label, filters in FILTERS.items():
        try:
            results = list(searcher.search_all(queries.values(), ALL, **filters))
        except QueryError as error:
            found[label] = str(error)
            continue
        for query, result in zip(queries, results, strict=True):
            assert isinstance(result, SearchResult)
            assert result.publication == searcher.publication.number
            found[label, query] = (
                result.notes,
                {name: answer_of(one, photos, filters) for name, one in result.engines.items()},
            )
        nearer = searcher.search_all(queries.values(), K, **filters)
        for few, all_ in zip(nearer, results, strict=True):
            check_first(few, all_, K)
    for name in ENGINES:
        for n in (0, 60):
            vector = searcher.engines[name].index.vectors(np.array([0]))[0] * 0 + n
            result = searcher.select([name]).search(vector, ALL)
            found[name, n] = answer_of(result[name], photos, {})
    return found


def hits_of(searcher: Searcher) -> Iterator[Hit]:
    for engine in searcher.search(photo(0), ALL).values():
        yield from engine.hits


def answer_of(result: EngineResult, photos: Path, filters: Filters) -> Answer:
    """What an answer says, whatever ids its items have; equally near ones go by their keys."""
    hits = sorted(
        (
            hit.distance,
            hit.percentile,
            () if "group_by" in filters else described(hit, photos),
        )
        for hit in result.hits
    )
    return {"hits": hits, "no_match": result.no_match, "ood": result.ood_percentile}


def described(hit: Hit, photos: Path) -> tuple[object, ...]:
    item, path = hit.item, hit.photo and hit.photo.relative_to(photos).as_posix()
    assert hit.photo is None or path is not None
    return (item.key, item.name, item.category, dict(item.metadata), path, hit.sha256)


def check_first(few: object, all_: object, k: int) -> None:
    """Check that the k nearest are the first of all, in their order."""
    assert isinstance(few, SearchResult)
    assert isinstance(all_, SearchResult)
    for name in all_:
        assert few[name].hits == all_[name].hits[:k]


@pytest.fixture
def pixel_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models see pixels, no network is loaded, and few rows are worth codes."""

    def load(name: str, folder: ModelFolder, **_: object) -> PixelModel:
        return PixelModel(name, folder)

    monkeypatch.setattr(models, "load", load)
    monkeypatch.setattr(models, "load_on_gpu", load)
    monkeypatch.setitem(index.INDEX_TYPES, "pruned", CODED)


@pytest.mark.soak
@pytest.mark.usefixtures("pixel_models")
@pytest.mark.parametrize("machine", [CatalogMachine, TableMachine])
def test_what_is_published_is_what_a_new_build_answers(
    machine: type[CatalogMachine], soak: bool
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SOAK_RUNS if soak else 1,
            stateful_step_count=SOAK_STEPS if soak else SAMPLE_STEPS,
            derandomize=not soak,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink] if soak else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
