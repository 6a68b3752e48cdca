"""A photo at a URL, by the guarded fetcher of the downloads and nothing else."""

from __future__ import annotations

import asyncio

from aiohttp.abc import AbstractResolver

from pipeline.config import Config
from pipeline.config.download import DownloadSettings
from pipeline.download.outcomes import Failed, Outcome, Reason
from pipeline.download.schedule import fetch_all
from pipeline.service.problems import HttpProblem

SECONDS = 5.0  # for all of it
REDIRECTS = 2
AT_ONCE = 4  # each may hold a photo of the largest size

_STATUS: dict[str, int] = {
    Reason.NOT_A_URL: 400,
    Reason.NOT_HTTP: 400,
    Reason.FORBIDDEN_ADDRESS: 400,
    Reason.TOTAL_TIMEOUT: 504,
    Reason.READ_TIMEOUT: 504,
    Reason.CONNECT_TIMEOUT: 504,
}


class PhotoFetcher:
    """Fetches photos that strangers name: one attempt, public addresses only."""

    def __init__(self, config: Config, resolver: AbstractResolver | None = None) -> None:
        serve = config.serve
        self._is_on = serve.fetch_urls
        self._max_bytes = config.images.max_bytes
        self._resolver = resolver
        self._slots = asyncio.Semaphore(AT_ONCE)
        # Not robots.txt: it is for those who crawl, and here a person asks for one photo.
        self._settings = DownloadSettings(
            attempts=1,
            redirects=REDIRECTS,
            connect_timeout=SECONDS,
            read_timeout=SECONDS,
            total_timeout=SECONDS,
            robots="ignore",
            user_agent=config.download.user_agent,
            allow_addresses=serve.allow_addresses,
        )

    async def fetch(self, url: str) -> bytes:
        """Return the bytes at a URL.

        Raises:
            HttpProblem: they cannot be had, or this is switched off.
        """
        if not self._is_on:
            hint = "send the photo itself"
            raise HttpProblem(400, "url", "photos at URLs are not fetched here", hint)
        outcomes: list[Outcome] = []

        async def handle(_: str, outcome: Outcome) -> None:
            outcomes.append(outcome)

        async with self._slots:
            await fetch_all([url], self._settings, self._max_bytes, handle, self._resolver)
        (outcome,) = outcomes
        if isinstance(outcome, Failed):
            status = 413 if outcome.rejected else _STATUS.get(outcome.reason, 502)
            raise HttpProblem(status, "url", f"the photo cannot be fetched: {outcome.reason}")
        return outcome.data
