"""A linear map in which vectors of the same label lie nearer to each other than before.

First, directions in which photos of one label differ count less: vectors are whitened by the
covariance within labels (relevant component analysis: Bar-Hillel, Hertz, Shental and Weinshall,
Journal of Machine Learning Research 6, 2005). Then Fisher's discriminants are added to what is
there: ‖y − y'‖² = ‖x − x'‖² + strength · ‖A (x − x')‖², where A x are the discriminants, scaled to
the variance of x. Of what the label does not tell, nothing is taken away. Everything is a closed
form.

Covariances are shrunk towards a multiple of the identity, as few photos tell little of one in
hundreds of dimensions (Ledoit and Wolf, A well-conditioned estimator for large-dimensional
covariance matrices, Journal of Multivariate Analysis 88, 2004).
"""

from __future__ import annotations

import numpy as np

from pipeline.index.base import F64Matrix, Ids

SHRINKAGE = 0.5
"""Of the covariance within labels of vectors that are whitened already."""
_LEAST = 1e-6  # variance of a direction within labels, as a share of the mean


def fit_metric(x: F64Matrix, labels: Ids, strength: float) -> F64Matrix:
    """Learn from (n, dim) float64 vectors of unit length and their (n,) labels, numbers from 0.

    A label of a single vector says nothing.

    Returns:
        (dim, dim) float64: `unit(x @ fit_metric(x, labels, 0.25))` are vectors to compare.
    """
    is_known = np.bincount(labels)[labels] > 1
    x, labels = x[is_known], np.unique(labels[is_known], return_inverse=True)[1]
    whitening = _whitening(_within(x, labels))
    x = unit(x @ whitening)
    discriminants = _discriminants(x, labels)
    inner = x.var(axis=0).sum()
    learned = (x @ discriminants.T).var(axis=0).sum()
    if not learned > 0:
        return whitening
    gram = strength * inner / learned * discriminants.T @ discriminants
    values, vectors = np.linalg.eigh(np.eye(len(gram)) + gram)
    root: F64Matrix = whitening @ (vectors * np.sqrt(values)) @ vectors.T
    return root


def unit(vectors: F64Matrix) -> F64Matrix:
    """(n, dim) → the same, scaled to unit length; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: F64Matrix = vectors / np.where(norms > 0, norms, 1)
    return scaled


def _whitening(within: F64Matrix) -> F64Matrix:
    """(n, dim) differences within labels → (dim, dim) symmetric; identity where there are none."""
    covariance = _covariance(within)
    mean = np.trace(covariance) / len(covariance)
    if not mean > 0:
        return np.eye(len(covariance))
    shrinkage = _shrinkage(within, covariance)
    values, vectors = np.linalg.eigh(covariance / mean)
    values = (1 - shrinkage) * np.maximum(values, 0) + shrinkage
    whitening: F64Matrix = (vectors / np.sqrt(np.maximum(values, _LEAST))) @ vectors.T
    return whitening


def _shrinkage(within: F64Matrix, covariance: F64Matrix) -> float:
    """The square root of Ledoit and Wolf's, 0..1.

    Theirs is the best for the covariance; its inverse, which is what is used, needs more.
    """
    squared = float((covariance**2).sum())
    error = float((np.einsum("ij,ij->i", within, within) ** 2).sum()) / len(within) ** 2
    spread = squared - np.trace(covariance) ** 2 / len(covariance)
    if not spread > 0:
        return 1.0
    return float(np.sqrt(np.clip((error - squared / len(within)) / spread, 0, 1)))


def _discriminants(x: F64Matrix, labels: Ids) -> F64Matrix:
    """(n, dim) and (n,) → (labels - 1, dim), at most dim rows: a variance of 1 within labels."""
    counts, means = np.bincount(labels), _means(x, labels)
    within = _covariance(_within(x, labels))
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / len(within) * np.eye(
        len(within)
    )
    between = (means - x.mean(axis=0)) * np.sqrt(counts / len(x))[:, np.newaxis]
    values, vectors = np.linalg.eigh(within)
    whitening = vectors / np.sqrt(np.maximum(values, np.finfo(float).tiny))
    _, _, directions = np.linalg.svd(between @ whitening, full_matrices=False)
    rank = min(len(counts) - 1, len(within))
    discriminants: F64Matrix = (whitening @ directions[:rank].T).T
    return discriminants


def _means(x: F64Matrix, labels: Ids) -> F64Matrix:
    """(n, dim) and (n,) → (labels, dim)."""
    sums = np.zeros((labels.max() + 1, x.shape[1]))
    np.add.at(sums, labels, x)
    means: F64Matrix = sums / np.bincount(labels)[:, np.newaxis]
    return means


def _within(x: F64Matrix, labels: Ids) -> F64Matrix:
    """(n, dim) and (n,) → (n, dim): how each vector differs from the mean of its label."""
    differences: F64Matrix = x - _means(x, labels)[labels]
    return differences


def _covariance(centered: F64Matrix) -> F64Matrix:
    covariance: F64Matrix = centered.T @ centered / len(centered)
    return covariance
