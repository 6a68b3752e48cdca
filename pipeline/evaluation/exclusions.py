"""Who is not to be found by whom: items that share a photo, or a product, with the query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


@dataclass
class LeftOut:
    """How many were left out so far."""

    queries: int = 0
    """Queries from whose lists any item was."""
    pairs: int = 0
    """Pairs of a query and an item that was left out of its list."""

    def add(self, items: int) -> None:
        """Count one query's."""
        self.queries += bool(items)
        self.pairs += items


@dataclass
class Exclusions:
    """What items of a gallery share with queries, of one kind: photos, or a product."""

    gallery: Sequence[Sequence[Hashable]]
    """What each item has."""
    queries: Sequence[Sequence[Hashable]]
    """What each query has."""
    left_out: LeftOut = field(default_factory=LeftOut)

    def __post_init__(self) -> None:
        self._who: dict[Hashable, list[int]] = defaultdict(list)
        for item, things in enumerate(self.gallery):
            for thing in things:
                self._who[thing].append(item)

    def leave_out(self, query: int, itself: int | None) -> Ids:
        """Return the items that share anything with a query, and count those not `itself`."""
        shared = {item for thing in self.queries[query] for item in self._who.get(thing, ())}
        shared.discard(-1 if itself is None else itself)
        self.left_out.add(len(shared))
        return np.array(sorted(shared), np.int64)


def all_left_out(sharing: Iterable[Exclusions], query: int, itself: int | None) -> Ids:
    """Return the positions of all items that a query is not to find: also the one that asks."""
    own = np.array([] if itself is None else [itself], np.int64)
    return np.unique(np.concatenate([own, *(one.leave_out(query, itself) for one in sharing)]))
