"""Collapse a fused list: what one engine shows may be a near-duplicate of what another shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.duplicates.near_duplicates import NearDuplicates
from pipeline.search.collapsing import collapse
from pipeline.search.result import FusedHit


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
