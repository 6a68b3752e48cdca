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
            await _Schedule(iter(urls), settings, max_bytes, handle, fetcher).run(group)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


@dataclass
class _HostQueue:
    """The URLs of one host that wait for their turn."""

    host: Host
    urls: deque[tuple[str, URL]] = field(default_factory=deque)
    in_flight: int = 0  # photos of this host that are being fetched
    is_ready: bool = False  # is in the schedule's list of hosts to look at
    is_loading_robots: bool = False


@dataclass
class _Schedule:
    """Decides which URL is fetched next; the hosts take turns."""

    urls: Iterator[str]
    settings: DownloadSettings
    max_bytes: int
    handle: Handle
    fetcher: Fetcher
    queues: dict[Host, _HostQueue] = field(default_factory=dict)
    ready: deque[_HostQueue] = field(default_factory=deque)  # queues to look at, in turn
    refused: deque[tuple[str, Failed]] = field(default_factory=deque)  # texts that are no URL
    waiting: int = 0  # URLs in the queues
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Start a task for each URL, as soon as it may be fetched."""
        slots = asyncio.Semaphore(self.settings.concurrency)
        while True:
            await slots.acquire()
            if (job := await self._next()) is None:
                return
            group.create_task(job).add_done_callback(lambda _: slots.release())

    async def _next(self) -> Job | None:
        """Wait for the next thing to do; None when every URL has been started."""
        while True:
            has_more = self._read()
            if self.refused:
                return self.handle(*self.refused.popleft())
            while self.ready:
                queue = self.ready.popleft()
                queue.is_ready = False
                if queue.urls and (job := self._job(queue)) is not None:
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
            queue = self.queues.setdefault(host, _HostQueue(host))
            queue.urls.append((text, url))
            self.waiting += 1
            self._look_again(queue)
        return bool(texts)

    def _look_again(self, queue: _HostQueue) -> None:
        """Look at this host again when its turn comes, because something about it has changed."""
        if queue.urls and not queue.is_ready:
            queue.is_ready = True
            self.ready.append(queue)
            self.changed.set()

    def _job(self, queue: _HostQueue) -> Job | None:
        """Return what may be done for this host now; if nothing, it is looked at again later."""
        loop = asyncio.get_running_loop()
        host, (_, url) = queue.host, queue.urls[0]
        if host.gave_up_reason:
            return self._refuse(queue, host.gave_up_reason)
        if queue.in_flight == self.settings.per_host or queue.is_loading_robots:
            return None
        if host.due > loop.time():
            loop.call_at(host.due, self._look_again, queue)
            return None
        if host.rules is None:
            host.take_turn()
            queue.is_loading_robots = True
            return self._load_robots(queue, url)
        if reason := host.rules.refusal(url):
            return self._refuse(queue, reason)
        host.take_turn()
        queue.in_flight += 1
        return self._fetch(queue, self._pop(queue), url)

    def _refuse(self, queue: _HostQueue, reason: str) -> Job:
        return self.handle(self._pop(queue), Failure(reason).outcome())

    def _pop(self, queue: _HostQueue) -> str:
        self.waiting -= 1
        text, _ = queue.urls.popleft()
        self._look_again(queue)
        return text

    async def _load_robots(self, queue: _HostQueue, url: URL) -> None:
        await self.fetcher.load_robots(queue.host, url)
        queue.is_loading_robots = False
        self._look_again(queue)

    async def _fetch(self, queue: _HostQueue, text: str, url: URL) -> None:
        outcome = await self.fetcher.fetch(url, self.max_bytes)
        queue.in_flight -= 1
        self._look_again(queue)
        await self.handle(text, outcome)
