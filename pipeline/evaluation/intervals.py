"""How far a mean over some queries may be from the mean over all possible queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.index.base import F64Matrix

DRAWN_QUERIES = 1 << 22  # at a time


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap(
    values: F64Matrix, resamples: int, seed: int, drawn_queries: int = DRAWN_QUERIES
) -> list[Estimate]:
    """Estimate the mean of each column of (queries, columns) float64, of one query at least.

    The interval is the percentile bootstrap's, from the 2.5th to the 97.5th percentile of the means
    of `resamples` draws of as many queries with replacement (Efron and Tibshirani, An Introduction
    to the Bootstrap, 1993, §13.3). All columns see the same draws.
    """
    queries = len(values)
    random = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    step = max(1, drawn_queries // queries)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = random.integers(queries, size=(count, queries))
        drawn += np.arange(0, count * queries, queries)[:, np.newaxis]
        counts = np.bincount(drawn.ravel(), minlength=count * queries).astype(np.float64)
        means[start : start + count] = counts.reshape(count, queries) @ values / queries
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    estimates = np.stack([values.mean(axis=0), low, high], axis=1)
    return [Estimate(*estimate) for estimate in estimates.tolist()]
