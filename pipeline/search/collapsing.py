"""Collapse: of near-duplicates in a list only the first is shown, and the others hidden behind it.

Behind what is *shown*: if A is like B and B like C, and A is shown, B is hidden, and C is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.duplicates.near_duplicates import NearDuplicates


def collapse(
    photos: Sequence[bytes],
    distances: Sequence[float | tuple[int, float]],
    k: int,
    duplicates: NearDuplicates,
) -> dict[int, list[int]]:
    """Return the positions of the first k that are shown → those of what each hides.

    Photos are SHA-256, in the order of distances, or of tiers and distances. What is further away
    than the last that is shown is hidden by none, so the answer does not depend on how much
    further the list goes.

        collapse([a, copy_of_a, b], [0.1, 0.2, 0.3], k=2, duplicates)  # {0: [1], 2: []}
    """
    hidden: dict[int, list[int]] = {}
    for position, (photo, distance) in enumerate(zip(photos, distances, strict=True)):
        shown = list(hidden)
        if len(shown) == k and distance > distances[shown[-1]]:  # type: ignore[operator]
            break
        like = duplicates.first_like(photo, [photos[i] for i in shown])
        if like is not None:
            hidden[shown[like]].append(position)
        elif len(shown) < k:
            hidden[position] = []
    return hidden
