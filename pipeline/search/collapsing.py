"""Collapse: of near-duplicates in a list only the first is shown, and the others hidden behind it.

Behind what is *shown*: if A is like B and B like C, and A is shown, B is hidden, and C is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.duplicates.near_duplicates import NearDuplicates
from pipeline.search.result import FusedHit


def collapse(
    photos: Sequence[bytes], distances: Sequence[float], k: int, duplicates: NearDuplicates
) -> dict[int, list[int]]:
    """Return the positions of the first k that are shown → those of what each hides.

    Photos are SHA-256, in the order of distances. What is further away than the last that is shown
    is hidden by none, so the answer does not depend on how much further the list goes.

        collapse([a, copy_of_a, b], [0.1, 0.2, 0.3], k=2, duplicates)  # {0: [1], 2: []}
    """
    hidden: dict[int, list[int]] = {}
    for position, (photo, distance) in enumerate(zip(photos, distances, strict=True)):
        shown = list(hidden)
        if len(shown) == k and distance > distances[shown[-1]]:
            break
        like = duplicates.first_like(photo, [photos[i] for i in shown])
        if like is not None:
            hidden[shown[like]].append(position)
        elif len(shown) < k:
            hidden[position] = []
    return hidden


def collapse_fused(
    hits: Sequence[FusedHit], k: int, duplicates: NearDuplicates
) -> tuple[FusedHit, ...]:
    """Return the first k hits of a fused list of which none is a near-duplicate of another."""
    photos = [bytes.fromhex(hit.sha256) for hit in hits]
    places = collapse(photos, [-hit.score for hit in hits], k, duplicates)
    return tuple(
        replace(hits[first], rank=rank, similar=_similar(hits, first, hidden))
        for rank, (first, hidden) in enumerate(places.items(), 1)
    )


def _similar(hits: Sequence[FusedHit], first: int, hidden: Sequence[int]) -> tuple[int, ...]:
    """What a hit hides, by itself and behind what it hides; each item once."""
    ids = [id_ for i in (first, *hidden) for id_ in (hits[i].item.id, *hits[i].similar)]
    return tuple(dict.fromkeys(id_ for id_ in ids if id_ != hits[first].item.id))
