"""Builds that follow from builds: whatever changed, they answer as one made from nothing does."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import index, models
from pipeline.artifacts import digest, publish
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.records import ImageRecord, State
from pipeline.config import Config
from pipeline.embeddings.arrays import find_rows, to_hashes
from pipeline.embeddings.store import EmbeddingStore
from pipeline.engine import Engine
from pipeline.errors import NotBuiltError, PipelineError
from pipeline.index import open_build, open_index, tuning, write_index
from pipeline.index.base import VectorIndex
from pipeline.index.build import build_index, describe
from pipeline.index.builds import Build
from pipeline.index.merging import GROWTH, MAX_DEAD_SHARE, merge_groups
from pipeline.index.parent import Parent, find_parent
from pipeline.index.promised import open_promised, write_promised
from pipeline.index.pruned import PrunedIndex, PruningOptions, write_pruned
from pipeline.index.recall import Recall
from pipeline.index.segment_rows import row_starts
from pipeline.index.segmented import LiveIndex, SegmentedIndex
from pipeline.maintenance.verify_recall import RecallCheck, check_recall
from pipeline.models.store import WEIGHTS
from pipeline.publish.opening import OpenPublication
from pipeline.publish.publication import Publication, PublishedEngine
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.neighbor_graph import neighbor_blocks
from pipeline.search.query import Item
from pipeline.search.result import EngineResult
from tests.conftest import tree
from tests.oracles.nearest import brute_force

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
    recall: float | None = None
    things: dict[str, Thing] = field(default_factory=dict)

    def __post_init__(self) -> None:
        engine = {"type": "pretrained", "weights": "random"}
        self.config = Config.model_validate(
            {
                "name": "shop",
                "root": str(self.root),
                "source": {"type": "sample"},
                "index": {"type": self.kind, "recall": self.recall},
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
            for key, thing in things.items():
                images = [
                    ImageRecord(
                        f"{p}.jpg", State.AVAILABLE, path=f"/{key}/{p}", sha256=photo_hash(p)
                    )
                    for p in thing.photos
                ]
                self.catalog.put(key, key, thing.category, {"size": len(key)}, images)
            gone = " NOT IN (SELECT value FROM json_each(:keys))"
            keys = {"keys": json.dumps([*things])}
            self.catalog.change(f"UPDATE items SET state = 'removed' WHERE key {gone}", keys)
            items = f"(SELECT id FROM items WHERE key {gone})"
            self.catalog.change(f"UPDATE images SET state = 'removed' WHERE item IN {items}", keys)

    def embed(self, name: str, shard_size: int = 16) -> int:
        """Put the vectors of photos that have none into the store; return how many that were."""
        vectors = self.vectors(name)
        has_vector = vectors.photos()
        shown = {photo_hash(p): p for thing in self.things.values() for p in thing.photos}
        missing = [sha for sha in shown if sha not in has_vector]
        for start in range(0, len(missing), shard_size):
            part = missing[start : start + shard_size]
            vectors.write(part, np.stack([vector(shown[sha]) for sha in part]), "test 1")
        return len(missing)

    def vectors(self, name: str) -> EmbeddingStore:
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

    @contextmanager
    def searcher(self, name: str) -> Iterator[EngineSearcher]:
        """Open an engine's last build, as if it was published with the ledger of now."""
        engine = Engine(name, self.config)
        published = {name: PublishedEngine.of(engine.current_build())}
        now = Publication(1, None, "", self.catalog.generation, published)
        with EngineSearcher(engine, OpenPublication(now, self.catalog)) as searcher:
            yield searcher

    def answers(self, name: str, seed: int = 0) -> list[object]:
        """What queries of many kinds are answered."""
        rng = np.random.default_rng(seed)
        found: list[object] = []
        with self.searcher(name) as searcher:
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
            for k, one in itertools.product((1, 4, 200), filters):
                for result in searcher.search_all(queries, k, **one):  # type: ignore[arg-type]
                    found.append(outcome(result))
            for block in neighbor_blocks(searcher, 3):  # which names rows: their numbers differ
                found += [(item, [(n.item, n.distance) for n in near]) for item, near in block]
            found.append({k: v.tolist() for k, v in searcher.calibration.by_category.items()})
            found.append(searcher.build.without_direction)
        return found

    def check(self, seed: int = 0) -> None:
        fresh = self.build_afresh()
        assert len(fresh.segments) == 1
        build = Engine("grown", self.config).current_build()
        assert {*map(bytes, build.photos)} == {*map(bytes, fresh.photos)}
        assert as_pairs(build) == as_pairs(fresh)
        assert self.answers("grown", seed) == self.answers("fresh", seed)


