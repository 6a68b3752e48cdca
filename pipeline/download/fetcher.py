"""One photo: its attempts, the redirects of each, and the deadline for all of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import ClientSession
from yarl import URL

from pipeline.config import DownloadSettings
from pipeline.download import robots
from pipeline.download.client import Response, get
from pipeline.download.cookies import Cookies
from pipeline.download.hosts import Host
from pipeline.download.outcomes import Failure, Fetched, Outcome, Reason

_MAX_BACKOFF = 30.0  # seconds


@dataclass
class FetchState:
    """How far fetching one URL has come; of a robots.txt, `obey_robots` is false.

    `host` is the current one. `was_sent` is false while we wait for our turn there: if the deadline
    comes first, the host is not to blame.
    """

    url: URL
    max_bytes: int
    deadline: float
    host: Host
    obey_robots: bool
    was_sent: bool = False
    attempts: int = 0
    last_failure: Failure | None = None  # of an attempt that was worth repeating


@dataclass(frozen=True)
class ForwardedRequest:
    """A request that is made for another fetcher, by the one that the host belongs to."""

    url: URL
    max_bytes: int
    seconds: float
    """Until the deadline of the photo."""
    obey_robots: bool
    cookies: Cookies


@dataclass(frozen=True)
class ForwardedResponse:
    """What came of it: a response, a failure, or neither where the time would not have sufficed."""

    result: Response | Failure | None
    was_sent: bool
    cookies: Cookies


Forward = Callable[[ForwardedRequest], Awaitable[ForwardedResponse]]


class Fetcher:
    """Fetches photos, and keeps the state of all hosts.

    Where hosts are shared out among several fetchers, `owner` returns what asks the owner of a host
    that is not one of ours; only redirects lead there.
    """

    def __init__(
        self,
        settings: DownloadSettings,
        session: ClientSession,
        owner: Callable[[URL], Forward | None] = lambda url: None,
    ) -> None:
        self._settings = settings
        self._session = session
        self._owner = owner
        self._hosts: dict[tuple[str, str | None, int | None], Host] = {}

    def host_of(self, url: URL) -> Host:
        """Return the host of a URL: one for each scheme, name and port, whatever their case."""
        key = url.scheme, url.raw_host, url.port  # lower case already
        if key not in self._hosts:
            self._hosts[key] = Host(self._settings)
        return self._hosts[key]

    async def fetch(self, url: URL, max_bytes: int) -> Outcome:
        """Fetch a photo. The caller has taken its first turn at its host."""
        return await self._fetch(self._new_state(url, max_bytes, obey_robots=True))

    async def load_robots(self, host: Host, url: URL) -> None:
        """Make sure that the host's rules are loaded. They are requested once."""
        async with host.robots_lock:
            if host.rules is None:
                robots_url = url.origin().with_path("/robots.txt")
                state = self._new_state(robots_url, robots.MAX_BYTES, obey_robots=False)
                outcome = await self._fetch(state)
                moved = state.host is not host
                host.apply_rules(robots.read_rules(outcome, self._settings.user_agent, moved))

    def _new_state(self, url: URL, max_bytes: int, obey_robots: bool) -> FetchState:
        deadline = asyncio.get_running_loop().time() + self._settings.total_timeout
        return FetchState(url, max_bytes, deadline, self.host_of(url), obey_robots)

    async def _fetch(self, state: FetchState) -> Outcome:
        """If the time is over during a repetition, the reason is why that was necessary."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout_at(state.deadline):
                response = await self._repeat(state)
            seconds = loop.time() - began
            return Fetched(response.data, response.status, state.attempts, seconds)
        except Failure as error:
            failure = error
        except TimeoutError:
            failure = state.last_failure or Failure(Reason.TOTAL_TIMEOUT)
        if state.obey_robots and state.was_sent:
            state.host.failed(failure)
        return failure.outcome(state.attempts, loop.time() - began)

    async def _repeat(self, state: FetchState) -> Response:
        """Each attempt begins at the first URL: the target of a redirect may be valid only once."""
        loop = asyncio.get_running_loop()
        first_host = state.host
        while True:
            state.attempts += 1
            try:
                return await self._attempt(state)
            except Failure as failure:
                if failure.pause is not None:
                    state.host.pause(failure.pause)
                is_last = state.attempts == self._settings.attempts
                if is_last or state.host.gave_up_reason or not failure.is_temporary:
                    raise
                state.last_failure = failure
                retry_at = max(loop.time() + self._backoff(state.attempts), state.host.due)
                if retry_at >= state.deadline:
                    raise
            await asyncio.sleep(retry_at - loop.time())
            await first_host.wait_for_turn(state.deadline)

    def _backoff(self, attempts: int) -> float:
        """Seconds with full jitter: photos that failed together should not return together."""
        longest = min(_MAX_BACKOFF, self._settings.backoff * 2 ** (attempts - 1))
        return random.uniform(0, longest)  # noqa: S311 — nobody gains by guessing it

    async def _attempt(self, state: FetchState) -> Response:
        """Follow the redirects to a response with a body; their cookies are kept until then."""
        url, cookies = state.url, Cookies()
        for hop in range(self._settings.redirects + 1):
            state.host, state.was_sent = self.host_of(url), False
            if hop and (forward := self._owner(url)):
                response, cookies = await self._forward(forward, state, url, cookies)
            else:
                if hop:
                    await self._wait_for_host(state, url)
                response = await self._send(state, url, cookies)
            state.host.answered()
            if response.redirect is None:
                return response
            url = response.redirect
        raise Failure(Reason.TOO_MANY_REDIRECTS, response.status)

    async def _send(self, state: FetchState, url: URL, cookies: Cookies) -> Response:
        async with state.host.slots:
            await state.host.wait_while_paused()
            state.was_sent = True
            return await get(
                self._session,
                url,
                state.max_bytes,
                truncate=not state.obey_robots,
                cookies=cookies,
            )

    async def _forward(
        self, forward: Forward, state: FetchState, url: URL, cookies: Cookies
    ) -> tuple[Response, Cookies]:
        """Have the owner of a host make a request; return the response, and what cookies are now.

        Raises:
            Failure: there is no such response.
            TimeoutError: it would not have come before the deadline.
        """
        seconds = state.deadline - asyncio.get_running_loop().time()
        request = ForwardedRequest(url, state.max_bytes, seconds, state.obey_robots, cookies)
        answer = await forward(request)
        state.was_sent = answer.was_sent
        if answer.result is None:
            raise TimeoutError
        if isinstance(answer.result, Failure):
            raise answer.result
        return answer.result, answer.cookies

    async def answer(self, request: ForwardedRequest) -> ForwardedResponse:
        """Make a request to a host of ours for another fetcher; its turns and slots are kept."""
        deadline = asyncio.get_running_loop().time() + request.seconds
        host = self.host_of(request.url)
        state = FetchState(request.url, request.max_bytes, deadline, host, request.obey_robots)
        result: Response | Failure | None = None
        try:
            async with asyncio.timeout_at(deadline):
                await self._wait_for_host(state, request.url)
                result = await self._send(state, request.url, request.cookies)
            host.answered()
        except Failure as failure:
            if failure.pause is not None:
                host.pause(failure.pause)
            result = failure
        except TimeoutError:
            pass
        return ForwardedResponse(result, state.was_sent, request.cookies)

    async def _wait_for_host(self, state: FetchState, url: URL) -> None:
        """Do for the target of a redirect what the schedule does for a photo's first request."""
        host = state.host
        if state.obey_robots and not host.gave_up_reason:
            state.was_sent = host.rules is None
            await self.load_robots(host, url)
            state.was_sent = False
        if host.gave_up_reason:
            raise Failure(host.gave_up_reason)
        if state.obey_robots and host.rules and (reason := host.rules.refusal(url)):
            raise Failure(reason)
        await host.wait_for_turn(state.deadline)
