"""The kinds of findings: each a function of the ledger, or of what was measured of the photos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np

from pipeline.catalog import stats as catalog_stats
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.stats import ItemSummary, Spread
from pipeline.duplicates.hamming import Rows
from pipeline.maintenance.audit.findings import AuditLimits, Example, Finding, Group
from pipeline.maintenance.audit.measures import LUMA_STEP, Measures
from pipeline.report.text import counted

T = TypeVar("T")


def without_photo(catalog: Catalog, limits: AuditLimits) -> Finding:
    """Items that are not available, by how they ended."""
    states = list(catalog_stats.without_photo(catalog))
    groups = []
    for state, reason, count in states[: limits.examples]:
        shown = catalog_stats.items_in_state(catalog, state, reason, limits.members)
        label = f"{state}: {reason}" if reason else state
        groups.append(Group(label, count, _examples(shown)))
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
        groups.append(Group(_how_different(spread), spread.items, _examples(shown)))
    title = "One photo on several items"
    meaning = "Photos that are, byte for byte, those of several items."
    return Finding(title, meaning, "photo", "item", count, tuple(groups), count)


def small(catalog: Catalog, limits: AuditLimits) -> Finding:
    """Photos that arrived with too few pixels."""
    first, count = _first_of(catalog_stats.small_photos(catalog, limits.side), limits.examples)
    shown = _first_items(catalog, first)
    meaning = f"Photos that arrived with a shorter side of less than {limits.side} pixels."
    measure = "pixels of the shorter side"
    return _one_group("Very small photos", meaning, "photo", count, shown, measure)


def small_categories(catalog: Catalog, limits: AuditLimits) -> Finding:
    """Categories with so few items that their neighbors are of other categories."""
    first, count = _first_of(catalog_stats.small_categories(catalog, limits.items), limits.examples)
    groups = []
    for name, size in first:
        shown = catalog_stats.items_of_category(catalog, name, limits.members)
        groups.append(Group(name, size, _examples(shown)))
    title = "Categories with few items"
    meaning = f"Categories with fewer than {counted(limits.items, 'available item')}."
    return Finding(title, meaning, "category", "item", count, tuple(groups), count)


def without_category(catalog: Catalog, limits: AuditLimits) -> Finding:
    """Available items of no category."""
    shown = catalog_stats.items_of_category(catalog, "", limits.examples)
    title = "Items without a category"
    meaning = "Available items that the source gives no category."
    count = catalog_stats.category_size(catalog, "")
    return _one_group(title, meaning, "item", count, _examples(shown))


class Cluster(NamedTuple):
    """A cluster of near-identical photos: rows of the measures, and how many items show them."""

    rows: Rows
    spread: Spread


def near_identical(
    catalog: Catalog, measures: Measures, clusters: Sequence[Cluster], limits: AuditLimits
) -> Finding:
    """Clusters of distinct photos that look the same, the largest first."""
    groups = []
    for rows, spread in clusters[: limits.examples]:
        members = measures[rows[: limits.members]]
        bits = np.bitwise_count(members["hash"] ^ members["hash"][0]).sum(axis=1)
        shown = _first_items(catalog, zip(members["photo"].tolist(), bits.tolist(), strict=True))
        label = f"on {counted(spread.items, 'item')}, {_how_different(spread)}"
        groups.append(Group(label, len(rows), shown))
    title, measure = "Near-identical photos", "bits from the first"
    meaning = (
        "Different files that look the same: perceptual hashes at most"
        f" {limits.distance} of 256 bits apart, colors at most {limits.color} of 256 levels, and"
        f" brightness about {LUMA_STEP * limits.color}."
    )
    photos, count = sum(len(rows) for rows, _ in clusters), len(clusters)
    return Finding(title, meaning, "photo", "photo", photos, tuple(groups), count, measure)


def across_categories(
    catalog: Catalog, measures: Measures, clusters: Sequence[Cluster], limits: AuditLimits
) -> Finding:
    """Pictures (photos, or clusters of near-identical ones) of items of several categories."""
    pictures: list[tuple[Spread, list[int]]] = [
        (spread, measures["photo"][rows].tolist())
        for rows, spread in clusters
        if spread.categories >= limits.categories
    ]
    clustered = {photo for _, photos in pictures for photo in photos}
    pictures += (
        (spread, [photo])
        for photo, spread in catalog_stats.shared_photos(catalog)
        if spread.categories >= limits.categories and photo not in clustered
    )
    pictures.sort(key=lambda picture: (-picture[0].categories, -picture[0].items, picture[1]))
    groups = []
    for spread, photos in pictures[: limits.examples]:
        shown = catalog_stats.categories_showing(catalog, photos, limits.members)
        groups.append(Group(_how_different(spread), spread.items, _examples(shown)))
    title = "Likely placeholders: one picture in several categories"
    meaning = (
        f"Photos, or clusters of near-identical ones, that items of {limits.categories} or more"
        " categories show. The examples are one item of each category."
    )
    count = len(pictures)
    return Finding(title, meaning, "picture", "item", count, tuple(groups), count)


def plain(catalog: Catalog, measures: Measures, limits: AuditLimits) -> Finding:
    """Photos that are nearly of one color, the plainest first."""
    photos = measures[measures["plain"] >= limits.plain]
    photos = photos[np.argsort(-photos["plain"], kind="stable")]
    shown = _first_items(catalog, _values(photos[: limits.examples], "plain"))
    title = "Likely placeholders: plain pictures"
    meaning = f"Photos of which {limits.plain:.0%} or more is of one color."
    return _one_group(title, meaning, "photo", len(photos), shown, "share of one color")


def blurred(catalog: Catalog, measures: Measures, limits: AuditLimits) -> Finding:
    """Photos without a sharp edge, the worst first; plain pictures have none and are left out."""
    is_blurred = (measures["sharpness"] < limits.sharpness) & (measures["plain"] < limits.plain)
    photos = measures[is_blurred]
    photos = photos[np.argsort(photos["sharpness"], kind="stable")]
    shown = _first_items(catalog, _values(photos[: limits.examples], "sharpness"))
    meaning = (
        f"Photos whose strongest edges are weaker than {limits.sharpness:g} of their contrast, seen"
        " at 256 pixels: out of focus, or enlarged from a smaller one."
    )
    return _one_group("Blurred photos", meaning, "photo", len(photos), shown, "sharpness")


def unreadable(
    catalog: Catalog, reasons: Mapping[str, Sequence[int]], limits: AuditLimits
) -> Finding:
    """Photos that were there when they were ingested, by what is wrong with them now."""
    groups = []
    for reason, photos in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        shown = _first_items(catalog, ((photo, None) for photo in photos[: limits.members]))
        groups.append(Group(reason, len(photos), shown))
    title = "Unreadable photos"
    meaning = (
        "Photos that can no longer be read as they were ingested. `imgsearch build` looks again."
    )
    count = sum(map(len, reasons.values()))
    return Finding(title, meaning, "photo", "photo", count, tuple(groups), len(groups))


def _one_group(
    title: str, meaning: str, unit: str, count: int, shown: tuple[Example, ...], measure: str = ""
) -> Finding:
    """Return a finding whose examples are one list."""
    groups = (Group("", count, shown),) if count else ()
    return Finding(title, meaning, unit, unit, count, groups, len(groups), measure)


def _first_items(
    catalog: Catalog, photos: Iterable[tuple[int, float | None]]
) -> tuple[Example, ...]:
    """Turn (image id, measure) into the first item that shows each photo."""
    return tuple(
        Example(**vars(shown), measure=measure)
        for photo, measure in photos
        for shown in catalog_stats.items_showing(catalog, photo, 1)
    )


def _examples(shown: Sequence[ItemSummary]) -> tuple[Example, ...]:
    """Return items as examples, of which nothing was measured."""
    return tuple(Example(**vars(item)) for item in shown)


def _how_different(spread: Spread) -> str:
    """`2 names, 1 category`: how different the items are."""
    return f"{counted(spread.names, 'name')}, {counted(spread.categories, 'category')}"


def _first_of(stream: Iterable[T], limit: int) -> tuple[list[T], int]:
    """Return the first of a stream, and how many there are in all."""
    rest = iter(stream)
    first = list(islice(rest, limit))
    return first, len(first) + sum(1 for _ in rest)


def _values(photos: Measures, name: str) -> list[tuple[int, float]]:
    return list(zip(photos["photo"].tolist(), photos[name].tolist(), strict=True))
