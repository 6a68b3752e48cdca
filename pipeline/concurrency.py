"""Work in parallel, in order, and bounded in memory; and what threads of a process share."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from itertools import tee
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_END: Any = object()


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int
) -> Iterator[R]:
    """Like `map`, on `workers` threads, with at most `ahead` results waiting for the consumer.

    `items` is read only as far as needed, so a stream of any length takes bounded memory. Decoding
    photos runs truly in parallel: Pillow and hashlib release the interpreter's lock.

        for pixels in ordered_map(decode, paths, workers=4, ahead=32): ...
    """
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def shared(items: Iterable[T], count: int) -> list[Iterator[T]]:
    """Like `itertools.tee`, for iterators that are used on several threads."""
    lock = Lock()

    def locked(copy: Iterator[T]) -> Iterator[T]:
        while True:
            with lock:
                item = next(copy, _END)
            if item is _END:
                return
            yield item

    return [locked(copy) for copy in tee(items, count)]


def parallel_zip(streams: Sequence[Iterator[T]]) -> Iterator[tuple[T, ...]]:
    """Like `zip(*streams)`, each stream on a thread of its own.

    for by_vgg16, by_autoencoder in parallel_zip([vgg16.search_all(a), autoencoder.search_all(b)]):
    """
    if len(streams) == 1:
        yield from zip(*streams, strict=True)
        return
    with ThreadPoolExecutor(len(streams)) as pool:
        while True:
            row = list(pool.map(lambda stream: next(stream, _END), streams))
            if any(result is _END for result in row):
                return
            yield tuple(row)


class SharedContext:
    """A context that threads share: the first thread to come enters it, the last to go leaves it.

    For a setting of the whole process that is changed only while it is needed:

        LONG_FIELDS = SharedContext(lift_field_limit)  # a function decorated with @contextmanager
        with LONG_FIELDS: ...
    """

    def __init__(self, context: Callable[[], AbstractContextManager[Any]]) -> None:
        self._context = context
        self._lock = Lock()
        self._users = 0
        self._entered = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._entered.enter_context(self._context())
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._entered.close()
