"""exclusions.py: which items share a photo or a product, against sets."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.evaluation.exclusions import ExcludedCount, Exclusions, SharedValues


@pytest.mark.parametrize("seed", range(3))
def test_items_that_share_a_value_are_those_whose_values_meet(seed: int) -> None:
    rng = random.Random(seed)
    values = {item: rng.sample("abcdefgh", rng.randrange(4)) for item in range(30)}
    shared = SharedValues((value, item) for item, own in values.items() for value in own)
    for item, own in values.items():
        assert shared.values(item) == own
        expected = {other for other in values if set(values[other]) & set(own)}
        assert shared.sharing(item) == expected
        assert all(shared.is_shared(item, other) == (other in expected) for other in values)
    assert shared.items_with("az") == {item for item, own in values.items() if "a" in own}
    assert (shared.values(99), shared.sharing(99)) == ([], set())


def test_excluding_counts_nothing_by_itself() -> None:
    exclusions = Exclusions(
        SharedValues([("p", 0), ("q", 0), ("p", 1), ("q", 2)]), [["p", "q"], ["p"], ["z"]]
    )
    for _ in range(2):
        lists = [exclusions.excluded(0, 0), exclusions.excluded(1, None), exclusions.excluded(2, 3)]
        assert [items.tolist() for items in lists] == [[1, 2], [0, 1], []]
        assert all(items.dtype == np.int64 for items in lists)
        assert ExcludedCount.of(lists) == ExcludedCount(queries=2, pairs=4)
    assert ExcludedCount(1, 2) + ExcludedCount(3, 4) == ExcludedCount(4, 6)
