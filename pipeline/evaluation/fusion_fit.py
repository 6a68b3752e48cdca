"""Fit how much each engine counts where engines are fused.

Few degrees of freedom, and a bias toward the best engine alone: it starts with all the weight, and
others get some, one after another (forward selection: Caruana et al., Ensemble selection from
libraries of models, ICML 2004), each only where the gain over the queries is beyond twice its
standard error and the first three are not worse for it; of the weights whose gain is within one
standard error of the largest, the smallest is taken (Breiman et al., Classification and Regression
Trees, 1984, §3.4.3). So a fusion that is not surely better is the best engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from pipeline.evaluation.candidates import Candidates
from pipeline.evaluation.metrics import RankedLists, ndcg, precision
from pipeline.index.base import F64Array, F64Vector
from pipeline.publish.tuning import FittedFusion

RATIOS = 2.0 ** np.arange(-5, 3)
"""What an engine's weight may be, as a multiple of all the weight before it."""
MIN_QUERIES = 30
"""With fewer nothing is surely better than the best engine."""
MAX_ENGINES = 4
"""Of so many engines each set is fitted; of more, each two of them, and all."""
STANDARD_ERRORS = 2.0


class _Quality(NamedTuple):
    ndcg: F64Vector
    """(queries,) nDCG@10."""
    precision: F64Vector
    """(queries,) P@3."""


class _Option(NamedTuple):
    engine: int
    ratio: float
    gain: F64Vector
    """(queries,) of nDCG@10."""
    loses: bool
    """Whether P@3 is worse."""

    @property
    def mean(self) -> float:
        return float(self.gain.mean())

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return float(self.gain.std(ddof=1) / np.sqrt(len(self.gain)))

    @property
    def is_sure(self) -> bool:
        return not self.loses and self.mean > STANDARD_ERRORS * self.error


def fit_weights(candidates: Candidates) -> dict[str, float]:
    """Return each engine's weight, which add up to 1: `fit_weights(candidates)["vgg16"]`.

    Queries whose label an engine learned say nothing of how well it finds what is new.
    """
    candidates = candidates.among(candidates.engines)
    count = len(candidates.engines)
    alone = [_quality(candidates, row) for row in np.eye(count)]
    weights = np.zeros(count)
    best = int(np.argmax([quality.ndcg.mean() for quality in alone])) if alone[0].ndcg.size else 0
    weights[best], quality = 1.0, alone[best]
    while len(candidates.queries) >= MIN_QUERIES:
        options = [o for o in _options(candidates, weights, quality) if o.is_sure]
        if not options:
            break
        top = max(options, key=lambda option: option.mean)
        same = [o for o in options if o.engine == top.engine and o.mean >= top.mean - top.error]
        weights = _added(weights, same[0].engine, same[0].ratio)
        quality = _quality(candidates, weights)
    return dict(zip(candidates.engines, weights.tolist(), strict=True))


def fit_fusion(candidates: Candidates, scales: dict[str, float]) -> FittedFusion:
    """Fit the weights of every set of engines that a search may name.

    `scales` are those of all engines; one that is in no candidates gets no weight beside others.
    """
    judged = candidates.among(candidates.engines)
    alone = [_quality(judged, row).ndcg for row in np.eye(len(judged.engines))]
    return FittedFusion(
        scales,
        tuple(_fit_set(candidates, names) for names in _sets(tuple(scales))),
        {
            name: float(quality.mean()) if len(quality) else 0.0
            for name, quality in zip(judged.engines, alone, strict=True)
        },
    )


def _fit_set(candidates: Candidates, engines: Sequence[str]) -> dict[str, float]:
    judged = [name for name in engines if name in candidates.engines]
    fitted = fit_weights(candidates.among(judged)) if judged else {engines[0]: 1.0}
    return {name: fitted.get(name, 0.0) for name in engines}


def _sets(engines: Sequence[str]) -> Iterator[tuple[str, ...]]:
    sizes = range(2, len(engines) + 1) if len(engines) <= MAX_ENGINES else (2, len(engines))
    for size in sizes:
        yield from combinations(engines, size)


def _options(candidates: Candidates, weights: F64Vector, quality: _Quality) -> Iterator[_Option]:
    """What adding each engine that has no weight yet would bring, the smallest weights first."""
    for engine in np.flatnonzero(weights == 0).tolist():
        for ratio in RATIOS.tolist():
            added = _quality(candidates, _added(weights, engine, ratio))
            loses = added.precision.mean() < quality.precision.mean()
            yield _Option(engine, ratio, added.ndcg - quality.ndcg, bool(loses))


def _added(weights: F64Vector, engine: int, ratio: float) -> F64Vector:
    added = weights.copy()
    added[engine] = ratio
    result: F64Vector = added / added.sum()
    return result


def _quality(candidates: Candidates, weights: F64Array) -> _Quality:
    """How good the fusion by some weights is for each query."""
    used = np.flatnonzero(weights)
    total = np.tensordot(weights[used], candidates.distances[used], axes=1)
    order = np.argsort(total, axis=1, kind="stable")
    relevant = np.take_along_axis(candidates.relevant, order, axis=1)
    lists = RankedLists(relevant, np.isfinite(total).sum(axis=1))
    return _Quality(ndcg(lists, 10), precision(lists, 3))
