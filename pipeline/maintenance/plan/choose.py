"""Which type of index meets what is asked for, on how many machines, and what the others take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_USE = 0.6
"""Of the cores: where more are busy, queries wait for each other."""
MEMORY_USE = 0.8  # of a machine's memory
WORTH = 2.0
"""Times as many machines as the fewest that an exact type may take, to be chosen all the same."""


@dataclass(frozen=True)
class Request:
    """What is asked for."""

    items: int
    qps: float = 1.0
    p95: float = 0.1
    """Seconds."""


@dataclass(frozen=True)
class Option:
    """One type of index, for all engines of a catalog."""

    name: str
    """As in the settings: "pruned, index.recall 0.99"."""
    is_exact: bool
    disk: int
    """Bytes, all engines together."""
    building_disk: int
    """... while it is built: the vectors of an engine are there twice for a time."""
    memory: int
    """Bytes that queries look at."""
    build_seconds: float
    query_seconds: float
    """Of a core, for a query to all engines, the encoding of its photo included: the median."""
    p95: float
    machines: int
    fits: bool = True
    """Whether memory holds it: of each machine, or of all where they share it."""


@dataclass(frozen=True)
class Machine:
    """A machine to be used, as many times as needed."""

    cores: int
    memory: int
    """Bytes."""

    def count(self, query_seconds: float, qps: float, shared_bytes: int = 0) -> int:
        """Return how many answer so many queries a second, and hold what they share.

        Machine(cores=2, memory=16 * 10**9).count(0.03, qps=50)  # 2
        """
        busy = qps * query_seconds / (MAX_USE * self.cores)
        return max(1, math.ceil(busy), math.ceil(shared_bytes / (MEMORY_USE * self.memory)))

    def holds(self, memory: int) -> bool:
        """Whether its memory has room for so many bytes."""
        return memory <= MEMORY_USE * self.memory


@dataclass(frozen=True)
class Choice:
    """What to take, and why."""

    chosen: Option
    why: str
    exact: Option
    """The exact type that is best: it may be the chosen one."""


def choose(options: Sequence[Option], request: Request) -> Choice:
    """Choose of options, the simplest first: `choose(options, Request(10**7, p95=0.1)).chosen`.

    Exact ones are preferred, and the simpler, up to `WORTH` times as many machines as the fewest
    that meet the request.
    """
    meeting = [one for one in options if one.fits and one.p95 <= request.p95]
    exact = [one for one in options if one.is_exact]
    best_exact = _simplest([one for one in meeting if one.is_exact]) or _fastest(exact)
    chosen = _simplest(meeting)
    if chosen is None:
        chosen = _fastest(options)
        why = f"none meets a p95 of {_ms(request.p95)}, and it comes nearest"
        return Choice(chosen, why, best_exact)
    if chosen.is_exact:
        why = "it is exact, and the simplest that meets what is asked for"
        return Choice(chosen, why, chosen)
    return Choice(chosen, _why_not(best_exact, chosen, request), best_exact)


def _simplest(options: Sequence[Option]) -> Option | None:
    return next(iter(_frugal(options)), None)


def _fastest(options: Sequence[Option]) -> Option:
    held = [one for one in options if one.fits] or options
    return min(_frugal(held), key=lambda one: one.p95)


def _frugal(options: Sequence[Option]) -> list[Option]:
    """Those that take not many more machines than the fewest."""
    limit = WORTH * min((one.machines for one in options), default=0)
    return [one for one in options if one.machines <= limit]


def _why_not(exact: Option, chosen: Option, request: Request) -> str:
    """Why it is not the exact one."""
    if not exact.fits:
        return "a machine's memory holds no exact index"
    if exact.p95 > request.p95:
        return f"exact answers take {_ms(exact.p95)}, and {_ms(request.p95)} are asked for"
    return f"exact answers take {exact.machines:,} machines, it takes {chosen.machines:,}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.3g} ms"
