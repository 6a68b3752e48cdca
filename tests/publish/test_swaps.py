"""Readers beside a writer that publishes and rolls back: no answer mixes two publications."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

import pipeline
from pipeline.catalog.catalog import State
from pipeline.publish.store import PublicationStore
from pipeline.publish.switching import roll_back
from pipeline.search.query import Item
from pipeline.search.result import SearchResult
from tests.conftest import png
from tests.engines import Fair, Opener, Thing, open_fair

__all__ = ["open_fair"]
KEYS = [f"k{n}" for n in range(6)]
ENGINES = ("color", "mixed")


def things(version: int) -> dict[str, Thing]:
    """Items that tell by all that they have which publication they are of."""
    return {
        key: Thing([(20 * n, version, 0)], f"c{version}", {"version": version})
        for n, key in enumerate(KEYS)
    }


def published(fair: Fair, version: int) -> None:
    """Publish a version; its publication has the same number."""
    fair.offer(things(version))
    fair.index_all()


def check(result: SearchResult, version: int) -> None:
    """Check that all of an answer is of one version, by both engines."""
    assert result.publication == version
    assert list(result) == list(ENGINES)
    colors = {key: thing.colors[0] for key, thing in things(version).items()}
    for engine in result.values():
        assert engine.hits
        for hit in engine.hits:
            assert (hit.item.category, hit.item.metadata) == (f"c{version}", {"version": version})
            assert hit.item.state is State.AVAILABLE
            assert hit.photo is not None
            assert hit.photo.read_bytes() == png(colors[hit.item.key])


def ask(fair: Fair, seed: int, stop: Event, least: int) -> int:
    """Search until told to stop, and at least so often, always in what answers then."""
    dice, store = random.Random(seed), PublicationStore(fair.config)
    searcher, asked = pipeline.open(fair.config), 0
    while asked < least or not stop.is_set():
        if store.current_number() != searcher.publication.number:
            searcher.close()
            searcher = pipeline.open(fair.config)
        number = searcher.publication.number
        query = dice.choice([Item(dice.randint(1, len(KEYS))), png((70, 1, 0))])
        where = dice.choice([None, f"category = 'c{number}' and version = {number}"])
        check(searcher.search(query, 3, where=where), number)
        none = searcher.search(query, 3, where=f"version <> {number}")
        assert not any(engine.hits for engine in none.values())
        asked += 2
    searcher.close()
    return asked


@pytest.mark.soak
def test_no_answer_mixes_two_publications(open_fair: Opener, soak: bool) -> None:
    publishes, backs, least = (20, 5, 2500) if soak else (5, 2, 30)
    fair = open_fair(*ENGINES)
    published(fair, 1)
    stop = Event()
    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(ask, fair, seed, stop, least) for seed in range(4)]
        try:
            for version in range(2, publishes + 1):
                published(fair, version)
                if version % (publishes // backs) == 0:
                    roll_back(fair.config)
        finally:
            stop.set()
        asked = sum(reader.result() for reader in readers)
    assert asked >= 4 * least
    assert PublicationStore(fair.config).pointer().newest == publishes


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def memory() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
def test_swaps_cost_neither_descriptors_nor_memory(open_fair: Opener, soak: bool) -> None:
    fair = open_fair(*ENGINES)
    published(fair, 1)
    published(fair, 2)

    def swaps(count: int) -> Iterator[None]:
        searcher = pipeline.open(fair.config)
        for n in range(count):
            roll_back(fair.config, 1 + n % 2)
            following = pipeline.open(fair.config)
            searcher.close()
            searcher = following
            check(searcher.search(Item(1), 3), 1 + n % 2)
            yield
        searcher.close()

    for _ in swaps(10):
        pass
    before = descriptors(), memory()
    for _ in swaps(500 if soak else 50):
        pass
    assert descriptors() == before[0]
    assert memory() <= 1.05 * before[1]
