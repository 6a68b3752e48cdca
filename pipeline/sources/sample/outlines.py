"""Outlines: a few points → the whole, smooth outline of a part.

Coordinates are units of a square of side 100, x to the right, y down, the product near its middle.
"""

from __future__ import annotations

from collections.abc import Sequence

Points = Sequence[tuple[float, ...]]
"""Corners of an outline as (x, y), or (x, y, 1) where a smooth outline keeps a sharp corner."""


BOTH = (-1, 1)  # the sides of the axis: left, right


def beside(side: int, points: Points) -> list[tuple[float, ...]]:
    """Place points, given as (distance from the axis x = 50, y), to its right (1) or left (-1)."""
    return [(50 + side * x, *rest) for x, *rest in points]


def mirrored(half: Points) -> list[tuple[float, ...]]:
    """Complete an outline from its right half, (distance from the axis x = 50, y), from the top."""
    return [*beside(1, half), *beside(-1, [point for point in reversed(half) if point[0] != 0])]


def smooth(points: Points, closed: bool = True, steps: int = 10) -> list[tuple[float, float]]:
    """Draw a Catmull-Rom curve through points; those with a third coordinate are sharp corners."""
    knots: list[tuple[float, float]] = []
    for x, y, *corner in points:
        # A doubled knot makes the curve arrive and leave straight.
        knots += [(x, y), (x, y)] if corner else [(x, y)]
    n = len(knots)
    curve: list[tuple[float, float]] = []
    for i in range(n if closed else n - 1):
        around = (i - 1, i, i + 1, i + 2)
        p0, p1, p2, p3 = (knots[j % n if closed else min(max(j, 0), n - 1)] for j in around)
        if p1 == p2:
            continue
        for t in (s / steps for s in range(steps)):
            x, y = (
                b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
                for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
            )
            curve.append((x, y))
    return curve if closed else [*curve, knots[-1]]
