"""The options of a search, checked and read once for all of its queries and engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.columns import Groups
from pipeline.catalog.conditions import Condition
from pipeline.errors import QueryError
from pipeline.images import Auto, Region, as_region
from pipeline.publish.tuning import Refining
from pipeline.search.query import Item, Options, RegionOf
from pipeline.search.ranking import SearchFilter
from pipeline.search.word_hits import WordSearch, words_of

if TYPE_CHECKING:
    from pipeline.duplicates.near_duplicates import NearDuplicates


@dataclass(frozen=True)
class SearchSpec:
    """What a search does, whatever its queries are."""

    filter: SearchFilter
    condition: Condition | None
    """That of the filter, as it was given."""
    words: WordSearch
    region: Region | Auto | None
    """The part of each photo that is searched with; None: the whole."""
    look: bool
    like: tuple[int, ...]
    """Items that queries are moved toward; and in `unlike`, away from."""
    unlike: tuple[int, ...]
    refine: Refining | None

    @property
    def examples(self) -> tuple[int, ...]:
        """Items by which queries are moved; they are not found themselves."""
        return (*self.like, *self.unlike)


def read_spec(
    catalog: Catalog,
    duplicates: Callable[[bool | None], NearDuplicates | None],
    region: RegionOf | None,
    options: Options,
) -> SearchSpec:
    """Read options; `duplicates` says what near-duplicates are hidden by, given `collapse`.

        read_spec(catalog, searcher.duplicates, "auto", {"where": "id < 9"})

    Raises:
        QueryError: one of them says nothing, or names what there is not.
        NotBuiltError: what it needs is not there.
    """
    where, group_by = options.get("where"), options.get("group_by")
    nearest, furthest = options.get("min_distance", 0.0), options.get("max_distance", inf)
    if not 0 <= nearest <= furthest:
        raise QueryError(
            f"distances from {nearest} to {furthest}",
            hint="give a smallest one of 0 or more, and a largest one that is not below it",
        )
    condition = None if where is None else Condition(catalog, where)
    group = None if group_by is None else Groups(catalog, group_by)
    words = words_of(catalog, condition, group, options.get("text"))
    return SearchSpec(
        SearchFilter(
            condition,
            nearest,
            furthest,
            None if group is None else group.numbers,
            words.filter,
            duplicates(options.get("collapse")),
        ),
        condition,
        words,
        None if region is None else as_region(region),
        options.get("look", False),
        tuple(map(_id, options.get("like", ()))),
        tuple(map(_id, options.get("unlike", ()))),
        options.get("refine"),
    )


def positive(k: int) -> int:
    """Return k, the number of neighbors asked for.

    Raises:
        QueryError: it is below 1.
    """
    if k <= 0:
        raise QueryError(f"k is {k}", hint="ask for at least 1 neighbor")
    return k


def _id(example: int | Item) -> int:
    return int(example.id if isinstance(example, Item) else Item(example).id)
