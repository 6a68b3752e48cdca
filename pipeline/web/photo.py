"""One photo: its attempts, the redirects of each, and the deadline for all of it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from aiohttp.abc import AbstractResolver
from yarl import URL

from pipeline.config import DownloadSettings
from pipeline.web import robots
from pipeline.web.client import Answer, Client
from pipeline.web.hosts import Host, Hosts
from pipeline.web.outcomes import Failure, Fetched, Outcome, Reason

_LONGEST_BACKOFF = 30.0


@dataclass
class _Journey:
    """One photo on its way. `host` is where it is now; `lawful`, whether robots.txt binds it."""

    url: URL
    most: int
    deadline: float
    host: Host
    lawful: bool
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

    async def fetch(self, url: URL, most: int, lawful: bool = True) -> Outcome:
        """What became of a photo. The first turn at its host has been taken by the caller.

        When time runs out while trying again, the reason is why that was necessary.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + self._settings.total_timeout
        journey = _Journey(url, most, deadline, self.hosts.of(url), lawful)
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self._attempts(journey)
            seconds = loop.time() - began
            return Fetched(answer.data, answer.status, journey.attempts, seconds)
        except Failure as error:
            failure = error
        except TimeoutError:
            failure = journey.last or Failure(Reason.TOTAL_TIMEOUT)
        journey.host.failed(failure)
        return failure.outcome(journey.attempts, loop.time() - began)

    async def learn(self, host: Host, url: URL) -> None:
        """Make sure that the host's rules are known. They are asked for once."""
        async with host.learning:
            if host.rules is None:
                where = robots.location(url)
                outcome = await self.fetch(where, robots.MOST_BYTES, lawful=False)
                host.learn(robots.read_rules(outcome, self._settings.user_agent))

    async def _attempts(self, journey: _Journey) -> Answer:
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
                is_last = journey.attempts == self._settings.attempts or journey.host.given_up
                if is_last or not failure.may_pass:
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

    async def _follow(self, journey: _Journey) -> Answer:
        """One attempt: the answer at the end of the redirects."""
        url = journey.url
        for hop in range(self._settings.redirects + 1):
            journey.host = self.hosts.of(url)
            if hop:
                await self._enter(journey, url)
            async with journey.host.slots:
                answer = await self._client.get(url, journey.most, cut=not journey.lawful)
            journey.host.answered()
            if answer.elsewhere is None:
                return answer
            url = answer.elsewhere
        raise Failure(Reason.TOO_MANY_REDIRECTS, answer.status)

    async def _enter(self, journey: _Journey, url: URL) -> None:
        """What the schedule does for a photo's first request, for the next one of a redirect."""
        host = journey.host
        if host.given_up:
            raise Failure(Reason.HOST_NOT_ANSWERING)
        if journey.lawful:
            await self.learn(host, url)
            if host.rules is not None and (reason := host.rules.refusal(url)):
                raise Failure(reason)
        await host.turn(journey.deadline)
