"""Many URLs → one outcome each: so many at once, so many of each host, the hosts in turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from aiohttp.abc import AbstractResolver
from yarl import URL

from pipeline.config import DownloadSettings
from pipeline.download.fetcher import Fetcher
from pipeline.download.hosts import Host
from pipeline.download.outcomes import Failed, Failure, Outcome
from pipeline.download.urls import parse

_LOOK_AHEAD = 8192  # URLs; a host with more of them in a row makes the others wait
_BATCH = 256  # the first requests need not wait for the whole look-ahead

Handle = Callable[[str, Outcome], Awaitable[None]]


async def fetch_all(
    urls: Iterable[str],
    settings: DownloadSettings,
    max_bytes: int,
    handle: Handle,
    resolver: AbstractResolver | None = None,
) -> None:
    """Fetch each URL and await `handle(url, outcome)`, in the order in which they come.

    At most `concurrency` photos are on their way or being handled at any time, so a slow `handle`
    slows the fetching down. An exception from it, or from `urls`, cancels the rest.
    """
    fetcher = Fetcher(settings, resolver)
    try:
        async with asyncio.TaskGroup() as group:
            await _Schedule(urls, settings, max_bytes, handle, fetcher).run(group)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        await fetcher.close()


@dataclass
class _Line:
    """The URLs of one host that wait for their turn."""

    host: Host
    urls: deque[tuple[str, URL]] = field(default_factory=deque)
    begun: int = 0  # photos of this host that are on their way
    is_offered: bool = False
    is_learning: bool = False  # robots.txt is being fetched


class _Schedule:
    def __init__(
        self,
        urls: Iterable[str],
        settings: DownloadSettings,
        max_bytes: int,
        handle: Handle,
        fetcher: Fetcher,
    ) -> None:
        self._urls = iter(urls)
        self._per_host = settings.per_host
        self._max_bytes = max_bytes
        self._handle = handle
        self._fetcher = fetcher
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._lines: dict[Host, _Line] = {}
        self._ready = deque[_Line]()  # hosts to look at, in turn
        self._refused = deque[tuple[str, Failed]]()
        self._waiting = 0
        self._changed = asyncio.Event()

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Begin whatever may be begun, until all has been."""
        while True:
            await self._slots.acquire()
            if (job := await self._next()) is None:
                return
            group.create_task(job).add_done_callback(lambda _: self._slots.release())

    async def _next(self) -> Coroutine[Any, Any, None] | None:
        """What to do next, as soon as there is something; None when all has been begun."""
        while True:
            has_read = self._read()
            if self._refused:
                return self._tell(*self._refused.popleft())
            while self._ready:
                line = self._ready.popleft()
                line.is_offered = False
                if line.urls and (job := self._job(line)) is not None:
                    return job
            if not has_read:
                if not self._waiting:
                    return None
                self._changed.clear()
                await self._changed.wait()

    def _read(self) -> bool:
        room = min(_BATCH, _LOOK_AHEAD - self._waiting - len(self._refused))
        texts = list(islice(self._urls, room))
        for text in texts:
            try:
                url = parse(text)
            except Failure as failure:
                self._refused.append((text, failure.outcome()))
                continue
            host = self._fetcher.hosts.of(url)
            if (line := self._lines.get(host)) is None:
                line = self._lines[host] = _Line(host)
            line.urls.append((text, url))
            self._waiting += 1
            self._offer(line)
        return bool(texts)

    def _offer(self, line: _Line) -> None:
        """Something about this host has changed: look at it when its turn comes."""
        if line.urls and not line.is_offered:
            line.is_offered = True
            self._ready.append(line)
            self._changed.set()

    def _job(self, line: _Line) -> Coroutine[Any, Any, None] | None:
        """What may be done for this host now; if nothing, it is offered again when it may be."""
        loop = asyncio.get_running_loop()
        host, (_, url) = line.host, line.urls[0]
        if host.given_up:
            return self._refuse(line, host.given_up)
        if line.begun == self._per_host or line.is_learning:
            return None
        if host.due > loop.time():
            loop.call_at(host.due, self._offer, line)
            return None
        if host.rules is None:
            host.take_turn()
            line.is_learning = True
            return self._learn(line, url)
        if reason := host.rules.refusal(url):
            return self._refuse(line, reason)
        host.take_turn()
        line.begun += 1
        return self._fetch(line, self._take(line), url)

    def _refuse(self, line: _Line, reason: str) -> Coroutine[Any, Any, None]:
        return self._tell(self._take(line), Failure(reason).outcome())

    def _take(self, line: _Line) -> str:
        self._waiting -= 1
        text, _ = line.urls.popleft()
        self._offer(line)
        return text

    async def _tell(self, text: str, outcome: Failed) -> None:
        await self._handle(text, outcome)

    async def _learn(self, line: _Line, url: URL) -> None:
        await self._fetcher.learn(line.host, url)
        line.is_learning = False
        self._offer(line)

    async def _fetch(self, line: _Line, text: str, url: URL) -> None:
        outcome = await self._fetcher.fetch(url, self._max_bytes)
        line.begun -= 1
        self._offer(line)
        await self._handle(text, outcome)
