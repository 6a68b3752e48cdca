"""A linear map in which vectors of the same label lie nearer to each other than before.

Fisher's discriminants, in the space of the first principal components, are added to what is there:
‖y − y'‖² = ‖x − x'‖² + strength · ‖A (x − x')‖², where A x are the discriminants, scaled to the
variance of x. Of what the label does not tell, nothing is taken away. Everything is a closed form.

Covariances are shrunk towards a multiple of the identity (Friedman, Regularized discriminant
analysis, Journal of the American Statistical Association 84, 1989).
"""

from __future__ import annotations

import numpy as np

from pipeline.index.base import F64Matrix, Ids

SHRINKAGE = 0.5
"""Of the covariance within labels: few photos tell little of it in hundreds of dimensions."""


def fit_metric(x: F64Matrix, labels: Ids, strength: float) -> F64Matrix:
    """Learn from (n, dim) float64 vectors of unit length and their (n,) labels, numbers from 0.

    A label of a single vector says nothing.

    Returns:
        (dim, dim) float64, symmetric: `x @ fit_metric(x, labels, 1.0)` are vectors to compare.
    """
    is_known = np.bincount(labels)[labels] > 1
    x, labels = x[is_known], np.unique(labels[is_known], return_inverse=True)[1]
    discriminants = _discriminants(x, labels)
    inner = x.var(axis=0).sum()
    learned = (x @ discriminants.T).var(axis=0).sum()
    if not learned > 0:
        return np.eye(x.shape[1])
    gram = strength * inner / learned * discriminants.T @ discriminants
    values, vectors = np.linalg.eigh(np.eye(len(gram)) + gram)
    root: F64Matrix = (vectors * np.sqrt(values)) @ vectors.T
    return root


def unit(vectors: F64Matrix) -> F64Matrix:
    """(n, dim) → the same, scaled to unit length; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: F64Matrix = vectors / np.where(norms > 0, norms, 1)
    return scaled


def _discriminants(x: F64Matrix, labels: Ids) -> F64Matrix:
    """(n, dim) and (n,) → (labels - 1, dim), at most dim rows: a variance of 1 within labels."""
    counts = np.bincount(labels)
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, labels, x)
    means = sums / counts[:, np.newaxis]
    within = _covariance(x - means[labels])
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


def _covariance(centered: F64Matrix) -> F64Matrix:
    covariance: F64Matrix = centered.T @ centered / len(centered)
    return covariance
