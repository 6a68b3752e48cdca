"""One photo: its attempts, the redirects of each, and the deadline for all of it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from aiohttp.abc import AbstractResolver
from yarl import URL

from pipeline.config import DownloadSettings
from pipeline.download import robots
from pipeline.download.client import Client, Response
from pipeline.download.hosts import Host, Hosts
from pipeline.download.outcomes import Failure, Fetched, Outcome, Reason

_LONGEST_BACKOFF = 30.0


@dataclass
class _Journey:
    """One photo on its way, or a robots.txt, which is not bound by such rules: not `obey_robots`.

    `host` is where it is now. `asked` is false while we wait for our turn there: if that comes too
    late, the host is not to blame.
    """

    url: URL
    most: int
    deadline: float
    host: Host
    obey_robots: bool
    asked: bool = False
    attempts: int = 0
    last: Failure | None = None  # of an attempt that was worth repeating


class Fetcher:
    """Fetches photos one by one; knows all hosts."""

    def __init__(self, settings: DownloadSettings, resolver: AbstractResolver | None) -> None:
        self.hosts = Hosts(settings)
        self._settings = settings
        self._client = Client(settings, resolver)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def fetch(self, url: URL, most: int) -> Outcome:
        """What became of a photo. The first turn at its host has been taken by the caller."""
        return await self._travel(self._journey(url, most, obey_robots=True))

    def _journey(self, url: URL, most: int, obey_robots: bool) -> _Journey:
        deadline = asyncio.get_running_loop().time() + self._settings.total_timeout
        return _Journey(url, most, deadline, self.hosts.of(url), obey_robots)

    async def _travel(self, journey: _Journey) -> Outcome:
        """When time runs out while trying again, the reason is why that was necessary."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(journey.deadline):
                answer = await self._attempts(journey)
            seconds = loop.time() - began
            return Fetched(answer.data, answer.status, journey.attempts, seconds)
        except Failure as error:
            failure = error
        except TimeoutError:
            failure = journey.last or Failure(Reason.TOTAL_TIMEOUT)
        if journey.obey_robots and journey.asked:
            journey.host.failed(failure)
        return failure.outcome(journey.attempts, loop.time() - began)

    async def learn(self, host: Host, url: URL) -> None:
        """Make sure that the host's rules are known. They are asked for once."""
        async with host.learning:
            if host.rules is None:
                journey = self._journey(robots.location(url), robots.MOST_BYTES, obey_robots=False)
                outcome = await self._travel(journey)
                moved = journey.host is not host
                host.learn(robots.read_rules(outcome, self._settings.user_agent, moved))

    async def _attempts(self, journey: _Journey) -> Response:
        """Each from the first URL on: where a redirect leads may be good only once."""
        loop = asyncio.get_running_loop()
        first = journey.host
        while True:
            journey.attempts += 1
            try:
                return await self._follow(journey)
            except Failure as failure:
                if failure.pause is not None:
                    journey.host.pause(failure.pause)
                is_last = journey.attempts == self._settings.attempts
                if is_last or journey.host.given_up or not failure.may_pass:
                    raise
                journey.last = failure
                again = max(loop.time() + self._backoff(journey.attempts), journey.host.due)
                if again >= journey.deadline:
                    raise
            await asyncio.sleep(again - loop.time())
            await first.turn(journey.deadline)

    def _backoff(self, attempts: int) -> float:
        """Full jitter: photos that failed together should not come back together."""
        most = min(_LONGEST_BACKOFF, self._settings.backoff * 2 ** (attempts - 1))
        return random.uniform(0, most)  # noqa: S311 — nobody gains by guessing it

    async def _follow(self, journey: _Journey) -> Response:
        """One attempt: the answer at the end of the redirects."""
        url = journey.url
        for hop in range(self._settings.redirects + 1):
            journey.host, journey.asked = self.hosts.of(url), False
            if hop:
                await self._enter(journey, url)
            async with journey.host.slots:
                journey.asked = True
                answer = await self._client.get(url, journey.most, cut=not journey.obey_robots)
            journey.host.answered()
            if answer.elsewhere is None:
                return answer
            url = answer.elsewhere
        raise Failure(Reason.TOO_MANY_REDIRECTS, answer.status)

    async def _enter(self, journey: _Journey, url: URL) -> None:
        """What the schedule does for a photo's first request, for the next one of a redirect."""
        host = journey.host
        if journey.obey_robots and not host.given_up:
            journey.asked = host.rules is None
            await self.learn(host, url)
            journey.asked = False
        if host.given_up:
            raise Failure(host.given_up)
        if journey.obey_robots and host.rules and (reason := host.rules.refusal(url)):
            raise Failure(reason)
        await host.turn(journey.deadline)
