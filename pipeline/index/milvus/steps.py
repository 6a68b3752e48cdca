"""The steps of a search: what Milvus is asked for, and what is found among what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pipeline.index.base import F64Vector, Ids


class Step(NamedTuple):
    """What Milvus is asked for."""

    limit: int
    """How many rows it is to return."""
    lists: int
    """How many lists it is to look into."""


class Found(NamedTuple):
    """The nearest rows among those that were proposed."""

    distances: F64Vector
    rows: Ids
    farthest: float
    """The largest distance of all that were proposed."""
    proposed: int


@dataclass(frozen=True)
class Scope:
    """Among which rows to search, and what Milvus is told of them."""

    expression: str
    size: int
    """How many rows meet the expression at most."""
    kept: Ids | None
    """Rows that may be returned, ascending; None: all."""
    is_listed: bool = True
    """Whether those rows are exactly the ones that meet the expression."""
