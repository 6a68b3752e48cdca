"""Recall: which share of the nearest rows a search finds, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any, Self

import numpy as np

from pipeline.index.base import F64Matrix, F64Vector, Ids

K = 10  # neighbors of which a measured recall says how many are found


@dataclass(frozen=True)
class Recall:
    """The mean of the shares that some queries found, with its 95 % interval."""

    mean: float
    low: float
    high: float
    queries: int

    @classmethod
    def of(cls, shares: F64Vector, neighbors: int | Ids) -> Self:
        """Estimate the mean share that is found, from (queries,) shares of so many neighbors each.

        The interval is Wilson's for as many independent trials as would vary as much: neighbors of
        one query are lost together (the effective sample size: Kish, Survey Sampling, 1965).

            Recall.of(found_shares(distances, exact), 10).low
        """
        counts = np.broadcast_to(np.asarray(neighbors, np.float64), shares.shape)
        total = float(counts.sum())
        mean = float(counts @ shares) / total
        variance = float(np.sum((counts * (shares - mean)) ** 2)) / total**2
        trials = mean * (1 - mean) / variance if variance else total
        return cls(mean, *wilson(mean, min(max(trials, len(shares)), total)), len(shares))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returns; raises KeyError, TypeError or ValueError."""
        mean, low, high = (float(content[name]) for name in ("mean", "low", "high"))
        return cls(mean, low, high, int(content["queries"]))

    def to_dict(self) -> dict[str, float]:
        """Return JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.mean:.4f} ({self.low:.4f} to {self.high:.4f})"


EXACT = Recall(1.0, 1.0, 1.0, 0)
"""Of an index that finds all of them."""


@dataclass(frozen=True)
class PromisedRecall:
    """What an approximate index promises, and what was measured when it was built."""

    promise: float
    measured: Recall

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returns; raises KeyError, TypeError or ValueError."""
        return cls(float(content["promise"]), Recall.from_dict(content["measured"]))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"recall@{K} {self.measured}, {self.promise} promised"


def found_shares(distances: F64Matrix, exact: F64Matrix) -> F64Vector:
    """(n, k) distances that were found, (n, k) of the nearest rows → (n,): the share found of each.

    A row as near as the k-th nearest is one of them: ties do not count against a search.
    """
    shares: F64Vector = (distances <= exact[:, -1:]).mean(axis=1)
    return shares


def wilson(mean: float, count: float, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a mean of values in 0..1.

    Wilson, Probable inference, the law of succession, and statistical inference, 1927. Of values
    between 0 and 1 it is too wide, never too narrow; and it has a width where all are equal, which
    the bootstrap has not.
    """
    center = mean + z * z / (2 * count)
    margin = z * sqrt(mean * (1 - mean) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    low, high = (center - margin) / scale, (center + margin) / scale
    return max(0.0, min(low, mean)), min(1.0, max(high, mean))  # despite rounding
