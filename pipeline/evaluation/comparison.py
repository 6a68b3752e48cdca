"""What several engines answer to the same queries, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.search.result import FusedHit, Hit


@dataclass(frozen=True)
class Agreement:
    """How similar the lists of two engines are, 0..1."""

    engines: tuple[str, str]
    overlap: float
    """The share of the k nearest that they have in common."""
    rbo: float
    """Rank-biased overlap of their first 100, extrapolated, with p = 0.9."""


@dataclass(frozen=True)
class QueryComparison:
    """One query's lists."""

    query: str
    """The photo's path, or the item's key."""
    item: int | None
    label: str | None
    lists: Mapping[str, Sequence[Hit]]
    """Engine → its k nearest items."""
    fused: Sequence[FusedHit]
    right: Mapping[str, bool] | None
    """Engine → whether the nearest item, of those that do not share a photo with the query, has its
    label; None if the query has none, or an engine found nothing else."""
    agreements: Sequence[Agreement]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self) | {
            "lists": {name: [hit.to_dict() for hit in hits] for name, hits in self.lists.items()},
            "fused": [hit.to_dict() for hit in self.fused],
        }


@dataclass(frozen=True)
class Pair:
    """Two items that are mutual nearest neighbors under every engine."""

    items: tuple[int, int]
    """Ids, ascending."""
    keys: tuple[str, str]
    labels: tuple[str | None, str | None]
    distances: Mapping[str, float]
    """Engine → the distance between them."""
    same_photo: bool
    """Whether they show a photo that is, byte for byte, the same."""


@dataclass(frozen=True)
class Comparison:
    """What several engines answer to the same queries."""

    catalog: str
    publication: int
    """The number of the publication that was asked."""
    label: str | None
    """None if no item has it."""
    k: int
    answers: tuple[QueryComparison, ...]
    failed: Mapping[str, str]
    """Photo → why it is no query."""
    agreements: tuple[Agreement, ...]
    """Means over the queries."""
    right: Mapping[str, int]
    """Which engines were right, joined by `+` (empty: none) → how many queries."""
    near_identical: tuple[Pair, ...]
    warnings: Mapping[str, str]
    """Engine → what to know before believing its answers."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; what `imgsearch compare --json` prints."""
        return asdict(self) | {"answers": [answer.to_dict() for answer in self.answers]}
