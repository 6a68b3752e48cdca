"""How far off sums of products of floats may be: derived here, once, for all that relies on it.

Let u be the unit roundoff, 2⁻²⁴ for float32 and 2⁻⁵³ for float64. A number to which at most m
roundings were applied is off by a factor of 1 ± γ(m), γ(m) = m·u / (1 − m·u) (Higham, Accuracy and
Stability of Numerical Algorithms, 2nd edition, lemma 3.1). In a sum of n products, added in any
order, no term meets more than n roundings: one of its product, n − 1 of additions (§3.1). So

    |computed Σ aᵢbᵢ − true| ≤ γ(n) · Σ |aᵢ||bᵢ| ≤ γ(n) · ‖a‖‖b‖.

`relative_error(n)` is γ(n + 8): it leaves room for 8 more roundings of each term, of which no
caller needs all. What follows from it:

- **Squared differences**, Σ (xᵢ − qᵢ)²: a difference is rounded once and enters twice, which makes
  n + 2 roundings. All terms are positive, so the sum is off by a factor of at most 1 ± γ.
- **The expanded square**, ‖x‖² + ‖q‖² − 2·x·q: its three sums are off by at most γ times ‖x‖²,
  ‖q‖² and 2‖x‖‖q‖, with the two roundings of adding them up. In all that is γ·(‖x‖ + ‖q‖)²,
  `expanded_square_error`: an absolute error, which says little of vectors far from the origin.
- Products smaller than the smallest normal number may be flushed to zero, each of them:
  `flush_error(n)`.
- Those who compute with bounds in float64 multiply them by 1 + `SLACK`.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

FloatOrArray = TypeVar("FloatOrArray", float, npt.NDArray[np.float64])

UNIT_ROUNDOFF = {np.float32: 2.0**-24, np.float64: 2.0**-53}
MAX_FLOAT32 = float(np.finfo(np.float32).max)
SLACK = 2.0**-30
"""More than the relative error of any float64 sum of up to 2²⁰ products and what is done with it:
`relative_error(2**20, np.float64)` is below 2⁻³²."""
_SMALLEST_NORMAL = 2.0**-126  # of float32
_OTHER_ROUNDINGS = 8  # of a term, besides those of a sum of products


def relative_error(n: int, dtype: type[np.floating] = np.float32) -> float:
    """Bound the error of a sum of n products in `dtype`, relative to the norms multiplied.

    `relative_error(1280)` is 7.7e-05, `relative_error(1280, np.float64)` 1.4e-13.
    """
    roundings = (n + _OTHER_ROUNDINGS) * UNIT_ROUNDOFF[dtype]
    return roundings / (1 - roundings)


def flush_error(n: int) -> float:
    """Bound the error of n float32 products, or squares, where small ones may be flushed to zero.

    `flush_error(1280)` is 1.5e-35.
    """
    return n * _SMALLEST_NORMAL


def expanded_square_error(
    n: int, norms: FloatOrArray, dtype: type[np.floating] = np.float32
) -> FloatOrArray:
    """Bound the error of ‖x‖² + ‖q‖² − 2·x·q, computed in `dtype` from vectors of n numbers.

    `norms` is ‖x‖ + ‖q‖. Without the expansion, of Σ (xᵢ − qᵢ)², give ‖x − q‖ instead.
    """
    return relative_error(n, dtype) * norms**2
