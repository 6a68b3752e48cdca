"""Short codes of vectors from which a lower bound of their distance follows, for certain.

Let V be (m, dim) with rows that are nearly orthonormal, ‖VVᵀ − I‖ ≤ η, and μ any point. A vector
x has the projection P(x) = (V(x−μ), r(x)), where r(x) is the norm of the part of x−μ outside of the
span of V's rows. For z = x−q, of parts z₁ in that span and z₂ outside, ‖Vz‖² ≤ (1+η)·‖z₁‖² and
|r(x)−r(q)| ≤ ‖z₂‖, so that

    ‖P(x) − P(q)‖ ≤ √(1+η) · ‖x − q‖.

With V of the principal components, a few hundred coordinates hold most of the distance between
vectors of photos. A code c is P rounded to bytes, P(x) ≈ offset + step·c(x), with an error that is
bounded: ‖P(x) − offset − step·c(x)‖ ≤ e(x). So by the triangle inequality

    step·‖c(x) − c(q)‖ ≤ √(1+η)·‖x − q‖ + e(x) + e(q),

where ‖c(x) − c(q)‖² is a whole number. Whatever is rounded on the way to a code goes into its e
(`rounding` derives the bounds of sums):

- η is measured in float64 for the float32 values that V consists of, so V's own rounding is no
  error: catalog and queries use the same V.
- A product summed in float32 is off by at most γ·‖V_j‖‖x−μ‖; γ is kept small by adding the sums of
  a few hundred products in float64. For m of them, √m times that.
- r² = ‖x−μ‖² − ‖V(x−μ)‖² is off by τ = 2·‖V(x−μ)‖·(the above) + 2η·‖x−μ‖², so r by at most
  τ/r, and never by more than √τ.
- Rounding in float64 is smaller by 2⁻²⁹ and covered by `SLACK`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.index import pca
from pipeline.index.base import F32Matrix, F64Matrix, F64Vector
from pipeline.index.rounding import SLACK, flush_error, relative_error
from pipeline.index.vectors import import_faiss

RESIDUAL_COPIES = 8
"""r is kept as 8 coordinates r/√8, which spread less than r does: one step suits them all."""
FLOAT32_PRODUCTS = 512  # products that are summed in float32; their sums are added in float64
PCA_ITERATIONS = 3
_PCA_BLOCK = 1024  # rows
_LENGTH_MULTIPLE = 32  # of which a code's length is one: FAISS has fast kernels for such
_SAMPLE_QUERIES = 32  # rows of the sample that stand for queries
_SAMPLE_NEIGHBORS = 10  # that they look for
_SCATTERED_READ_COST = 6  # bytes read in turn for one here and there: measured 3 to 4, more on disk


@dataclass(frozen=True)
class Projections:
    """P of some vectors, as far as it could be computed, or rounded to bytes: codes."""

    values: npt.NDArray[np.float64 | np.uint8]
    """(n, length) float64, or uint8 if they are codes."""
    errors: F64Vector
    """(n,) float64: no true projection is farther from its values than this (e, of a code)."""


@dataclass(frozen=True)
class Coder:
    """Turns vectors into codes."""

    basis: F32Matrix
    """(m + 1, dim) float32: V, and μ as the last row."""
    offset: F64Vector
    """(length,) float64: what the code 0 stands for."""
    step: float
    """What one more in a code stands for."""
    orthonormality_error: float
    """η."""
    float32_products: int = FLOAT32_PRODUCTS
    """How many products are summed in float32 for a query."""

    @property
    def length(self) -> int:
        """Bytes of a code."""
        return len(self.offset)

    def project(self, vectors: F32Matrix) -> Projections:
        """Project (n, dim) float32, with all sums in float64."""
        centered = vectors - self._mean
        return _project(centered, centered @ self._basis64.T, 0.0, self.orthonormality_error)

    def project_queries(self, queries: F32Matrix) -> Projections:
        """Project (n, dim) float32 fast, with most sums in float32: errors are a little wider."""
        centered = queries - self._mean
        sums = np.zeros((len(centered), len(self.basis) - 1))
        with np.errstate(over="ignore", invalid="ignore"):  # then the error is not finite
            rounded = centered.astype(np.float32)
            for start, product in self._products:
                sums += product.apply(rounded[:, start : start + self.float32_products])
            error = relative_error(self.float32_products)
            return _project(centered, sums, error, self.orthonormality_error)

    def codes(self, projections: Projections) -> Projections:
        """Round (n, length) float64 to bytes."""
        scaled = (projections.values - self.offset) / self.step
        codes = np.rint(np.clip(scaled, 0, 255))
        errors = (self.step * _norms(scaled - codes) + projections.errors) * (1 + SLACK)
        unbounded = ~np.isfinite(errors)  # too large for float32
        codes[unbounded], errors[unbounded] = 0, np.inf
        return Projections(codes.astype(np.uint8), errors)

    def code_distance_bound(self, distance: float, errors: float) -> float:
        """Bound the squared distance of the codes of two vectors not farther apart than `distance`.

        `errors` is e(x) + e(q). The squared distance may be summed in float32 in any order, and is
        strictly below the bound.
        """
        stretch = np.sqrt(1 + self.orthonormality_error)
        code_distance = (distance * stretch + errors) * (1 + SLACK) / self.step
        squared = code_distance**2 * (1 + 2 * relative_error(self.length)) + 0.5
        return float(min(squared, self.length * 2.0**16))  # no codes are farther apart than that

    @cached_property
    def _mean(self) -> F64Vector:
        mean: F64Vector = self.basis[-1].astype(np.float64)
        return mean

    @cached_property
    def _basis64(self) -> F64Matrix:
        return self.basis[:-1].astype(np.float64)

    @cached_property
    def _products(self) -> list[tuple[int, Any]]:
        """Products with parts of V by FAISS's BLAS, which keeps to one thread (`import_faiss`)."""
        faiss = import_faiss()
        count, dim = len(self.basis) - 1, self.basis.shape[1]
        products = []
        for start in range(0, dim, self.float32_products):
            part = np.ascontiguousarray(self.basis[:-1, start : start + self.float32_products])
            product = faiss.LinearTransform(part.shape[1], count)
            faiss.copy_array_to_vector(part.ravel(), product.A)
            product.is_trained = True
            products.append((start, product))
        return products


