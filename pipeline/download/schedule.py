"""Many URLs → one outcome each, with limits on requests at once, in total and per host."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from aiohttp.abc import AbstractResolver
from yarl import URL

from pipeline.config import DownloadSettings
from pipeline.download.client import open_session
from pipeline.download.fetcher import Fetcher
from pipeline.download.hosts import Host
from pipeline.download.outcomes import Failed, Failure, Outcome
from pipeline.download.urls import parse

_MAX_WAITING = 8192  # URLs; a host with more of them in a row makes the others wait
_READ_AT_ONCE = 256  # URLs: few, so that the first requests begin soon

Job = Coroutine[Any, Any, None]
Handle = Callable[[str, Outcome], Job]


async def fetch_all(
    urls: Iterable[str],
    settings: DownloadSettings,
    max_bytes: int,
    handle: Handle,
    resolver: AbstractResolver | None = None,
) -> None:
    """Fetch each URL and await `handle(url, outcome)`, in the order in which the outcomes come.

    At most `settings.concurrency` photos are being fetched or handled at any time, so a slow
    `handle` slows the fetching down. An exception from it, or from `urls`, cancels the rest.
    """
    try:
        async with open_session(settings, resolver) as session, asyncio.TaskGroup() as group:
            fetcher = Fetcher(settings, session)
            await Schedule(iter(urls), settings, max_bytes, handle, fetcher).run(group)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


@dataclass
class Schedule:
    """Decides which URL is fetched next; the hosts take turns.

    `urls` may end and go on later: whoever adds to them calls `look_again`, and `run` once more if
    it has returned.
    """

    urls: Iterator[str]
    settings: DownloadSettings
    max_bytes: int
    handle: Handle
    fetcher: Fetcher
    ready: deque[Host] = field(default_factory=deque)  # hosts to look at, in turn
    refused: deque[tuple[str, Failed]] = field(default_factory=deque)  # texts that are no URL
    waiting: int = 0  # URLs, at all hosts
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.settings.concurrency)

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Start a task for each URL, as soon as it may be fetched."""
        while True:
            await self.slots.acquire()
            if (job := await self._next()) is None:
                self.slots.release()
                return
            group.create_task(job).add_done_callback(lambda _: self.slots.release())

    def look_again(self) -> None:
        """Look for more URLs, though nothing has changed at the hosts."""
        self.changed.set()

    async def _next(self) -> Job | None:
        """Wait for the next thing to do; None when every URL has been started."""
        while True:
            has_more = self._read()
            if self.refused:
                return self.handle(*self.refused.popleft())
            while self.ready:
                host = self.ready.popleft()
                host.is_ready = False
                if host.urls and (job := self._job(host)) is not None:
                    return job
            if not has_more:
                if not self.waiting:
                    return None
                self.changed.clear()
                await self.changed.wait()

    def _read(self) -> bool:
        room = min(_READ_AT_ONCE, _MAX_WAITING - self.waiting - len(self.refused))
        texts = list(islice(self.urls, room))
        for text in texts:
            try:
                url = parse(text)
            except Failure as failure:
                self.refused.append((text, failure.outcome()))
                continue
            host = self.fetcher.host_of(url)
            host.urls.append((text, url))
            self.waiting += 1
            self._look_again(host)
        return bool(texts)

    def _look_again(self, host: Host) -> None:
        """Look at this host again when its turn comes, because something about it has changed."""
        if host.urls and not host.is_ready:
            host.is_ready = True
            self.ready.append(host)
            self.changed.set()

    def _job(self, host: Host) -> Job | None:
        """Return what may be done for this host now; if nothing, it is looked at again later."""
        loop = asyncio.get_running_loop()
        _, url = host.urls[0]
        if host.gave_up_reason:
            return self._refuse(host, host.gave_up_reason)
        if host.in_flight == self.settings.per_host or host.is_loading_robots:
            return None
        if host.due > loop.time():
            loop.call_at(host.due, self._look_again, host)
            return None
        if host.rules is None:
            host.take_turn()
            host.is_loading_robots = True
            return self._load_robots(host, url)
        if reason := host.rules.refusal(url):
            return self._refuse(host, reason)
        host.take_turn()
        host.in_flight += 1
        return self._fetch(host, self._pop(host), url)

    def _refuse(self, host: Host, reason: str) -> Job:
        return self.handle(self._pop(host), Failure(reason).outcome())

    def _pop(self, host: Host) -> str:
        self.waiting -= 1
        text, _ = host.urls.popleft()
        self._look_again(host)
        return text

    async def _load_robots(self, host: Host, url: URL) -> None:
        await self.fetcher.load_robots(host, url)
        host.is_loading_robots = False
        self._look_again(host)

    async def _fetch(self, host: Host, text: str, url: URL) -> None:
        outcome = await self.fetcher.fetch(url, self.max_bytes)
        host.in_flight -= 1
        self._look_again(host)
        await self.handle(text, outcome)
