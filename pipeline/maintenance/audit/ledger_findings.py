"""Findings from the ledger alone; no photo is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeVar

from pipeline.catalog import stats as catalog_stats
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.stats import ItemSummary, Spread
from pipeline.maintenance.audit.findings import AuditLimits, Example, Finding, Group
from pipeline.report.text import counted

T = TypeVar("T")


def without_photo(catalog: Catalog, limits: AuditLimits) -> Finding:
    """Items that are not available, by how they ended."""
    states = list(catalog_stats.without_photo(catalog))
    groups = []
    for state, reason, count in states[: limits.examples]:
        shown = catalog_stats.items_in_state(catalog, state, reason, limits.members)
        label = f"{state}: {reason}" if reason else state
        groups.append(Group(label, count, examples(shown)))
    title = "Items without a photo"
    meaning = "Items that no photo can be shown of, by how they ended. No photo finds them."
    total = sum(count for *_, count in states)
    return Finding(title, meaning, "item", "item", total, tuple(groups), len(states))


def shared_photos(catalog: Catalog, limits: AuditLimits) -> Finding:
    """Photos that several items show, byte for byte the same; those of most items first."""
    groups = []
    first, count = _first_of(catalog_stats.shared_photos(catalog), limits.examples)
    for photo, spread in first:
        shown = catalog_stats.items_showing(catalog, photo, limits.members)
        groups.append(Group(how_different(spread), spread.items, examples(shown)))
    title = "One photo on several items"
    meaning = "Photos that are, byte for byte, those of several items."
    return Finding(title, meaning, "photo", "item", count, tuple(groups), count)


def small(catalog: Catalog, limits: AuditLimits) -> Finding:
    """Photos that arrived with too few pixels."""
    first, count = _first_of(catalog_stats.small_photos(catalog, limits.side), limits.examples)
    shown = first_items(catalog, first)
    meaning = f"Photos that arrived with a shorter side of less than {limits.side} pixels."
    measure = "pixels of the shorter side"
    return one_group("Very small photos", meaning, "photo", count, shown, measure)


def small_categories(catalog: Catalog, limits: AuditLimits) -> Finding:
    """Categories with so few items that their neighbors are of other categories."""
    first, count = _first_of(catalog_stats.small_categories(catalog, limits.items), limits.examples)
    groups = []
    for name, size in first:
        shown = catalog_stats.items_of_category(catalog, name, limits.members)
        groups.append(Group(name, size, examples(shown)))
    title = "Categories with few items"
    meaning = f"Categories with fewer than {counted(limits.items, 'available item')}."
    return Finding(title, meaning, "category", "item", count, tuple(groups), count)


def without_category(catalog: Catalog, limits: AuditLimits) -> Finding:
    """Available items of no category."""
    shown = catalog_stats.items_of_category(catalog, "", limits.examples)
    title = "Items without a category"
    meaning = "Available items that the source gives no category."
    count = catalog_stats.category_size(catalog, "")
    return one_group(title, meaning, "item", count, examples(shown))


def one_group(
    title: str, meaning: str, unit: str, count: int, shown: tuple[Example, ...], measure: str = ""
) -> Finding:
    """Return a finding whose examples are one list."""
    groups = (Group("", count, shown),) if count else ()
    return Finding(title, meaning, unit, unit, count, groups, len(groups), measure)


def first_items(
    catalog: Catalog, photos: Iterable[tuple[int, float | None]]
) -> tuple[Example, ...]:
    """Turn (image id, measure) into the first item that shows each photo."""
    return tuple(
        Example(**vars(shown), measure=measure)
        for photo, measure in photos
        for shown in catalog_stats.items_showing(catalog, photo, 1)
    )


def examples(shown: Sequence[ItemSummary]) -> tuple[Example, ...]:
    """Return items as examples, of which nothing was measured."""
    return tuple(Example(**vars(item)) for item in shown)


def how_different(spread: Spread) -> str:
    """`2 names, 1 category`: how different the items are."""
    return f"{counted(spread.names, 'name')}, {counted(spread.categories, 'category')}"


def _first_of(stream: Iterable[T], limit: int) -> tuple[list[T], int]:
    """Return the first of a stream, and how many there are in all."""
    rest = iter(stream)
    first = list(islice(rest, limit))
    return first, len(first) + sum(1 for _ in rest)
