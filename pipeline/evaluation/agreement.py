"""How similar two ranked lists are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

PERSISTENCE = 0.9
"""A reader of a list goes on to the next item with this probability: ten are read on average."""


def overlap(one: Sequence[Hashable], other: Sequence[Hashable], k: int) -> float:
    """Return the share, 0..1, that the first k of two lists have in common.

    If both are shorter, the share of the longer one; 1 if both are empty: `overlap(a, b, 10)`.
    """
    depth = min(k, max(len(one), len(other)))
    return len({*one[:k]} & {*other[:k]}) / depth if depth else 1.0


def rank_biased_overlap(
    one: Sequence[Hashable], other: Sequence[Hashable], p: float = PERSISTENCE
) -> float:
    """Return the extrapolated rank-biased overlap of two lists without repeats, 0..1.

    RBO_ext of Webber, Moffat and Zobel, A similarity measure for indefinite rankings, ACM TOIS
    28(4), 2010, equation 32: the overlap at each depth d, weighted by p^d; beyond the lists' ends
    agreement is assumed to go on as it was. 1 if both are empty, 0 if one of them is.
    """
    short, long = sorted((one, other), key=len)
    if not short:
        return float(not long)
    s, length = len(short), len(long)
    x = [len({*short[:d]} & {*long[:d]}) for d in range(length + 1)]
    total = 0.0
    for d in range(1, length + 1):
        if d > s:
            total += x[s] * (d - s) / (s * d) * p**d
        total += x[d] / d * p**d
    end = (x[length] - x[s]) / length + x[s] / s
    return (1 - p) / p * total + end * p**length
