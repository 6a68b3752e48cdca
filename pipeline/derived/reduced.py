"""Bring vectors down to fewer dimensions, by principal components."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.config import ReducedSettings
from pipeline.derived.vectors import Sample, check_dim
from pipeline.errors import TrainingError
from pipeline.models.projection import Projection

_LEAST = 1e-10  # variance of a direction, as a share of the largest; less is rounding


def fit_reduced(name: str, settings: ReducedSettings, sample: Sample) -> tuple[Projection, Any]:
    """Fit principal components to vectors, each scaled to a variance of 1 if they are whitened.

        projection, facts = fit_reduced("small", ReducedSettings(of="vgg16", dim=16), sample)

    Returns:
        The projection; and what is told of it: the share of the variance that it keeps.

    Raises:
        TrainingError: the vectors do not differ in so many directions.
    """
    check_dim(name, settings.dim, sample)
    pca = sample.components(settings.dim)
    directions = int(np.count_nonzero(pca.variances > _LEAST * pca.variances[0]))
    if directions < settings.dim:
        raise TrainingError(
            f"the vectors of {settings.of} differ in {directions:,} directions only",
            where=f"engines.{name}.dim",
            hint=f"give {directions:,} or less" if directions else "add other photos",
        )
    scale = 1 / np.sqrt(pca.variances) if settings.whiten else np.ones(settings.dim)
    projection = Projection(
        pca.mean, pca.components * scale[:, np.newaxis], normalize=settings.normalize
    )
    total = float(sample.vectors.var(axis=0, dtype=np.float64).sum())
    return projection, {"variance_kept": float(pca.variances.sum()) / total}
