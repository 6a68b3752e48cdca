"""One server: what waits for it, how often it is asked, and when it is paused or given up."""

from __future__ import annotations

import asyncio
from collections import deque

from yarl import URL

from pipeline.config import DownloadSettings
from pipeline.download.outcomes import Failure, Reason
from pipeline.download.robots import ALLOW_ALL, Rules

# Seconds; a host that asks for a longer pause is given up in this run: it would never end.
_MAX_PAUSE = 900.0


class Host:
    """A scheme, a name and a port. Times are those of the running loop."""

    def __init__(self, settings: DownloadSettings) -> None:
        self.slots = asyncio.Semaphore(settings.per_host)
        self.rules: Rules | None = ALLOW_ALL if settings.robots == "ignore" else None
        self.robots_lock = asyncio.Lock()  # held while robots.txt is fetched
        self.gave_up_reason: str | None = None  # why nothing more is requested from it
        # Kept by the schedule:
        self.urls = deque[tuple[str, URL]]()  # not started yet: the text and what it was parsed to
        self.in_flight = 0  # photos that are being fetched
        self.is_ready = False  # is in the schedule's list of hosts to look at
        self.is_loading_robots = False
        self._spacing = 1 / settings.requests_per_second if settings.requests_per_second else 0.0
        self._give_up_after = settings.give_up_after
        self._failures_in_a_row = 0
        self._next_turn = 0.0
        self._paused_until = 0.0

    @property
    def due(self) -> float:
        """When the next request may begin, unless another one takes that turn first."""
        return max(self._next_turn, self._paused_until)

    def take_turn(self) -> float:
        """Take the next turn; return when it is."""
        turn = max(asyncio.get_running_loop().time(), self.due)
        self._next_turn = turn + self._spacing
        return turn

    async def wait_for_turn(self, deadline: float) -> None:
        """Take the next turn and wait for it.

        Raises:
            TimeoutError: at once, if the turn would come after the deadline.
        """
        loop = asyncio.get_running_loop()
        while True:
            if self.due >= deadline:
                raise TimeoutError
            turn = self.take_turn()
            await asyncio.sleep(turn - loop.time())
            if self._paused_until <= turn:  # otherwise a pause began meanwhile
                return

    async def wait_while_paused(self) -> None:
        """Wait for the end of a pause that began while a slot was waited for."""
        loop = asyncio.get_running_loop()
        while (seconds := self._paused_until - loop.time()) > 0:
            await asyncio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Begin no request for some seconds."""
        if seconds > _MAX_PAUSE:
            self.give_up(Reason.ASKED_TO_WAIT)
        else:
            end = asyncio.get_running_loop().time() + seconds
            self._paused_until = max(self._paused_until, end)

    def apply_rules(self, rules: Rules) -> None:
        """Obey these rules from now on."""
        self.rules = rules
        self._spacing = max(self._spacing, rules.delay)
        if rules.deny_reason:
            self.give_up(rules.deny_reason)

    def answered(self) -> None:
        """Note that a request succeeded."""
        self._failures_in_a_row = 0

    def failed(self, failure: Failure) -> None:
        """Note that a photo has failed here, after all its attempts."""
        self._failures_in_a_row = self._failures_in_a_row + 1 if failure.is_hosts_fault else 0
        if self._failures_in_a_row >= self._give_up_after:
            self.give_up(Reason.HOST_NOT_ANSWERING)

    def give_up(self, reason: str) -> None:
        """Request nothing more from it; its other photos fail for this reason. The first stays."""
        self.gave_up_reason = self.gave_up_reason or reason
