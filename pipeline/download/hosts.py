"""One server, and what it asks of us: few requests at once, not too fast, none while it rests."""

from __future__ import annotations

import asyncio

from yarl import URL

from pipeline.config import DownloadSettings
from pipeline.download.outcomes import Failure, Reason
from pipeline.download.robots import EVERYTHING, Rules

# A host that wants to be left alone for longer is given up in this run: waiting would not end.
_PATIENCE = 900.0


class Host:
    """A scheme, a name and a port. Times are those of the running loop."""

    def __init__(self, settings: DownloadSettings) -> None:
        self.slots = asyncio.Semaphore(settings.per_host)
        self.rules: Rules | None = EVERYTHING if settings.robots == "ignore" else None
        self.learning = asyncio.Lock()  # held while robots.txt is fetched
        self.given_up: str | None = None  # why nothing more is asked of it
        self._spacing = 1 / settings.requests_per_second if settings.requests_per_second else 0.0
        self._give_up_after = settings.give_up_after
        self._failures = 0  # in a row
        self._next = 0.0
        self._paused_until = 0.0

    @property
    def due(self) -> float:
        """When the next request may begin, if nobody takes that turn."""
        return max(self._next, self._paused_until)

    def take_turn(self) -> float:
        """Take the next turn, and say when it is."""
        turn = max(asyncio.get_running_loop().time(), self.due)
        self._next = turn + self._spacing
        return turn

    async def turn(self, deadline: float) -> None:
        """Take the next turn and wait for it; TimeoutError, at once, if that is too late."""
        loop = asyncio.get_running_loop()
        while True:
            if self.due >= deadline:
                raise TimeoutError
            turn = self.take_turn()
            await asyncio.sleep(turn - loop.time())
            if self._paused_until <= turn:  # else a pause began meanwhile
                return

    def pause(self, seconds: float) -> None:
        """Begin no request for so long."""
        if seconds > _PATIENCE:
            self.give_up(Reason.ASKED_TO_WAIT)
        else:
            end = asyncio.get_running_loop().time() + seconds
            self._paused_until = max(self._paused_until, end)

    def learn(self, rules: Rules) -> None:
        """Keep to these rules from now on."""
        self.rules = rules
        self._spacing = max(self._spacing, rules.delay)
        if rules.nothing:
            self.give_up(rules.nothing)

    def answered(self) -> None:
        """It answered as a host should."""
        self._failures = 0

    def failed(self, failure: Failure) -> None:
        """A photo has finally failed here."""
        self._failures = self._failures + 1 if failure.is_hosts_fault else 0
        if self._failures >= self._give_up_after:
            self.give_up(Reason.HOST_NOT_ANSWERING)

    def give_up(self, reason: str) -> None:
        """Ask nothing more of it, and say why of each of its photos; the first reason stays."""
        self.given_up = self.given_up or reason


class Hosts:
    """The host of each URL, made when it is first asked for."""

    def __init__(self, settings: DownloadSettings) -> None:
        self._settings = settings
        self._hosts: dict[tuple[str, str | None, int | None], Host] = {}

    def of(self, url: URL) -> Host:
        """The same host for the same scheme, name and port, in any case of letters."""
        key = url.scheme, url.raw_host, url.port  # lower case already
        if key not in self._hosts:
            self._hosts[key] = Host(self._settings)
        return self._hosts[key]
