"""The loop of `imgsearch watch`: look, let it settle, build, wait."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Event
from typing import NoReturn, Protocol

from pipeline.config import WatchSettings
from pipeline.errors import BusyError
from pipeline.stages import BuildReport
from pipeline.watch.look import Look
from pipeline.watch.retries import Retries
from pipeline.watch.settling import Settled, Settling

_LOOK_SHARE = 0.05  # of the time, at most, that looks may take while nothing changes


class Target(Protocol):
    """What is watched, and what is built of it."""

    @property
    def essential(self) -> frozenset[str]:
        """The entries of a look that must have settled before anything is built."""

    def look(self) -> Look:
        """Return the state of each file as it is now."""

    def incomplete(self, paths: Collection[str]) -> Collection[str]:
        """Return the photos among these that have been written just now and do not decode."""

    def build(self, settled: Settled, *, retry_failed: bool) -> BuildReport:
        """Build from what has settled; `retry_failed` is of downloads."""


class Listener(Protocol):
    """Who is told what happens."""

    def built(self, report: BuildReport, seconds: float) -> None:
        """Say what a build did, and how long it took."""

    def failure(self, error: Exception) -> str:
        """Return what to say of a build that failed; raise the error if it is to end the watch."""

    def note(self, text: str) -> None:
        """Say a line."""


@dataclass(frozen=True)
class Pause:
    """How long to wait before the next look."""

    uncut: float
    """Seconds to wait in any case."""
    seconds: float
    """All seconds to wait, unless an event tells of a change."""


class Watcher:
    """Looks at a source now and then, and builds what has settled.

        watch = Watcher(config.watch, target, listener)
        while True: time.sleep(watch.step().seconds)

    `clock` gives seconds, and never goes back.
    """

    def __init__(
        self,
        settings: WatchSettings,
        target: Target,
        listener: Listener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._target, self._listener = settings, target, listener
        self._clock = clock
        self._settling = Settling(settings.quiet, settings.at_most, target.essential)
        self._retries = Retries(settings.every)
        self._downloads_due = math.inf
        """When to try photos again that could not be downloaded."""

    def step(self) -> Pause:
        """Look once, and build if that is due; say how long to wait before the next look."""
        started = self._clock()
        look = self._target.look()
        now = self._clock()
        if self._settling.add(look, now):
            self._retries.retry_now()
        if now >= self._retries.due_at:
            if young := self._settling.young(now):
                self._settling.mark_incomplete(self._target.incomplete(young))
            if settled := self._settling.due(now):
                self._build(settled)
            elif not self._settling.is_pending and now >= self._downloads_due:
                self._build(Settled(look), retry_failed=True)
        return self._pause(now - started)

    def _build(self, settled: Settled, *, retry_failed: bool = False) -> None:
        started = self._clock()
        try:
            report = self._target.build(settled, retry_failed=retry_failed)
        except Exception as error:  # the listener raises again what is no passing trouble
            message = self._listener.failure(error)
            self._settling.failed()
            is_busy = isinstance(error, BusyError)
            if self._retries.failed(message, self._clock(), is_busy=is_busy):
                self._listener.note(message)
            return
        now = self._clock()
        if self._retries.succeeded():
            self._listener.note("works again")
        self._settling.built(settled, now)
        has_failed = report.download is not None and "failed" in report.download.counts
        wait = self._settings.retry_downloads
        self._downloads_due = now + wait if has_failed and wait is not None else math.inf
        self._listener.built(report, now - started)

    def _pause(self, look_seconds: float) -> Pause:
        settings, now = self._settings, self._clock()
        enough = look_seconds / _LOOK_SHARE
        rest = max(settings.every, enough)
        if now < self._retries.due_at:
            seconds = min(rest, self._retries.due_at - now)
        elif self._settling.is_pending:
            seconds = max(settings.quiet, look_seconds)
        else:
            return Pause(min(settings.every, enough), rest)
        return Pause(seconds, seconds)


def run(watch: Watcher, hint: Event) -> NoReturn:
    """Look and build until a signal ends it; `hint` is set by whoever knows of a change."""
    while True:
        hint.clear()
        pause = watch.step()
        time.sleep(pause.uncut)
        hint.wait(pause.seconds - pause.uncut)