def fit(
    sample: F32Matrix,
    blocks: Callable[[], Iterable[F32Matrix]],
    rows: int,
    max_length: int,
    *,
    length: int | None = None,
) -> Coder | None:
    """Fit a coder, or None if codes are of no use: `fit(xb[:8192], lambda: [xb], len(xb), 160)`.

    What spans the codes is fitted to a sample of (n, dim) float32, their step to all the `rows`
    vectors in the blocks. Codes have `length` bytes; if that is None, as many as make a query read
    the fewest bytes, up to `max_length`.
    """

    def sample_blocks() -> Iterable[F64Matrix]:
        starts = range(0, len(sample), _PCA_BLOCK)
        return (sample[start : start + _PCA_BLOCK].astype(np.float64) for start in starts)

    max_count = max_length - RESIDUAL_COPIES
    fitted = pca.fit(sample_blocks, max_count, oversampling=0, iterations=PCA_ITERATIONS)
    mean = fitted.mean.astype(np.float32)
    if length is None:
        length = choose_length(sample.astype(np.float64) - mean, fitted.components, rows)
    if length is None:
        return None
    count = length - RESIDUAL_COPIES
    # Turned at random, all coordinates spread equally, and one step suits them all.
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((count, count)))
    basis = (turn @ fitted.components[:count]).astype(np.float32)
    coder = Coder(np.vstack([basis, mean]), np.zeros(length), 1.0, _orthonormality_error(basis))
    low, high = np.full(length, np.inf), np.full(length, -np.inf)
    for vectors in blocks():
        values = coder.project(vectors).values
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
    step = float((high - low).max()) / 255 or 1.0
    return replace(coder, offset=(low + high - 255 * step) / 2, step=step)


def choose_length(centered: F64Matrix, components: F64Matrix, rows: int) -> int | None:
    """Choose how long codes are: so that a query reads the fewest bytes, by what a sample says.

    A query reads a byte of each row and a column of the basis for each byte of a code, and all of
    the vectors that the codes do not rule out. None if that is more than half of all vectors'
    bytes. `centered` is the sample, (n, dim), and `components` (count, dim) its principal ones.
    """
    lengths = np.arange(_LENGTH_MULTIPLE, len(components) + RESIDUAL_COPIES + 1, _LENGTH_MULTIPLE)
    projections = np.zeros((len(centered), lengths[-1]), np.float32)
    projections[:, RESIDUAL_COPIES:] = centered @ components.T
    dim, candidates = centered.shape[1], np.zeros(len(lengths))
    k = max(1, round(_SAMPLE_NEIGHBORS * len(centered) / rows))  # as near as 10 among all rows
    for query in np.linspace(0, len(centered) - 1, _SAMPLE_QUERIES).astype(np.int64):
        limit = np.partition(_norms(centered - centered[query]), k)[k]  # the nearest is itself
        squares = (projections - projections[query]) ** 2
        squares = squares.reshape(len(centered), len(lengths), _LENGTH_MULTIPLE).sum(axis=2)
        is_candidate = np.cumsum(squares, axis=1) <= limit**2
        candidates += is_candidate.mean(axis=0) * rows / _SAMPLE_QUERIES
    bytes_read = lengths * (rows + 4 * dim) + _SCATTERED_READ_COST * 4 * dim * candidates
    best = int(np.argmin(bytes_read))
    return int(lengths[best]) if bytes_read[best] < rows * 4 * dim / 2 else None


def _orthonormality_error(basis: F32Matrix) -> float:
    """η: a bound of ‖VVᵀ − I‖."""
    exact = basis.astype(np.float64)
    return float(np.linalg.norm(exact @ exact.T - np.eye(len(exact)))) * (1 + SLACK) + SLACK


def _project(
    centered: F64Matrix, sums: F64Matrix, sum_error: float, orthonormality_error: float
) -> Projections:
    """P from V's sums, which are off by `sum_error` relative to the norms, beside float64's error.

    The last coordinates are what the sums leave of the norm.
    """
    count, dim = sums.shape[1], centered.shape[1]
    norm, inside = _norms(centered), _norms(sums)
    error_of_sum = (sum_error + SLACK) * norm + 2 * flush_error(dim)
    error = error_of_sum * np.sqrt(count * (1 + orthonormality_error))
    residual = np.sqrt(np.maximum(norm**2 - inside**2, 0))
    square_error = 2 * error * (inside + error) + 2 * (orthonormality_error + SLACK) * norm**2
    residual_error = square_error / np.maximum(residual, np.sqrt(square_error))
    copies = np.repeat(residual[:, np.newaxis] / np.sqrt(RESIDUAL_COPIES), RESIDUAL_COPIES, axis=1)
    return Projections(np.concatenate([sums, copies], axis=1), np.hypot(error, residual_error))


def _norms(rows: F64Matrix) -> F64Vector:
    norms: F64Vector = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return norms
