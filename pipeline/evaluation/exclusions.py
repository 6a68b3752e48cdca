"""Which items a query is not to find: those that share a photo, or a product, with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from pipeline.index.base import Ids

Value = TypeVar("Value", bound=Hashable)


class SharedValues(Generic[Value]):
    """Which items share a value: a photo, byte for byte, or a product."""

    def __init__(self, pairs: Iterable[tuple[Value, int]]) -> None:
        """Take (value, item) pairs: `SharedValues(catalog.photo_item_pairs())`."""
        self._values: dict[int, dict[Value, None]] = defaultdict(dict)  # in order, each once
        self._items: dict[Value, set[int]] = defaultdict(set)
        for value, item in pairs:
            self._values[item][value] = None
            self._items[value].add(item)

    def values(self, item: int) -> list[Value]:
        """Return an item's values, in the order in which they were given."""
        return list(self._values.get(item, ()))

    def items_with(self, values: Iterable[Value]) -> set[int]:
        """Return the items that have any of these values."""
        return set().union(*(self._items.get(value, ()) for value in values))

    def sharing(self, item: int) -> set[int]:
        """Return the items that share a value with an item; itself too, if it has any."""
        return self.items_with(self.values(item))

    def is_shared(self, item: int, other: int) -> bool:
        """Whether two items share a value."""
        return other in self.sharing(item)


@dataclass(frozen=True)
class ExcludedCount:
    """How many items were excluded from the lists of how many queries."""

    queries: int = 0
    pairs: int = 0
    """Pairs of a query and an item that was excluded from its list."""

    @classmethod
    def of(cls, excluded: Iterable[Ids]) -> ExcludedCount:
        """Count each query's excluded items."""
        sizes = [len(items) for items in excluded]
        return cls(sum(size > 0 for size in sizes), sum(sizes))

    def __add__(self, other: ExcludedCount) -> ExcludedCount:
        return ExcludedCount(self.queries + other.queries, self.pairs + other.pairs)


@dataclass(frozen=True)
class Exclusions(Generic[Value]):
    """What items of a gallery share with queries, of one kind: photos, or a product."""

    gallery: SharedValues[Value]
    """By the items' positions in the gallery."""
    queries: Sequence[Sequence[Value]]
    """The values of each query."""

    def excluded(self, query: int, query_item: int | None) -> Ids:
        """Return the positions of other items that share a value with a query, ascending.

        `query_item` is the position of the query itself, if it is an item of the gallery.
        """
        items = self.gallery.items_with(self.queries[query]) - {query_item}
        return np.array(sorted(items), np.int64)
