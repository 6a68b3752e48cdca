"""The loop, step by step, with a clock, a source and builds that are made up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.config import WatchSettings
from pipeline.download.download import DownloadReport
from pipeline.errors import BusyError, SourceError
from pipeline.stages import BuildReport
from pipeline.watch.look import Look
from pipeline.watch.loop import Pause, Watcher
from pipeline.watch.settling import Settled

EVERY, QUIET = 15.0, 3.0
START = 1000.0


@dataclass
class Shop:
    """A source and its catalog, and what was said of them."""

    files: dict[str, int] = field(default_factory=dict)
    half: set[str] = field(default_factory=set)  # photos that do not decode
    error: Exception | None = None  # of the next builds
    failed_downloads: int = 0
    look_seconds: float = 0.0
    build_seconds: float = 2.0
    now: float = START
    essential: frozenset[str] = frozenset()
    builds: list[tuple[float, Settled, bool]] = field(default_factory=list)
    decoded: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def look(self) -> Look:
        self.now += self.look_seconds
        return {name: (size,) for name, size in self.files.items()}

    def incomplete(self, paths: Collection[str]) -> Collection[str]:
        self.decoded += paths
        return self.half.intersection(paths)

    def build(self, settled: Settled, *, retry_failed: bool) -> BuildReport:
        self.builds.append((self.now - START, settled, retry_failed))
        self.now += self.build_seconds
        if self.error:
            raise self.error
        counts = {"failed": {"HTTP 404": self.failed_downloads}} if self.failed_downloads else {}
        return BuildReport(download=DownloadReport(0, 0, counts))

    def built(self, report: BuildReport, seconds: float) -> None:
        self.said.append(f"built in {seconds:g} s")

    def failure(self, error: Exception) -> str:
        if isinstance(error, ZeroDivisionError):
            raise error
        return str(error)

    def note(self, text: str) -> None:
        self.said.append(text)

    def watch(self, **settings: float) -> Watcher:
        times = WatchSettings(every=EVERY, quiet=QUIET, **settings)
        return Watcher(times, self, self, clock=lambda: self.now)

    def run(self, watch: Watcher, seconds: float) -> list[Pause]:
        """Let time go by; no event ever comes."""
        end, pauses = self.now + seconds, list[Pause]()
        while self.now < end:
            pauses.append(watch.step())
            self.now += pauses[-1].seconds
        return pauses


def test_what_is_there_is_built_first_and_then_nothing_until_something_changes() -> None:
    shop = Shop({"a": 1})
    watch = shop.watch()
    shop.run(watch, 600)
    assert [at for at, *_ in shop.builds] == [QUIET]
    shop.files["b"] = 1
    shop.run(watch, 600)
    assert len(shop.builds) == 2
    assert shop.said == ["built in 2 s"] * 2
    assert shop.decoded == ["a", "b"]


def test_a_photo_that_does_not_decode_is_left_out_until_it_does() -> None:
    shop = Shop({"a": 1, "half": 1}, half={"half"})
    watch = shop.watch()
    shop.run(watch, 10)
    shop.half.clear()
    shop.files["half"] = 2
    shop.run(watch, 100)
    assert [settled.unsettled for _, settled, _ in shop.builds] == [{"half"}, set()]


def test_a_failure_is_said_once_and_tried_again_less_and_less_often() -> None:
    shop = Shop({"a": 1}, error=SourceError("no such folder"))
    watch = shop.watch()
    shop.run(watch, 3600)
    assert shop.said == ["no such folder"]
    times = [at for at, *_ in shop.builds]
    waits = [b - a for a, b in pairwise(times)]
    assert waits[:3] == [17, 32, 62]  # with the seconds of the build
    assert max(waits) == 302
    shop.error = OSError(28, "No space left on device")
    shop.run(watch, 600)
    shop.error = None
    shop.run(watch, 600)
    assert shop.said[1:] == ["[Errno 28] No space left on device", "works again", "built in 2 s"]
    assert not shop.error


def test_another_writer_is_waited_for() -> None:
    shop = Shop({"a": 1}, error=BusyError("another imgsearch is writing here"))
    watch = shop.watch()
    shop.run(watch, 1000)
    assert shop.said == ["another imgsearch is writing here"]
    times = [at for at, *_ in shop.builds]
    assert {b - a for a, b in pairwise(times)} == {EVERY + 2}


def test_a_bug_ends_it() -> None:
    shop = Shop({"a": 1}, error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        shop.run(shop.watch(), 100)


def test_failed_downloads_are_tried_again_on_a_timer() -> None:
    shop = Shop({"table": 1}, failed_downloads=3)
    watch = shop.watch(retry_downloads=3600)
    shop.run(watch, 3000)
    assert len(shop.builds) == 1
    shop.run(watch, 5000)
    assert [retry for *_, retry in shop.builds] == [False, True, True]
    shop.failed_downloads = 0
    shop.run(watch, 20_000)
    assert [retry for *_, retry in shop.builds] == [False, True, True, True]


def test_failed_downloads_wait_for_a_table_that_is_being_written() -> None:
    shop = Shop({"table": 1}, failed_downloads=3, essential=frozenset({"table"}))
    watch = shop.watch(retry_downloads=100)
    shop.run(watch, 90)
    for size in range(2, 100):
        shop.files["table"] = size
        shop.run(watch, QUIET)
    assert len(shop.builds) == 1
    shop.run(watch, 200)
    assert [retry for *_, retry in shop.builds] == [False, False, True]


def test_looks_at_a_large_source_are_further_apart_and_events_do_not_change_that() -> None:
    shop = Shop(look_seconds=0.1)
    assert shop.watch().step() == Pause(pytest.approx(2), EVERY)
    shop.look_seconds = 6
    assert shop.watch().step() == Pause(EVERY, pytest.approx(120))


def test_changes_that_settle_are_not_looked_at_more_often_for_events() -> None:
    shop = Shop({"a": 1})
    assert shop.watch().step() == Pause(QUIET, QUIET)


def test_files_of_a_build_that_failed_are_built_by_the_next(tmp_path: Path) -> None:
    shop = Shop({"a": 1}, error=SourceError("no such folder"))
    watch = shop.watch()
    shop.run(watch, 10)
    shop.error = None
    shop.files["b"] = 1
    shop.run(watch, 100)
    assert shop.builds[-1][1] == Settled({"a": (1,), "b": (1,)}, set())
    assert len(shop.builds) == 2
