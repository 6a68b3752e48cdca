"""Learn from labels which vectors belong together, and tell how well by labels held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.config import HeadSettings
from pipeline.derived.labeled import Labeled
from pipeline.derived.metric import fit_metric, unit
from pipeline.derived.vectors import Sample, check_dim
from pipeline.embeddings.arrays import Mask
from pipeline.errors import TrainingError
from pipeline.index.base import F64Matrix
from pipeline.models.projection import Projection

DIM = 512  # unless the settings say otherwise
K = 3  # neighbors that are judged
MAX_JUDGED = 1000  # held-out photos, of all folds together
_BLOCK = 128  # of them at a time


def fit_head(
    name: str, settings: HeadSettings, sample: Sample, labeled: Labeled
) -> tuple[Projection, Any]:
    """Learn from the labels of a sample's photos, without those of the first fold.

    Each fold is held out once, and the others are learned from: the photos held out ask for their
    3 nearest among all others, by the head and by the vectors that it is made of.

        projection, facts = fit_head("head", settings, sample, labeled)

    Returns:
        The projection; and what is told of it: the means over all folds.

    Raises:
        TrainingError: there are too few labels, or the vectors differ in too few directions.
    """
    folds = labeled.folds(settings.validation_split)
    _check(name, settings, labeled, folds)
    dim = settings.dim or min(DIM, sample.vectors.shape[1], len(sample.vectors) - 1)
    check_dim(name, dim, sample)
    pca = sample.components(dim)
    x = unit(pca.project(sample.vectors.astype(np.float64)))
    maps = [fit_metric(x[~fold], labeled.labels[~fold], settings.strength) for fold in folds]
    judged = [
        (precision(unit(x @ learned), labeled, fold), precision(sample.vectors, labeled, fold))
        for learned, fold in zip(maps, _judged(folds, labeled), strict=True)
    ]
    by_head, by_source = (np.concatenate(scores) for scores in zip(*judged, strict=True))
    projection = Projection(pca.mean, maps[0] @ pca.components, normalize=True)
    return projection, {
        "label": settings.label,
        "labels": len(np.unique(labeled.labels)),
        "photos": len(labeled.labels),
        "held_out": {
            "folds": len(folds),
            "queries": len(by_head),
            f"P@{K}": float(by_head.mean()),
            f"P@{K} of {settings.of}": float(by_source.mean()),
        },
    }


def _check(name: str, settings: HeadSettings, labeled: Labeled, folds: list[Mask]) -> None:
    """Raise a TrainingError unless something can be learned and judged in each fold."""
    judged = [fold for fold in folds if len(fold) and (fold & labeled.answerable).any()]
    for fold in folds:
        counts = np.bincount(labeled.labels[~fold]) if len(labeled.labels) else np.zeros(0, int)
        if not judged or not fold.any() or np.count_nonzero(counts >= 2) < 2:
            raise TrainingError(
                f"{len(labeled.labels):,} labeled photos are too few to learn {settings.label} from"
                " some and to judge by others",
                where=f"engines.{name}.label",
                hint="two values are needed that several items have: label more, or name another"
                " column",
            )


def _judged(folds: list[Mask], labeled: Labeled) -> Iterator[Mask]:
    """Of each fold, photos to judge by: at most as many as there is time for."""
    limit = max(1, MAX_JUDGED // len(folds))
    is_answerable = labeled.answerable
    for fold in folds:
        judged = np.zeros(len(fold), np.bool_)
        judged[np.flatnonzero(fold & is_answerable)[:limit]] = True
        yield judged


def precision(vectors: Any, labeled: Labeled, queries: Mask) -> F64Matrix:
    """(n, dim) vectors → for each of the queries, the share of its K nearest with its label.

    Photos of the same items are not looked at: `precision(xb, labeled, labeled.answerable)`.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors)
    shares = [np.empty(0)]
    rows, groups = np.flatnonzero(queries), labeled.groups
    for first in range(0, len(rows), _BLOCK):
        block = rows[first : first + _BLOCK]
        distances = squares - 2 * vectors[block] @ vectors.T
        distances[groups[block][:, np.newaxis] == groups] = np.inf
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :K]
        is_right = labeled.labels[nearest] == labeled.labels[block][:, np.newaxis]
        shares.append(is_right.mean(axis=1))
    return np.concatenate(shares)
