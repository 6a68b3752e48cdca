"""Options together: words, conditions, groups, near-duplicates, examples; against brute force."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.catalog.words import find_words
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.query import Item, Text
from pipeline.search.searcher import Searcher
from tests.conftest import Color, png
from tests.engines import VIEWS, Thing, fairs

ENGINES = ("color", "mixed")
WORDS = ("red", "blue", "leather", "bag", "shirt", "wool")
GRID: list[Color] = list(itertools.product(range(4), repeat=3))  # type: ignore[arg-type]
SHA256 = {color: sha256(png(color)).digest() for color in GRID}
CONDITIONS: dict[str, Callable[[int, Thing], bool]] = {
    "category = 'A'": lambda _, thing: thing.category == "A",
    "id <= 12": lambda item, _: item <= 12,
    "id = 400": lambda *_: False,
}
GROUPS: dict[str, Callable[[int, Thing], object]] = {
    "category": lambda _, thing: thing.category,
    "price": lambda item, thing: thing.metadata["price"] or -item,
}


class Told:
    """Near-duplicates that the test draws, by the SHA-256 of photos."""

    def __init__(self, rng: random.Random) -> None:
        pairs = itertools.combinations(sorted(SHA256.values()), 2)
        self.pairs = {frozenset(pair) for pair in pairs if rng.random() < 0.1}

    def first_like(self, photo: bytes, others: Sequence[bytes]) -> int | None:
        like = (i for i, o in enumerate(others) if o == photo or {photo, o} in self.pairs)
        return next(like, None)


@dataclass
class Shelf:
    searcher: Searcher
    things: Mapping[int, Thing]
    told: Told

    def expected(
        self, engine: str, query: int, k: int, options: Mapping[str, Any]
    ) -> list[tuple[int, list[int]]]:
        """(item shown, items hidden), from the whole ranking of all items."""
        own = np.array(self.things[query].colors, np.float32)
        rows, groups = [], set()
        for item, thing in self.things.items():
            to_each = {c: self.distance(engine, own, c) for c in thing.colors}
            photo = min(thing.colors, key=lambda c: (to_each[c], SHA256[c]))
            rows.append((self.tier(item, options), to_each[photo], item, SHA256[photo]))
        ordered = []
        for row in sorted(rows):
            group = GROUPS.get(options.get("group_by", ""), lambda i, _: i)(
                row[2], self.things[row[2]]
            )
            is_met = CONDITIONS.get(options.get("where", ""), lambda *_: True)
            is_near = row[1] <= options.get("max_distance", np.inf)
            if row[2] == query or row[0] < 0 or not is_near or group in groups:
                continue
            if is_met(row[2], self.things[row[2]]):
                groups.add(group)
                ordered.append(row)
        shown: list[tuple[Any, list[Any]]] = []
        for row in ordered:
            like = self.told.first_like(row[3], [first[3] for first, _ in shown])
            if len(shown) == k and row[:2] > shown[-1][0][:2]:
                break
            if like is not None and options.get("collapse"):
                shown[like][1].append(row)
            elif len(shown) < k:
                shown.append((row, []))
        return [(first[2], [row[2] for row in hidden]) for first, hidden in shown]

    def tier(self, item: int, options: Mapping[str, Any]) -> int:
        """How many of the words an item lacks; -1 if it has none."""
        if "text" not in options:
            return 0
        words = options["text"].split()
        key = self.searcher.catalog.item(item).key.split()  # type: ignore[union-attr]
        missing = sum(word not in key for word in words)
        return -1 if missing == len(words) else missing

    def distance(self, engine: str, own: np.ndarray, color: Color) -> float:
        difference = VIEWS[engine](own) - VIEWS[engine](np.array([color], np.float32))
        return float(np.linalg.norm(difference.astype(np.float64), axis=1).min())


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    rng = random.Random(5)
    things = {
        f"k{n} {' '.join(rng.sample(WORDS, rng.randint(0, 3)))}": Thing(
            rng.sample(GRID, rng.choice([1, 1, 2, 3])),
            rng.choice("ABC"),
            {"price": rng.choice([None, 1, 2, 3])},
        )
        for n in range(40)
    }
    told = Told(rng)
    with (
        fairs(tmp_path_factory.mktemp("shelf")) as open_fair,
        pytest.MonkeyPatch.context() as patch,
    ):
        fair = open_fair(*ENGINES)
        fair.build(things)
        patch.setattr(EngineSearcher, "duplicates", lambda _, wanted: told if wanted else None)
        with pipeline.open(fair.config) as searcher:
            ids = {searcher.catalog.item_by_key(key).id: one for key, one in things.items()}  # type: ignore[union-attr]
            yield Shelf(searcher, ids, told)


def drawn(rng: random.Random) -> dict[str, Any]:
    """Options, each of them given or not."""
    options = {
        "where": rng.choice([None, None, *CONDITIONS]),
        "group_by": rng.choice([None, *GROUPS]),
        "text": rng.choice([None, "red shirt", "leather bag wool"]),
        "max_distance": rng.choice([None, None, 3.0]),
        "collapse": rng.choice([None, True]),
    }
    return {name: value for name, value in options.items() if value is not None}


def test_lists_are_those_of_the_whole_ranking(shelf: Shelf) -> None:
    rng = random.Random(1)
    for _ in range(25):
        options, query, k = drawn(rng), rng.randint(1, 40), rng.choice([1, 3, 10, 60])
        result = shelf.searcher.search(Item(query), k, **options)
        for engine, answer in result.items():
            found = [(hit.item.id, list(hit.similar)) for hit in answer.hits]
            assert found == shelf.expected(engine, query, k, options), (options, query, k)


def test_a_fused_list_has_k_items_in_the_order_of_words(shelf: Shelf) -> None:
    rng = random.Random(2)
    for _ in range(15):
        options, query, k = drawn(rng), rng.randint(1, 40), rng.choice([1, 3, 10, 60])
        options.pop("group_by", None)
        options["refine"] = rng.choice(["off", "expand", "rerank"])
        if rng.random() < 0.5:  # lists that end at different places
            options |= {"text": "leather bag wool", "max_distance": rng.choice([2.0, 3.0, 5.0])}
        result = shelf.searcher.search(Item(query), k, fuse=True, **options)
        hits = result.fused or ()
        tiers = [shelf.tier(hit.item.id, options) for hit in hits]
        assert tiers == sorted(tiers), options
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        photos = [bytes.fromhex(hit.sha256) for hit in hits]
        if "collapse" in options:
            pairs = itertools.combinations(photos, 2)
            assert all(shelf.told.first_like(a, [b]) is None for a, b in pairs)
        else:
            assert len({hit.item.id for hit in hits}) == len(hits)
            assert len(hits) == max(len(answer.hits) for answer in result.values())


def test_examples_are_found_by_no_list(shelf: Shelf) -> None:
    words = Text("red")
    liked = find_words(shelf.searcher.catalog, "red").items[:2].tolist()
    result = shelf.searcher.search(
        words, 40, look=True, fuse=True, like=liked[:1], unlike=[Item(liked[1])]
    )
    lists = [*(answer.hits for answer in result.values()), result.text or (), result.fused or ()]
    for hits in lists:
        assert hits
        assert not {hit.item.id for hit in hits} & set(liked)
