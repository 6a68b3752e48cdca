"""compare: lists, agreement, who is right and near-identical pairs, against brute force."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path

import pytest

from pipeline.errors import NotBuiltError, QueryError
from pipeline.evaluation.agreement import overlap, rank_biased_overlap
from pipeline.evaluation.compare import ComparisonOptions, compare
from pipeline.search.fusion import fuse
from pipeline.search.query import Item
from tests.conftest import Color, png
from tests.engines import Opener, Thing, open_fair

__all__ = ["open_fair"]

Things = dict[str, Thing]
ALL = ComparisonOptions(sample=1000, k=3)


def things(seed: int, count: int, most: int) -> Things:
    rng = random.Random(seed)

    def color() -> Color:
        return rng.randrange(most), rng.randrange(most), rng.randrange(most)

    return {
        f"item {n:02}": Thing([color() for _ in range(rng.choice([1, 1, 2]))], rng.choice("abc"))
        for n in range(count)
    }


# -- Lists -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "most"), [(0, 256), (1, 4)])
def test_lists_agreement_and_verdicts_are_those_of_what_search_answers(
    open_fair: Opener, seed: int, most: int
) -> None:
    items = things(seed, 25, most)
    fair = open_fair("color", "red", "mixed")
    fair.build(items)
    found = compare(fair.config, ALL)
    assert [one.query for one in found.answers] == list(items)
    right: Counter[str] = Counter()
    sums: Counter[tuple[str, str, str]] = Counter()
    for one in found.answers:
        key = one.query
        lists = {
            name: fair.searcher(name).search(Item(one.item or 0), 100).hits for name in one.lists
        }
        assert one.label == items[key].category
        assert one.lists == {name: answers[:3] for name, answers in lists.items()}
        assert one.fused == fuse(lists, 3)
        ids = {name: [n.item.id for n in answers] for name, answers in lists.items()}
        assert [a.engines for a in one.agreements] == [
            ("color", "red"),
            ("color", "mixed"),
            ("red", "mixed"),
        ]
        for agreement in one.agreements:
            a, b = agreement.engines
            assert agreement.overlap == overlap(ids[a], ids[b], 3)
            assert agreement.rbo == rank_biased_overlap(ids[a], ids[b])
            sums[(a, b, "overlap")] += agreement.overlap  # type: ignore[assignment]
            sums[(a, b, "rbo")] += agreement.rbo  # type: ignore[assignment]
        verdict = {}
        for name, answers in lists.items():
            others = (
                n for n in answers if not set(items[n.item.key].colors) & set(items[key].colors)
            )
            verdict[name] = next(others).item.category == items[key].category
        assert one.right == verdict
        right["+".join(name for name in verdict if verdict[name])] += 1
    assert found.right == dict(right)
    assert sum(found.right.values()) == 25
    for agreement in found.agreements:
        a, b = agreement.engines
        assert agreement.overlap == pytest.approx(sums[(a, b, "overlap")] / 25)
        assert agreement.rbo == pytest.approx(sums[(a, b, "rbo")] / 25)


def test_photos_ask_and_what_is_none_is_told(open_fair: Opener, tmp_path: Path) -> None:
    fair = open_fair()
    fair.build({"a": Thing([(0, 0, 0)], "x"), "b": Thing([(9, 0, 0)], "y")})
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(png((1, 0, 0)))
    bad.write_bytes(b"")
    found = compare(fair.config, ComparisonOptions(photos=(bad, good)))
    (answers,) = found.answers
    assert (answers.query, answers.item, answers.label) == (str(good), None, None)
    assert answers.right is None
    assert [n.item.key for n in answers.lists["color"]] == ["a", "b"]
    assert [one.item.key for one in answers.fused] == ["a", "b"]
    assert list(found.failed) == [str(bad)]
    assert "empty file" in found.failed[str(bad)]
    assert (found.right, found.near_identical) == ({}, ())
    nothing = compare(fair.config, ComparisonOptions(photos=(bad,)))
    assert (nothing.answers, nothing.agreements) == ((), ())


def test_a_sample_is_chosen_by_its_seed(open_fair: Opener) -> None:
    fair = open_fair()
    fair.build(things(2, 30, 256))

    def chosen(seed: int) -> list[str]:
        return [
            one.query
            for one in compare(fair.config, ComparisonOptions(sample=8, seed=seed)).answers
        ]

    assert len(set(chosen(1))) == 8
    assert chosen(1) == chosen(1) == sorted(chosen(1))
    assert chosen(1) != chosen(2)


def test_only_items_that_all_engines_have_are_asked_with(open_fair: Opener) -> None:
    items = {key: Thing([(n, 0, 0)], "x") for n, key in enumerate("abcdef")}
    fair = open_fair()
    fair.build(dict(list(items.items())[:4]))
    fair.offer(items)
    fair.index("color")
    found = compare(fair.config, ALL)
    assert [one.query for one in found.answers] == list("abcd")
    assert found.failed == {}


# -- Near-identical pairs --------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "most"), [(0, 256), (1, 5), (2, 3)])
def test_pairs_are_each_others_nearest_by_every_engine(
    open_fair: Opener, seed: int, most: int
) -> None:
    items = things(seed, 20, most)
    fair = open_fair("color", "mixed")
    fair.build(items)
    names = list(items)
    searchers = {name: fair.searcher(name) for name in fair.config.engines}
    every = {
        n: {e: s.search(Item(fair.id_of(n)), 100).hits for e, s in searchers.items()} for n in names
    }

    def is_nearest(one: str, other: str) -> bool:
        """Whether, by every engine, none is nearer to one than the other is."""
        return all(
            next(n.distance for n in found if n.item.key == other) == found[0].distance
            for found in every[one].values()
        )

    expected = {
        (a, b)
        for at, a in enumerate(names)
        for b in names[at + 1 :]
        if is_nearest(a, b) and is_nearest(b, a)
    }
    found = compare(fair.config, ALL).near_identical
    assert {pair.keys for pair in found} == expected
    assert len(found) == len(expected)
    for pair in found:
        assert pair.items == tuple(fair.id_of(key) for key in pair.keys)
        assert pair.labels == tuple(items[key].category for key in pair.keys)
        shared = set(items[pair.keys[0]].colors) & set(items[pair.keys[1]].colors)
        assert pair.same_photo == bool(shared)
        for engine, distance in pair.distances.items():
            assert distance == every[pair.keys[0]][engine][0].distance


# -- Odd catalogs --------------------------------------------------------------------------------


def test_missing_labels_leave_the_verdict_open(open_fair: Opener) -> None:
    fair = open_fair()
    fair.build({key: Thing([(n, 0, 0)]) for n, key in enumerate("abc")})
    found = compare(fair.config, ALL)
    assert found.label is None
    assert (found.right, [one.right for one in found.answers]) == ({}, [None] * 3)
    assert found.near_identical[0].labels == (None, None)


def test_one_item_has_no_neighbors(open_fair: Opener) -> None:
    fair = open_fair()
    fair.build({"a": Thing([(1, 2, 3)], "x")})
    found = compare(fair.config, ALL)
    (answers,) = found.answers
    assert answers.lists == {"color": (), "mixed": ()}
    assert (answers.right, list(answers.fused), found.near_identical) == (None, [], ())
    assert found.agreements[0].overlap == found.agreements[0].rbo == 1


def test_items_of_one_photo_are_told_as_such(open_fair: Opener) -> None:
    fair = open_fair()
    fair.build({key: Thing([(7, 7, 7)], "x") for key in "abc"})
    found = compare(fair.config, ALL)
    assert [one.right for one in found.answers] == [None] * 3
    assert {(pair.keys, pair.same_photo) for pair in found.near_identical} == {
        (("a", "b"), True),
        (("a", "c"), True),
        (("b", "c"), True),
    }


def test_constant_vectors_answer_by_id(open_fair: Opener) -> None:
    fair = open_fair("color", "blind")
    fair.build(things(3, 12, 256))
    found = compare(fair.config, ALL)
    for one in found.answers:
        nearest = [n.item.id for n in one.lists["blind"]]
        assert nearest == [item for item in range(1, 13) if item != one.item][:3]
        assert all(n.distance == 0 for n in one.lists["blind"])
        assert all(math.isfinite(a.rbo) for a in one.agreements)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ComparisonOptions(engines=("color",)), "color alone cannot be compared"),
        (ComparisonOptions(engines=("color", "sound")), "unknown engine 'sound'"),
        (ComparisonOptions(label="brand"), "no item has a column 'brand'"),
        (ComparisonOptions(k=0), "k is 0"),
        (ComparisonOptions(sample=0), "sample is 0"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(
    open_fair: Opener, options: ComparisonOptions, message: str
) -> None:
    fair = open_fair()
    fair.build(things(1, 6, 9))
    with pytest.raises(QueryError, match=message) as raised:
        compare(fair.config, options)
    assert "\n" not in str(raised.value)


def test_before_there_is_an_index_there_is_nothing_to_compare(open_fair: Opener) -> None:
    with pytest.raises(NotBuiltError, match="imgsearch build"):
        compare(open_fair().config)


def test_everything_is_json(open_fair: Opener) -> None:
    fair = open_fair()
    fair.build(things(1, 9, 9))
    found = compare(fair.config, ALL)
    facts = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert facts["right"] == found.right
    assert facts["answers"][0]["lists"]["color"][0]["photo"].endswith(".png")
    assert facts["near_identical"][0]["keys"] == list(found.near_identical[0].keys)
