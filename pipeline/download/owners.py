"""Hosts shared out among workers: each has one owner, so that politeness holds over all of them.

A worker requests nothing from a host that is not its own. Where a redirect leads to one, the owner
of that host makes the request, in its turn, and hands the response back.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp.abc import AbstractResolver
from yarl import URL

from pipeline.download.client import open_session
from pipeline.download.fetcher import Fetcher, Forward, ForwardedRequest, ForwardedResponse
from pipeline.download.outcomes import Failure, Outcome
from pipeline.download.schedule import Schedule
from pipeline.download.storing import Downloaded, DownloadJob, keep
from pipeline.download.urls import parse

Urls = tuple[str, ...]
_BATCH = 32  # URLs: what they became is known when the last of them has ended
_MAX_WAITING = 2048  # URLs for each owner; a host with more of them in a row makes the others wait


def owner_of(url: URL, owners: int) -> int:
    """Return which of so many owners a URL's host has: `owner_of(URL("http://a.example/"), 2)`."""
    name = (url.raw_host or "").encode()  # whatever the scheme and the port
    return int.from_bytes(hashlib.sha256(name).digest()[:8]) % owners


class OwnedUrls:
    """The URLs that are to be fetched, in batches for the owners of their hosts."""

    def __init__(self, urls: Iterable[str], owners: int, max_waiting: int = _MAX_WAITING) -> None:
        self._urls, self._room = iter(urls), max_waiting * owners
        self._waiting = [deque[str]() for _ in range(owners)]
        self._has_more = True

    def take(self, worker: int) -> Urls | None:
        """Return URLs for this owner; None if there are none for it now."""
        mine = self._waiting[worker]
        while len(mine) < _BATCH and self._read():
            pass
        return tuple(mine.popleft() for _ in range(min(_BATCH, len(mine)))) or None

    def give_back(self, worker: int, task: Urls) -> None:
        """Take back URLs that were lost with the process of their owner."""
        self._waiting[worker].extendleft(reversed(task))

    def is_over(self) -> bool:
        """Whether every URL has been taken."""
        return not (any(self._waiting) or self._read())

    def _read(self) -> bool:
        """Read a URL, if there is one and room for it."""
        if not self._has_more or sum(map(len, self._waiting)) >= self._room:
            return False
        if (url := next(self._urls, None)) is None:
            self._has_more = False
            return False
        try:
            owner = owner_of(parse(url), len(self._waiting))
        except Failure:
            owner = 0  # who says that it is no URL
        self._waiting[owner].append(url)
        return True


class HostOwner:
    """Fetches and stores the photos of the hosts that are its own, on the running event loop.

    owner = HostOwner(0, job)
    owner.meet([owner.answer, another.answer])
    downloaded = await owner.fetch(("http://a.example/1.jpg",))
    """

    def __init__(
        self, number: int, job: DownloadJob, resolver: AbstractResolver | None = None
    ) -> None:
        self._number, self._job, self._resolver = number, job, resolver
        self._owners: Sequence[Forward] = []
        self._inbox = _Inbox()
        self._ends: dict[str, asyncio.Future[Downloaded]] = {}
        self._arrived = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._schedule: asyncio.Future[Schedule]

    def meet(self, owners: Sequence[Forward]) -> None:
        """Get to know what asks each owner, itself included; without, all hosts are its own."""
        self._owners = owners

    async def fetch(self, urls: Iterable[str]) -> list[Downloaded]:
        """Fetch photos of its hosts, and return what became of each.

        Raises:
            OSError: the photos cannot be written.
        """
        schedule = await self._started()
        ends = []
        for url in urls:
            if url not in self._ends:
                self._ends[url] = asyncio.get_running_loop().create_future()
                self._inbox.append(url)
            ends.append(self._ends[url])
        schedule.look_again()
        self._arrived.set()
        return list(await asyncio.gather(*ends))

    async def answer(self, request: ForwardedRequest) -> ForwardedResponse:
        """Make a request to one of its hosts, to which a photo of another owner is redirected."""
        return await (await self._started()).fetcher.answer(request)

    async def close(self) -> None:
        """End whatever is under way."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _started(self) -> Schedule:
        if self._running is None:
            self._schedule = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._schedule))
            self._running.add_done_callback(self._end_all)
        if self._running.done():
            await self._running  # raises what ended it
        return await asyncio.shield(self._schedule)

    async def _run(self, started: asyncio.Future[Schedule]) -> None:
        """Fetch what arrives, until this is cancelled or an error ends it."""
        job = self._job
        with ThreadPoolExecutor(job.decoders) as pool:

            async def handle(url: str, outcome: Outcome) -> None:
                downloaded = await keep(job, pool, url, outcome)
                self._ends.pop(url).set_result(downloaded)

            async with (
                open_session(job.settings, self._resolver) as session,
                asyncio.TaskGroup() as group,
            ):
                fetcher = Fetcher(job.settings, session, self._owner)
                limit = job.limits.max_bytes
                schedule = Schedule(self._inbox, job.settings, limit, handle, fetcher)
                started.set_result(schedule)
                while True:
                    self._arrived.clear()
                    await schedule.run(group)
                    await self._arrived.wait()

    def _end_all(self, running: asyncio.Task[None]) -> None:
        """Nothing more comes: tell all who wait for it why."""
        error = None if running.cancelled() else running.exception()
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        waiting: list[asyncio.Future[Any]] = [self._schedule, *self._ends.values()]
        for waited in waiting:
            if not waited.done():
                waited.set_exception(error or asyncio.CancelledError())

    def _owner(self, url: URL) -> Forward | None:
        if not self._owners:
            return None
        owner = owner_of(url, len(self._owners))
        return None if owner == self._number else self._owners[owner]


class _Inbox(Iterator[str]):
    """URLs that come while others are being fetched: it may end, and go on later."""

    def __init__(self) -> None:
        self._urls = deque[str]()

    def append(self, url: str) -> None:
        self._urls.append(url)

    def __next__(self) -> str:
        if not self._urls:
            raise StopIteration
        return self._urls.popleft()
