"""rounding.py: its bounds against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pipeline.index.rounding import SLACK, expanded_square_error, flush_error, relative_error

TYPES = (np.float32, np.float64)


def summed(terms: np.ndarray) -> np.floating:
    """A sum term by term, which rounds the most."""
    total = terms.dtype.type(0)
    for term in terms:
        total = total + term
    return total


def exact_squared_distance(x: np.ndarray, q: np.ndarray) -> Fraction:
    return sum(
        ((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(x, q, strict=True)),
        Fraction(0),
    )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", [1, 2, 40, 700])
def test_sums_of_squared_differences_are_within_the_relative_error(
    dtype: type[np.floating], n: int
) -> None:
    rng = np.random.default_rng(n)
    for scale in (1e-3, 1, 1e3):
        x = (scale * rng.standard_normal(n)).astype(dtype)
        q = (x + scale * 1e-3 * rng.standard_normal(n)).astype(dtype)
        true = exact_squared_distance(x, q)
        off = abs(Fraction(float(summed((x - q) ** 2))) - true)
        assert off <= Fraction(relative_error(n, dtype)) * true


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", [1, 40, 700])
def test_expanded_squares_are_within_their_error(dtype: type[np.floating], n: int) -> None:
    rng = np.random.default_rng(n)
    for distance in (1.0, 1e-4):
        x = (5 + rng.standard_normal(n)).astype(dtype)
        q = (x + distance * rng.standard_normal(n)).astype(dtype)
        computed = summed(x * x) + summed(q * q) - dtype(2) * summed(x * q)
        off = abs(Fraction(float(computed)) - exact_squared_distance(x, q))
        norms = float(np.linalg.norm(x.astype(float)) + np.linalg.norm(q.astype(float)))
        assert off <= Fraction(expanded_square_error(n, norms, dtype) * (1 + SLACK))


def test_the_bounds_are_not_idle() -> None:
    """An error of that size happens: one addition that is lost in each of n."""
    n = 4096
    terms = np.full(n, 2.0**-25, np.float32)
    terms[0] = 1
    off = 1 + (n - 1) * 2.0**-25 - float(summed(terms))
    assert relative_error(n) / 3 < off < relative_error(n)


def test_the_slack_covers_sums_in_float64() -> None:
    assert 4 * relative_error(2**20, np.float64) < SLACK


def test_squares_that_vanish_are_within_the_flush_error() -> None:
    x = np.full(100, 1e-30, np.float32)
    assert float(summed(x * x)) == 0
    assert flush_error(100) > 100 * 1e-60
