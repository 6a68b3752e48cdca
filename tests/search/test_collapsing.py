"""collapse: a near-duplicate is hidden behind what is shown, never along a chain; always k."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from math import inf

import numpy as np
import pytest

from pipeline.errors import NotBuiltError
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.fused_list import first_fused
from pipeline.search.query import Item
from pipeline.search.result import FusedHit, Hit
from tests.conftest import Color, Shop

GRID: list[Color] = list(itertools.product(range(5), repeat=3))  # type: ignore[arg-type]
Pairs = set[frozenset[bytes]]


class Told:
    """Near-duplicates that the test names, by the SHA-256 of photos."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def first_like(self, photo: bytes, others: Sequence[bytes]) -> int | None:
        like = (i for i, o in enumerate(others) if o == photo or {photo, o} in self.pairs)
        return next(like, None)


def brute_force(hits: Sequence[Hit], k: int, pairs: Pairs) -> list[tuple[int, list[int]]]:
    """What collapsing the whole ranking of all items gives: (item shown, items hidden)."""
    shown: list[tuple[Hit, list[Hit]]] = []
    for hit in hits:
        for first, hidden in shown:
            photos = {bytes.fromhex(first.sha256), bytes.fromhex(hit.sha256)}
            if len(photos) == 1 or photos in pairs:
                hidden.append(hit)
                break
        else:
            shown.append((hit, []))
    last = shown[k - 1][0].distance if len(shown) >= k else inf
    return [
        (first.item.id, [h.item.id for h in hidden if h.distance <= last])
        for first, hidden in shown[:k]
    ]


@pytest.mark.parametrize("seed", range(3))
def test_answers_are_those_of_collapsing_the_whole_ranking(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    colors = rng.sample(GRID, 60)
    build = shop.build(
        {f"item {n}": rng.choices(colors, k=rng.choice([1, 1, 2])) for n in range(80)}
    )
    photos = [row.tobytes() for row in build.photos]
    pairs = {frozenset(pair) for pair in itertools.combinations(photos, 2) if rng.random() < 0.2}
    options = [{}, {"where": "id <= 20"}, {"where": "id > 5"}, {"group_by": "category"}]
    with shop.searcher() as searcher:
        queries = [np.array(color, np.float32) for color in (*colors[:2], (9, 0, 0))]
        asked = [*queries, Item(7)]
        for filters in options:
            whole = [searcher.search(query, 80, **filters).hits for query in asked]
            monkeypatch.setattr(EngineSearcher, "duplicates", lambda *_: Told(pairs))
            for k in (1, 2, 5, 12):
                found = [searcher.search(query, k, **filters).hits for query in asked]
                batch = [answer.hits for answer in searcher.search_all(asked, k, **filters)]
                assert found == batch
                for hits, all_hits in zip(found, whole, strict=True):
                    expected = brute_force(all_hits, k, pairs)
                    assert [(h.item.id, list(h.similar)) for h in hits] == expected
                    assert [h.rank for h in hits] == list(range(1, len(hits) + 1))
            monkeypatch.undo()
            monkeypatch.setattr("pipeline.models.load", lambda *_, **__: None)


def test_along_a_chain_only_what_is_like_the_shown_item_is_hidden(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = shop.build({"a": [(1, 0, 0)], "b": [(2, 0, 0)], "c": [(3, 0, 0)], "d": [(4, 0, 0)]})
    a, b, c, _ = (build.photos[row].tobytes() for row in range(4))
    told = Told({frozenset({a, b}), frozenset({b, c})})
    monkeypatch.setattr(EngineSearcher, "duplicates", lambda *_: told)
    with shop.searcher() as searcher:
        hits = searcher.search(np.zeros(3, np.float32), 3).hits
    assert [(hit.item.key, hit.similar) for hit in hits] == [("a", (2,)), ("c", ()), ("d", ())]


def test_a_fused_list_shows_no_two_near_duplicates(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)], "b": [(2, 0, 0)], "c": [(3, 0, 0)]})
    with shop.searcher() as searcher:
        hits = searcher.search(np.zeros(3, np.float32), 3).hits
    a, b, c = (
        FusedHit(h.rank, 1 / h.rank, {}, h.item, h.photo, h.sha256, similar)
        for h, similar in zip(hits, ((8,), (9, 8), ()), strict=True)
    )
    told = Told({frozenset(bytes.fromhex(hit.sha256) for hit in (a, b))})
    shown = first_fused((a, b, c), 2, None, told)  # type: ignore[arg-type]
    assert [(hit.rank, hit.item.key, hit.similar) for hit in shown] == [
        (1, "a", (8, 2, 9)),
        (2, "c", ()),
    ]


def test_without_it_nothing_is_hidden_and_nothing_more_is_said(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)], "b": [(1, 0, 0)]})
    with shop.searcher() as searcher:
        hits = searcher.search(np.zeros(3, np.float32), 3).hits
        assert [hit.item.key for hit in hits] == ["a", "b"]
        assert all("similar" not in hit.to_dict() for hit in hits)
        with pytest.raises(NotBuiltError, match="no build has looked for near-duplicates"):
            searcher.search(np.zeros(3, np.float32), 3, collapse=True)
    assert not (shop.folder / "duplicates").exists()
