"""concurrency.py: like `map`, bounded, and it cleans up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.concurrency import SharedContext, ordered_map, parallel_zip, shared


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.integers()), st.integers(1, 4), st.integers(0, 9))
def test_ordered_map_equals_map(items: list[int], workers: int, ahead: int) -> None:
    assert list(ordered_map(lambda x: x * x, items, workers, ahead)) == [x * x for x in items]


def test_results_come_in_order_when_the_first_is_the_slowest() -> None:
    last_done = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert last_done.wait(60)
        if number == 3:
            last_done.set()
        return number

    assert list(ordered_map(work, range(4), workers=2, ahead=4)) == [0, 1, 2, 3]


def test_calls_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=60)
    assert len(set(ordered_map(lambda _: both.wait(), range(2), workers=2, ahead=2))) == 2


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_an_endless_stream_is_read_only_as_far_as_needed(ahead: int) -> None:
    read: list[int] = []

    def stream() -> Iterator[int]:
        for number in count():
            read.append(number)
            yield number

    results = ordered_map(lambda x: x, stream(), workers=2, ahead=ahead)
    assert read == []
    for taken in range(10):
        assert next(results) == taken
        assert len(read) == taken + 1 + ahead


def test_a_failing_call_raises_in_its_place() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise ValueError(number)
        return number

    results = ordered_map(work, range(10), workers=2, ahead=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(results)


def test_a_failing_stream_raises() -> None:
    def stream() -> Iterator[int]:
        yield 0
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(ordered_map(lambda x: x, stream(), workers=2, ahead=4))


def test_no_thread_is_left_when_the_consumer_stops() -> None:
    before = threading.active_count()
    results = ordered_map(lambda x: x, count(), workers=3, ahead=3)
    assert next(results) == 0
    assert threading.active_count() > before
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_shared_context_is_entered_by_the_first_and_left_by_the_last() -> None:
    events: list[str] = []

    @contextmanager
    def setting() -> Iterator[None]:
        events.append("entered")
        try:
            yield
        finally:
            events.append("left")

    shared, second_is_in, first_is_out = SharedContext(setting), Event(), Event()

    def second() -> None:
        with shared:
            second_is_in.set()
            assert first_is_out.wait(60)
            events.append("second thread")

    with ThreadPoolExecutor(1) as pool:
        with shared:
            other = pool.submit(second)
            assert second_is_in.wait(60)
        first_is_out.set()
        other.result()
    assert events == ["entered", "second thread", "left"]
    with pytest.raises(ZeroDivisionError), shared:
        raise ZeroDivisionError
    assert events[3:] == ["entered", "left"]


def test_shared_gives_each_thread_every_item_in_order() -> None:
    read = []

    def items() -> Iterator[int]:
        for item in range(500):
            read.append(item)
            yield item

    copies = shared(items(), 4)
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(list, copies))
    assert seen == [list(range(500))] * 4
    assert read == list(range(500))


def test_parallel_zip_advances_all_streams_at_once() -> None:
    together = threading.Barrier(3, timeout=20)

    def stream(name: str) -> Iterator[str]:
        for number in range(5):
            together.wait()  # fails unless all three get here
            yield f"{name}{number}"

    rows = list(parallel_zip([stream("a"), stream("b"), stream("c")]))
    assert rows == [(f"a{n}", f"b{n}", f"c{n}") for n in range(5)]
    assert list(parallel_zip([iter("xyz")])) == [("x",), ("y",), ("z",)]


def test_parallel_zip_raises_what_a_stream_raises() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise KeyError("second")

    rows = parallel_zip([iter([5, 6, 7]), failing()])
    assert next(rows) == (5, 1)
    with pytest.raises(KeyError, match="second"):
        next(rows)
