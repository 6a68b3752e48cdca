"""What the tests of pipeline/download share: names that lead where a test wants, and one call."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.config import DownloadSettings
from pipeline.download.outcomes import Outcome
from pipeline.download.schedule import fetch_all

HERE = "127.0.0.1"
MAX_BYTES = 1_000_000


class Names(AbstractResolver):
    """Answers with what the test says; every other name does not exist."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [
            ResolveResult(
                hostname=host, host=text, port=port, family=kinds[":" in text], proto=0, flags=0
            )
            for text in self.names[host]
        ]

    async def close(self) -> None:
        pass


def settings(**changes: object) -> DownloadSettings:
    """Quick ones, that let this machine be connected to."""
    quick: dict[str, Any] = {
        "connect_timeout": 1,
        "read_timeout": 1,
        "total_timeout": 3,
        "attempts": 3,
        "backoff": 0.01,
        "robots": "ignore",
        "allow_addresses": (f"{HERE}/32",),
    }
    return DownloadSettings(**{**quick, **changes})


def fetch(
    urls: Iterable[str],
    max_bytes: int = MAX_BYTES,
    names: Mapping[str, Sequence[str]] | None = None,
    **changes: object,
) -> dict[str, Outcome]:
    """Fetch different URLs; each has exactly one outcome, and no task is left."""
    outcomes: dict[str, Outcome] = {}

    async def handle(url: str, outcome: Outcome) -> None:
        assert url not in outcomes
        outcomes[url] = outcome

    async def run() -> None:
        resolver = None if names is None else Names(names)
        await asyncio.wait_for(
            fetch_all(urls, settings(**changes), max_bytes, handle, resolver), timeout=30
        )
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    return outcomes


def fetch_one(url: str, max_bytes: int = MAX_BYTES, **changes: Any) -> Outcome:
    """Fetch one URL."""
    (outcome,) = fetch([url], max_bytes, **changes).values()
    return outcome