def as_pairs(build: Build) -> set[tuple[bytes, int]]:
    return {(build.photos[row].tobytes(), item) for row, item in build.ids.tolist()}


def outcome(result: EngineResult | PipelineError) -> object:
    """What is the same whatever the build is called."""
    if isinstance(result, PipelineError):
        return str(result)
    return result.hits, result.no_match


@pytest.fixture
def pruned_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small segments have codes too."""
    kind = index.IndexType(
        lambda folder, file: write_pruned(folder, file, OPTIONS),
        lambda folder, file, flat: PrunedIndex(folder, file, flat, OPTIONS),
    )
    monkeypatch.setitem(index.INDEX_TYPES, "pruned", kind)


def test_a_build_says_which_recall_it_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two segments, of which the small one is searched exactly; and `exact` is exact."""
    kind = index.IndexType(
        lambda folder, file: write_pruned(folder, file, OPTIONS),
        lambda folder, file, flat: PrunedIndex(folder, file, flat, OPTIONS),
        lambda folder, file, flat, recall: write_promised(folder, file, flat, recall, OPTIONS),
        lambda folder, file, flat: open_promised(folder, file, flat, OPTIONS),
    )
    monkeypatch.setitem(index.INDEX_TYPES, "pruned", kind)
    monkeypatch.setattr(tuning, "NEIGHBORS", {20: 50})  # of which there are enough in few rows
    store = Store(tmp_path, "pruned", recall=0.5)
    things = {f"t{photo}": Thing((photo,)) for photo in range(400)}
    store.grow(things)
    build = store.grow({**things, "new": Thing((401,))})
    assert len(build.segments) == 2
    assert build.recall is not None
    assert build.recall.promise == 0.5
    assert 0.5 <= build.recall.measured.mean <= 1
    assert build.recall.measured.queries == 200
    with store.searcher("grown") as searcher:
        result = searcher.search(vector(401), 5)
    assert len(result.hits) == 5
    assert result.hits[0].distance == 0
    assert result.recall == build.recall
    assert result.to_dict()["recall"] == build.recall.to_dict()
    (check,) = check_recall(store.config, seed=0)
    assert check.is_kept
    assert check.to_dict()["engine"] == "grown"
    broken = RecallCheck("grown", build.recall, Recall(0.2, 0.1, 0.3, 9))
    assert str(broken).startswith("grown: recall@10 0.2000 (0.1000 to 0.3000), 0.5 promised, which")


def test_a_build_without_a_promise_says_nothing_of_recall(tmp_path: Path) -> None:
    store = Store(tmp_path, "pruned")
    build = store.grow({"a": Thing((1,))})
    assert build.recall is None
    assert build.manifest["index"] == {"type": "pruned"}
    assert "recall" not in build.manifest
    with store.searcher("grown") as searcher:
        assert "recall" not in searcher.search(vector(1), 1).to_dict()
    assert not [*check_recall(store.config)]


def changed(things: dict[str, Thing], dice: random.Random) -> dict[str, Thing]:
    """The things after one to three changes."""
    things = dict(things)
    for _ in range(dice.choice([1, 1, 2, 3])):
        dice.choice([add, add_many, change, refile, remove, remove_many, share, swap])(things, dice)
    return things


def some_photos(dice: random.Random) -> tuple[int, ...]:
    return tuple(dice.sample(range(PHOTOS), dice.choice([1, 1, 2, 3])))


