"""Folds: what is fitted to some items is judged on others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipeline.evaluation.candidates import labeled_candidates
from pipeline.evaluation.fusion_fit import fit_weights
from pipeline.evaluation.gallery import Gallery, QuerySet
from pipeline.index.base import F64Matrix, Ids
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.weighting import typical_distance

FOLDS = 5


class FoldWeights(NamedTuple):
    """Weights of engines, each fitted without the items that it is judged on."""

    by_fold: tuple[Mapping[str, float], ...]
    """Engine → its weight, of distances divided by each engine's typical one."""
    of_queries: F64Matrix
    """(queries, engines) float64: the weight of distances as they are."""


def folds_of(count: int, seed: int, folds: int = FOLDS) -> Ids:
    """(count,) int64: which of the folds each of some items is in, drawn anew for each seed."""
    return np.random.default_rng(seed).permutation(count) % folds


def fold_weights(
    searchers: Mapping[str, EngineSearcher], gallery: Gallery, queries: QuerySet, seed: int
) -> FoldWeights:
    """Fit the weights of the fusion, for each query without the items of its fold.

    Photos that are no items of the gallery are judged by weights that are fitted to all of it.
    """
    labels = dict(zip(gallery.items.tolist(), gallery.labels, strict=True))
    candidates = labeled_candidates(searchers, labels)
    scales = np.array([typical_distance(one.calibration) for one in searchers.values()])
    if queries.items is None:
        fitted = [fit_weights(candidates)]
        fold = np.zeros(len(queries.labels), np.int64)
    else:
        of_items = folds_of(len(gallery.items), seed)
        fitted = [
            fit_weights(candidates.without(gallery.items[of_items == f])) for f in range(FOLDS)
        ]
        fold = of_items[queries.items]
    matrix = np.array([[weights[name] for name in searchers] for weights in fitted]) / scales
    return FoldWeights(tuple(fitted), matrix[fold])
