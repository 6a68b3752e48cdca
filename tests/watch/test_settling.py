"""When a look is built, and without which files: times and looks are made up here."""

from __future__ import annotations

import random
from itertools import pairwise

from pipeline.watch.look import Look
from pipeline.watch.settling import Settled, Settling

QUIET, AT_MOST = 3, 60


def settling(*essential: str) -> Settling:
    return Settling(QUIET, AT_MOST, frozenset(essential))


def look(**sizes: int) -> Look:
    return {name: (size,) for name, size in sizes.items()}


def built(settled: Settling, now: float) -> Settled:
    """What is due now, which then counts as built."""
    due = settled.due(now)
    assert due is not None
    settled.built(due, now)
    return due


def settled_on(first: Look) -> Settling:
    """One to whom a look is nothing new."""
    made = settling()
    made.built(Settled(first), 0)
    made.add(first, 0)
    return made


def test_a_look_is_built_once_it_was_the_same_for_the_quiet_time() -> None:
    made = settling()
    made.add(look(a=1), 10)
    assert made.due(10 + QUIET - 0.1) is None
    assert built(made, 10 + QUIET) == Settled(look(a=1), set())
    made.add(look(a=1), 20)
    assert made.due(1000) is None
    assert not made.is_pending


def test_a_file_that_grows_is_built_once_and_whole() -> None:
    made = settled_on(look(a=1))
    for second in range(1, 11):
        made.add(look(a=1, b=second), second)
        assert made.due(second) is None
    made.add(look(a=1, b=10), 10 + QUIET)
    assert built(made, 10 + QUIET).look == look(a=1, b=10)


def test_a_change_that_is_taken_back_is_none() -> None:
    made = settled_on(look(a=1))
    made.add(look(a=2), 1)
    made.add(look(a=1), 2)
    assert not made.is_pending
    assert made.due(100) is None


def test_changes_wait_for_each_other_but_not_for_ever() -> None:
    made = settled_on(look())
    made.add(look(a=1), 1)
    for now in range(2, 1 + AT_MOST):
        made.add(look(a=1, b=now), now)
        assert made.due(now) is None
    made.add(look(a=1, b=-1), 1 + AT_MOST)
    due = built(made, 1 + AT_MOST)
    assert due.unsettled == {"b"}
    # b has a time of its own to settle in, from then on
    made.add(look(a=1, b=-1), 1 + AT_MOST + QUIET)
    assert built(made, 1 + AT_MOST + QUIET).unsettled == set()


def test_what_a_build_left_out_has_its_own_time_to_wait() -> None:
    made = settled_on(look())
    builds = []
    for now in range(1, 4 * AT_MOST):
        made.add(look(**{f"f{now}": 1, "a": now // 10}), now)
        if due := made.due(now):
            made.built(due, now)
            builds.append(now)
    waits = [after - before for before, after in pairwise(builds)]
    assert builds
    assert min(waits) >= AT_MOST


def test_nothing_is_built_while_all_that_changed_still_changes() -> None:
    made = settled_on(look(a=1))
    for now in range(1, 5 * AT_MOST):
        made.add(look(a=1, log=now), now)
        assert made.due(now) is None


def test_a_file_that_is_gone_settles_too() -> None:
    made = settled_on(look(a=1, b=1))
    made.add(look(a=1), 1)
    assert made.due(2) is None
    assert built(made, 1 + QUIET) == Settled(look(a=1), set())


def test_a_file_that_went_a_moment_ago_is_unsettled() -> None:
    made = settled_on(look(a=1, gone=1))
    made.add(look(a=2, gone=1), 1)
    made.add(look(a=2), AT_MOST)
    due = built(made, 1 + AT_MOST)
    assert due.unsettled == {"gone"}
    made.add(look(a=2), AT_MOST + QUIET)
    assert built(made, AT_MOST + QUIET) == Settled(look(a=2), set())


def test_an_incomplete_photo_delays_no_other_and_waits_until_it_changes() -> None:
    made = settled_on(look())
    made.add(look(half=1, whole=1), 1)
    now = 1 + QUIET
    assert sorted(made.young(now)) == ["half", "whole"]
    made.mark_incomplete(["half"])
    assert built(made, now).unsettled == {"half"}
    made.add(look(half=1, whole=1), now + 10)
    assert made.due(now + 10) is None
    assert made.young(now + 10) == []  # it is not decoded again
    made.add(look(half=2, whole=1), now + 20)
    assert made.young(now + 20 + QUIET) == ["half"]
    assert built(made, now + 20 + QUIET).unsettled == set()


def test_a_photo_that_stays_incomplete_is_built_in_the_end() -> None:
    made = settled_on(look())
    made.add(look(half=1), 1)
    made.mark_incomplete(["half"])
    assert made.due(AT_MOST) is None
    assert made.young(1 + AT_MOST) == []
    assert built(made, 1 + AT_MOST).unsettled == set()


def test_nothing_is_built_before_essential_files_have_settled() -> None:
    made = settling("table")
    for now in range(0, 2 * AT_MOST):
        made.add(look(table=now, a=1), now)
        assert made.due(now) is None
    made.add(look(table=-1, a=1), 2 * AT_MOST)
    assert built(made, 2 * AT_MOST + QUIET).unsettled == set()


def test_whatever_changes_only_what_was_still_is_built_and_in_the_end_all_is() -> None:
    """Against a record of each file's states: what is built was the same for the quiet time."""
    chosen = random.Random(5)
    made, files, since = settling(), dict[str, int](), dict[str, float]()
    catalog: dict[str, int] = {}
    for now in range(2000):
        for name in "abcdef":
            if now < 1900 and chosen.random() < 0.1:
                since[name] = now
                if files.pop(name, None) is None or chosen.random() < 0.5:
                    files[name] = now
        made.add(look(**files), now)
        if due := made.due(now):
            for name in "abcdef":
                is_as_built = catalog.get(name) == files.get(name)
                if name in due.unsettled or is_as_built:
                    continue
                assert now - since.get(name, 0) >= QUIET
                catalog.pop(name, None)
                if name in due.look:
                    (catalog[name],) = due.look[name]
            made.built(due, now)
    assert catalog == files