def add(things: dict[str, Thing], dice: random.Random) -> None:
    things[f"new {dice.randrange(99)}"] = Thing(some_photos(dice), dice.choice(CATEGORIES))


def add_many(things: dict[str, Thing], dice: random.Random) -> None:
    for _ in range(dice.randrange(20)):
        add(things, dice)


def change(things: dict[str, Thing], dice: random.Random) -> None:
    things[dice.choice([*things, "0"])] = Thing(some_photos(dice), dice.choice(CATEGORIES))


def refile(things: dict[str, Thing], dice: random.Random) -> None:
    for key in dice.sample([*things], min(len(things), 2)):
        things[key] = Thing(things[key].photos, dice.choice(CATEGORIES))


def remove(things: dict[str, Thing], dice: random.Random) -> None:
    things.pop(dice.choice([*things, "0"]), None)


def remove_many(things: dict[str, Thing], dice: random.Random) -> None:
    for key in dice.sample([*things], dice.randrange(len(things) // 3 + 1)):
        things.pop(key)


def share(things: dict[str, Thing], dice: random.Random) -> None:
    """Another item shows photos of this one, beside one of its own or alone."""
    for key in dice.sample([*things], min(len(things), 1)):
        own = some_photos(dice)[: dice.randrange(2)]
        things[f"copy {dice.randrange(30)}"] = Thing((*things[key].photos, *own), "hats")


def swap(things: dict[str, Thing], dice: random.Random) -> None:
    if things:
        one, other = dice.choice([*things]), dice.choice([*things])
        things[one], things[other] = things[other], things[one]


@pytest.mark.parametrize(("kind", "normalize"), [("flat", False), ("pruned", True)])
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
        for step in range(20 if soak else 5):
            things = changed(things, dice)
            try:
                store.grow(things)
            except NotBuiltError:
                continue
            store.check(step)
        store.catalog.close()


# -- Vectors are on the disk once ------------------------------------------------------------------


def vector_bytes(store: Store) -> int:
    """Bytes of vectors on the disk, wherever they are."""
    folder = Engine("grown", store.config).folder
    files = (*folder.glob("segments/*/index.faiss"), *folder.glob("embeddings/*/*.npy"))
    return sum(file.stat().st_size for file in files)


def numbered(photos: Iterable[int]) -> dict[str, Thing]:
    return {str(photo): Thing((photo,)) for photo in photos}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.catalog.close()


def test_after_a_build_the_shards_are_gone_and_all_vectors_are_there(store: Store) -> None:
    store.grow(numbered(range(50)))
    assert vector_bytes(store) <= 1.02 * 50 * DIM * 4
    assert store.index("grown").segments[0].runtimes == ["test 1"]
    assert not store.vectors("grown").folder.exists()
    photos = to_hashes(b"".join(photo_hash(n) for n in (40, 3, 89)))
    expected = np.stack([vector(40), vector(3), np.zeros(DIM, np.float32)])
    np.testing.assert_array_equal(store.vectors("grown").gather(photos), expected)
    store.offer(numbered(range(60)))
    assert store.embed("grown") == 10
    assert len(store.index("grown").photos) == 60


def test_a_photo_that_comes_back_is_not_embedded_again(store: Store) -> None:
    store.grow(numbered(range(50)))
    store.grow(numbered(range(45)))
    store.offer(numbered(range(50)))
    assert store.embed("grown") == 0
    assert len(store.index("grown").photos) == 50
    store.check()


def test_a_blank_photo_is_not_embedded_again_though_no_search_finds_it(tmp_path: Path) -> None:
    store = Store(tmp_path, normalize=True)
    store.grow(numbered([7, *range(10, 30)]))  # 7 is blank
    assert store.embed("grown") == 0
    build = store.grow(numbered([7, *range(10, 20)]))  # many rows go: what is left is written anew
    assert [len(one.hashes) for one in build.segments] == [11]
    assert (store.embed("grown"), build.without_direction, len(build.photos)) == (0, 1, 10)
    store.check()
    store.catalog.close()


@pytest.mark.soak
def test_after_many_builds_of_one_change_little_is_left_of_what_was(
    store: Store, soak: bool
) -> None:
    things = numbered(range(80))
    dice = random.Random(1)
    most = 0.0
    store.grow(things)
    for step in range(200 if soak else 15):
        things[dice.choice([*things])] = Thing((1000 + step,))
        build = store.grow(things)
        most = max(most, len(build.segments))
        dead = [1 - (one.rows and live_share(build, n)) for n, one in enumerate(build.segments)]
        assert max(dead) <= MAX_DEAD_SHARE + 1e-9
    assert most <= 1 + math.log(80, GROWTH)
    assert vector_bytes(store) <= 1.6 * 80 * DIM * 4
    store.check()


def live_share(build: Build, segment: int) -> float:
    """Of the rows of a build's segment."""
    starts = row_starts(build.segments)
    return float(build.segment_rows.is_live[starts[segment] : starts[segment + 1]].mean())


# -- Runs that end early ---------------------------------------------------------------------------


def grow_in_a_process(root: Path, things: Mapping[str, Thing], dies_at: int | None) -> int:
    """Grow a store in a process that dies before it flushes, renames or deletes for the n-th time.

    Returns how often it did one of these, or -1 if it died.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def dying(function: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **kwargs: object) -> object:
                nonlocal count
                if count == dies_at:
                    os._exit(9)
                count += 1
                return function(*args, **kwargs)

            return call

        store = Store(root)
        store.offer(things)
        for name in ("fsync", "rename", "replace", "unlink", "rmdir"):
            setattr(os, name, dying(getattr(os, name)))
        store.embed("grown")
        store.index("grown", keep_builds=1)
        os.write(writes, str(count).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as file:
        text = file.read()
    os.waitpid(child, 0)
    return int(text or -1)


@pytest.mark.soak
def test_a_run_killed_anywhere_ends_with_the_same_bytes(tmp_path: Path, soak: bool) -> None:
    before, things = numbered(range(40)), numbered(range(2, 50))
    grow_in_a_process(tmp_path / "first", before, None)
    shutil.copytree(tmp_path / "first", tmp_path / "undisturbed")
    steps = grow_in_a_process(tmp_path / "undisturbed", things, None)
    expected = written(tmp_path / "undisturbed")
    assert steps > 20
    for step in range(steps) if soak else random.Random(3).sample(range(steps), 5):
        root = tmp_path / str(step)
        shutil.copytree(tmp_path / "first", root)
        assert grow_in_a_process(root, things, step) == -1
        assert grow_in_a_process(root, things, None) >= 0
        assert written(root) == expected, step


def written(root: Path) -> dict[str, bytes]:
    """All that an engine has on the disk; of what was compared when, nothing."""
    sweeping = Engine("grown", Store(root).config)
    sweeping.sweep()  # as the next run does
    return {name: data for name, data in tree(sweeping.folder).items() if "checked" not in name}


# -- What a build begins with ----------------------------------------------------------------------


def parent_of(store: Store) -> Parent:
    engine = Engine("grown", store.config)
    description = describe("grown", engine.model, store.config.index)
    return find_parent(store.catalog, engine.builds, store.vectors("grown"), description)


def test_only_what_changed_is_looked_at(store: Store) -> None:
    store.grow(numbered(range(50)))
    assert parent_of(store).is_up_to_date
    things = numbered(range(50)) | {"7": Thing((60,)), "new": Thing((3,))}
    store.offer(things)
    keys = {store.catalog.item(item).key for item in parent_of(store).changed.tolist()}  # type: ignore[union-attr]
    assert keys == {"7", "new"}


def test_a_build_without_changes_writes_nothing(store: Store) -> None:
    store.grow(numbered(range(50)))
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    store.index("grown")
    after = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("lost", ["what the ledger knows of it", "the generation"])
def test_where_it_is_not_known_what_changed_all_is_looked_at(store: Store, lost: str) -> None:
    store.grow({"a": Thing((1, 2)), **numbered(range(3, 50))})
    if lost == "the generation":
        store.catalog.put("b", "b", "", {}, [])
        store.catalog.seal_generation()
    else:
        store.catalog.set_meta("index of grown", None)
    store.offer({"a": Thing((1,)), **numbered(range(3, 50))})
    if lost == "the generation":
        store.catalog.seal_generation()
        with store.catalog.transaction():
            store.catalog.drop_generations([])
    assert parent_of(store).changed is None
    build = store.index("grown")
    assert photo_hash(2) not in {*map(bytes, build.photos)}
    assert len(build.segments) == 1
    store.check()


def test_a_photo_that_is_embedded_later_is_indexed_then(store: Store) -> None:
    store.grow(numbered(range(20)))
    store.offer(numbered(range(25)))
    build = store.index("grown")
    assert (len(build.photos), build.manifest["without_vector"]) == (20, 5)
    assert store.embed("grown") == 5
    build = store.index("grown")
    assert (len(build.photos), build.manifest["without_vector"]) == (25, 0)
    store.check()


def test_segments_that_no_kept_build_needs_go(store: Store) -> None:
    builds = [store.grow(numbered(range(20 + 30 * n)), keep_builds=9) for n in range(3)]
    engine = Engine("grown", store.config)
    engine.builds.remove_unneeded([builds[0].path.name])
    assert {path.name for path in engine.builds.all()} == {builds[0].path.name, builds[2].path.name}
    needed = {one.path for build in (builds[0], builds[2]) for one in build.segments}
    assert {*engine.builds.segments.paths()} == needed
    assert open_build(builds[0]).rows == 20


# -- Several segments as one index -----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_segments_are_searched_as_one_index_of_their_live_rows(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    xb = rng.integers(0, 3, (90, 4)).astype(np.float32)  # many are equally near
    is_live = rng.random(90) < [1, 0.9, 0.5, 0.02][seed]
    is_live[50] = True
    parts: list[VectorIndex] = []
    for number, (start, end) in enumerate(itertools.pairwise([0, 40, 45, 90])):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_index("flat", folder, end - start, 4, [(np.arange(end - start), xb[start:end])])
        parts.append(LiveIndex(open_index("flat", folder), is_live[start:end]))
    index, live = SegmentedIndex(parts), xb[is_live]
    queries = np.concatenate([xb[:5], rng.standard_normal((4, 4)).astype(np.float32)])
    allowed = np.flatnonzero(rng.random(len(live)) < 0.3)
    for k, among in itertools.product((1, 3, 20, 90), (None, allowed)):
        found = index.search(queries, k, among)
        for query, distances, rows in zip(queries, found.distances, found.rows, strict=True):
            expected, expected_rows = brute_force(live, query, k, among)
            assert rows.tolist() == expected_rows.tolist()
            np.testing.assert_allclose(distances, expected, rtol=1e-13, atol=0)
    rows = rng.permutation(len(live))
    np.testing.assert_array_equal(index.vectors(rows), live[rows])
    index.close()


@given(st.lists(st.integers(0, 10**6), max_size=40))
def test_each_segment_is_much_larger_than_the_one_behind_it(shown: list[int]) -> None:
    groups = merge_groups(shown)
    assert [one for group in groups for one in group] == [
        n for n, count in enumerate(shown) if count
    ]
    counts = [sum(shown[one] for one in group) for group in groups]
    assert all(one >= GROWTH * other for one, other in itertools.pairwise(counts))
    assert [len(group) for group in merge_groups(counts)] == [1] * len(counts)


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 30)), st.sampled_from([1, 8, 32]))
def test_photos_are_found_by_their_hashes(have: list[int], wanted: list[int], digits: int) -> None:
    def hashes(numbers: Iterable[int]) -> np.ndarray:  # with few digits all begin alike
        rows = (bytes(32 - digits) + photo_hash(number)[:digits] for number in numbers)
        return to_hashes(b"".join(rows))

    have = list(dict.fromkeys(have))
    photos = hashes(have)
    rows = {bytes(photo): row for row, photo in enumerate(photos)}
    found = find_rows(photos, hashes(wanted)).tolist()
    if len(rows) == len(have):
        assert found == [rows.get(bytes(photo), -1) for photo in hashes(wanted)]
