"""Short codes of vectors from which a lower bound of their distance follows, for certain.

Let V be (m, dim) with rows that are nearly orthonormal, ‖VVᵀ − I‖ ≤ η, and μ any point. A vector
x has the place P(x) = (V(x−μ), r(x)), where r(x) is the norm of the part of x−μ outside of the span
of V's rows. For z = x−q, of parts z₁ in that span and z₂ outside, ‖Vz‖² ≤ (1+η)·‖z₁‖² and
|r(x)−r(q)| ≤ ‖z₂‖, so that

    ‖P(x) − P(q)‖ ≤ √(1+η) · ‖x − q‖.

With V of the principal components, a few hundred numbers hold most of the distance between vectors
of photos. A code c is P rounded to bytes, P(x) ≈ offset + step·c(x), no farther off than is known,
‖P(x) − offset − step·c(x)‖ ≤ e(x). So by the triangle inequality

    step·‖c(x) − c(q)‖ ≤ √(1+η)·‖x − q‖ + e(x) + e(q),

where ‖c(x) − c(q)‖² is a whole number. Whatever is rounded on the way to a code goes into its e:

- η is measured in float64 for the float32 numbers that V consists of, so V's own rounding is no
  error: catalog and queries use the same V.
- A product summed in float32 over n numbers is off by at most n·2⁻²⁴·‖V_j‖‖x−μ‖ in any order
  (Higham, Accuracy and Stability of Numerical Algorithms, §3.1); n is kept small by adding the sums
  of a few hundred numbers in float64. For m of them, √m times that.
- r² = ‖x−μ‖² − ‖V(x−μ)‖² is off by τ = 2·‖V(x−μ)‖·(the above) + 2η·‖x−μ‖², so r by at most
  τ/r, and never by more than √τ.
- Rounding in float64 is smaller by 2⁻²⁹ and covered by `_SLACK`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.index.base import F32Matrix, F64Matrix, F64Vector
from pipeline.index.vectors import import_faiss

_SUMMED = 512  # numbers that are summed in float32
_SLACK = 2.0**-30  # relative; sums of up to 2²⁰ numbers in float64 are off by less
_TINY = 2.0**-126  # products below it may be flushed to zero
_COPIES = 8  # r as so many numbers r/√8, that spread less than r does: their step suits the others
_ROUNDS = 3  # of subspace iteration
_MULTIPLE = 32  # of which a code's length is one: FAISS has fast kernels for such
_TRIED = 32  # rows of the sample, as queries
_NEIGHBORS = 10  # that they look for
_SCATTERED = 6  # bytes read in turn for one here and there: measured 3 to 4, more from a disk


@dataclass(frozen=True)
class Projections:
    """P of some vectors, as far as it could be computed."""

    values: F64Matrix
    """(n, length) float64."""
    errors: F64Vector
    """(n,) float64: no true place is farther from its values than this."""


@dataclass(frozen=True)
class Codes:
    """Projections rounded to bytes."""

    values: npt.NDArray[np.uint8]
    """(n, length) uint8."""
    errors: F64Vector
    """(n,) float64: e, no true place is farther from its code than this."""


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

    @property
    def length(self) -> int:
        """Bytes of a code."""
        return len(self.offset)

    def project(self, vectors: F32Matrix) -> Projections:
        """Place (n, dim) float32, with all sums in float64."""
        centered = vectors - self._mean
        return _project(centered, centered @ self._basis64.T, 0.0, self.orthonormality_error)

    def project_queries(self, queries: F32Matrix) -> Projections:
        """Place (n, dim) float32 fast, with most sums in float32: errors are a little wider."""
        centered = queries - self._mean
        sums = np.zeros((len(centered), len(self.basis) - 1))
        with np.errstate(over="ignore", invalid="ignore"):  # then the error is not finite
            rounded = centered.astype(np.float32)
            for start, product in self._products:
                sums += product.apply(rounded[:, start : start + _SUMMED])
            return _project(centered, sums, (_SUMMED + 8) * 2.0**-24, self.orthonormality_error)

    def codes(self, places: Projections) -> Codes:
        """Round places to bytes."""
        scaled = (places.values - self.offset) / self.step
        codes = np.rint(np.clip(scaled, 0, 255))
        errors = (self.step * _norms(scaled - codes) + places.errors) * (1 + _SLACK)
        unknown = ~np.isfinite(errors)  # too large for float32: bounded by nothing
        codes[unknown], errors[unknown] = 0, np.inf
        return Codes(codes.astype(np.uint8), errors)

    def code_distance_bound(self, distance: float, errors: float) -> float:
        """Bound the squared distance of the codes of two vectors not farther apart than `distance`.

        `errors` is e(x) + e(q). The squared distance may be summed in float32 in any order, and is
        strictly below the bound.
        """
        apart = (
            (distance * np.sqrt(1 + self.orthonormality_error) + errors) * (1 + _SLACK) / self.step
        )
        squared = apart**2 * (1 + 2 * (self.length + 3) * 2.0**-24) + 0.5
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
        for start in range(0, dim, _SUMMED):
            part = np.ascontiguousarray(self.basis[:-1, start : start + _SUMMED])
            product = faiss.LinearTransform(part.shape[1], count)
            faiss.copy_array_to_vector(part.ravel(), product.A)
            product.is_trained = True
            products.append((start, product))
        return products


def fit(
    sample: F32Matrix, blocks: Callable[[], Iterable[F32Matrix]], rows: int, most: int
) -> Coder | None:
    """Fit a coder of codes of at most `most` bytes, or of none if none is of use.

    What spans the codes is fitted to a sample of (n, dim) float32, their step to all the `rows`
    vectors in the blocks.
    """
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    centered = sample.astype(np.float64) - mean
    components = _components(centered, most - _COPIES)
    length = _length(centered, components, rows)
    if length is None:
        return None
    count = length - _COPIES
    # Turned at random, all coordinates spread equally, and one step suits them all.
    turned, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((count, count)))
    basis = (turned @ components[:count]).astype(np.float32)
    exact = basis.astype(np.float64)
    orthonormality_error = (
        float(np.linalg.norm(exact @ exact.T - np.eye(count))) * (1 + _SLACK) + _SLACK
    )
    coder = Coder(np.vstack([basis, mean]), np.zeros(length), 1.0, orthonormality_error)
    low, high = np.full(length, np.inf), np.full(length, -np.inf)
    for vectors in blocks():
        values = coder.project(vectors).values
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
    step = float((high - low).max()) / 255 or 1.0
    return replace(coder, offset=(low + high - 255 * step) / 2, step=step)


def _length(centered: F64Matrix, components: F64Matrix, rows: int) -> int | None:
    """Choose how long codes are: so that a query reads the fewest bytes, as the sample has it.

    It reads a byte a row and a column of the basis for each byte of a code, and the vectors that
    are left. None if that is more than half of all vectors' bytes.
    """
    lengths = np.arange(_MULTIPLE, len(components) + _COPIES + 1, _MULTIPLE)
    places = np.zeros((len(centered), lengths[-1]), np.float32)
    places[:, _COPIES:] = centered @ components.T
    dim, left = centered.shape[1], np.zeros(len(lengths))
    k = max(1, round(_NEIGHBORS * len(centered) / rows))  # as near as that many among all rows
    for query in np.linspace(0, len(centered) - 1, _TRIED).astype(np.int64):
        limit = np.partition(_norms(centered - centered[query]), k)[k]  # the nearest is itself
        squares = (places - places[query]) ** 2
        squares = squares.reshape(len(places), len(lengths), _MULTIPLE).sum(axis=2)
        left += (np.cumsum(squares, axis=1) <= limit**2).mean(axis=0) * rows / _TRIED
    read = lengths * (rows + 4 * dim) + _SCATTERED * 4 * dim * left
    best = int(np.argmin(read))
    return int(lengths[best]) if read[best] < rows * 4 * dim / 2 else None


def _components(centered: F64Matrix, count: int) -> F64Matrix:
    """(n, dim) → about the first `count` principal components, (count, dim), by subspace iteration.

    Halko, Martinsson and Tropp, Finding Structure with Randomness, algorithm 4.4. Bounds hold for
    any basis; a better one only leaves less to verify.
    """
    start = np.random.default_rng(0).standard_normal((centered.shape[1], count))
    basis, _ = np.linalg.qr(start)
    for _ in range(_ROUNDS):
        basis, _ = np.linalg.qr(centered.T @ (centered @ basis))
    small = centered @ basis
    _, turned = np.linalg.eigh(small.T @ small)
    components: F64Matrix = (basis @ turned[:, ::-1]).T
    return components


def _project(
    centered: F64Matrix, sums: F64Matrix, rounding: float, orthonormality_error: float
) -> Projections:
    """P from V's sums, which are off by `rounding` relative to the norms multiplied, or float64's.

    The last coordinates are what the sums leave of the norm.
    """
    count, dim = sums.shape[1], centered.shape[1]
    norm, inside = _norms(centered), _norms(sums)
    off = ((rounding + _SLACK) * norm + 2 * dim * _TINY) * np.sqrt(
        count * (1 + orthonormality_error)
    )
    rest = np.sqrt(np.maximum(norm**2 - inside**2, 0))
    square_off = 2 * off * (inside + off) + 2 * (orthonormality_error + _SLACK) * norm**2
    rest_off = square_off / np.maximum(rest, np.sqrt(square_off))
    copies = np.repeat(rest[:, np.newaxis] / np.sqrt(_COPIES), _COPIES, axis=1)
    return Projections(np.concatenate([sums, copies], axis=1), np.hypot(off, rest_off))


def _norms(rows: F64Matrix) -> F64Vector:
    norms: F64Vector = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return norms
