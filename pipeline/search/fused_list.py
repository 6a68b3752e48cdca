"""What is shown of a fused list: by tiers of words, and of near-duplicates only the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.catalog.words import WordMatches
from pipeline.search.collapsing import collapse
from pipeline.search.result import FusedHit

if TYPE_CHECKING:
    from pipeline.duplicates.near_duplicates import NearDuplicates


def first_fused(
    hits: Sequence[FusedHit], k: int, words: WordMatches | None, duplicates: NearDuplicates | None
) -> tuple[FusedHit, ...]:
    """Return the first k hits of a whole fused list.

    With `words`, items that have more of them go first, as in the lists that were fused. With
    `duplicates`, what one engine shows may hide what another one does.

        first_fused(fuse(lists, 200), 3, spec.filter.words, spec.filter.duplicates)
    """
    tiers = {} if words is None else _tiers(words)
    hits = sorted(hits, key=lambda hit: tiers.get(hit.item.id, 0))  # in a tier as they are
    if duplicates is None:
        return tuple(replace(hit, rank=rank) for rank, hit in enumerate(hits[:k], 1))
    photos = [bytes.fromhex(hit.sha256) for hit in hits]
    places = [(tiers.get(hit.item.id, 0), -hit.score) for hit in hits]
    shown = collapse(photos, places, k, duplicates)
    return tuple(
        replace(hits[first], rank=rank, similar=_similar(hits, first, hidden))
        for rank, (first, hidden) in enumerate(shown.items(), 1)
    )


def _tiers(words: WordMatches) -> Mapping[int, int]:
    """Item → how many of the words it lacks."""
    return dict(zip(words.items.tolist(), (len(words.terms) - words.counts).tolist(), strict=True))


def _similar(hits: Sequence[FusedHit], first: int, hidden: Sequence[int]) -> tuple[int, ...]:
    """What a hit hides, by itself and behind what it hides; each item once."""
    ids = [id_ for i in (first, *hidden) for id_ in (hits[i].item.id, *hits[i].similar)]
    return tuple(dict.fromkeys(id_ for id_ in ids if id_ != hits[first].item.id))
