"""Findings from what was measured of the photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.catalog import stats as catalog_stats
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.stats import Spread
from pipeline.maintenance.audit.findings import AuditLimits, Finding, Group
from pipeline.maintenance.audit.ledger_findings import (
    examples,
    first_items,
    how_different,
    one_group,
)
from pipeline.maintenance.audit.measures import Measures
from pipeline.maintenance.audit.near import Rows
from pipeline.report.text import counted


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
        shown = first_items(catalog, zip(members["photo"].tolist(), bits.tolist(), strict=True))
        label = f"on {counted(spread.items, 'item')}, {how_different(spread)}"
        groups.append(Group(label, len(rows), shown))
    title, measure = "Near-identical photos", "bits from the first"
    meaning = (
        "Different files that look the same: perceptual hashes at most"
        f" {limits.distance} of 256 bits apart, and colors at most {limits.color} of 256 levels."
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
        groups.append(Group(how_different(spread), spread.items, examples(shown)))
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
    shown = first_items(catalog, _values(photos[: limits.examples], "plain"))
    title = "Likely placeholders: plain pictures"
    meaning = f"Photos of which {limits.plain:.0%} or more is of one color."
    return one_group(title, meaning, "photo", len(photos), shown, "share of one color")


def blurred(catalog: Catalog, measures: Measures, limits: AuditLimits) -> Finding:
    """Photos without a sharp edge, the worst first; plain pictures have none and are left out."""
    is_blurred = (measures["sharpness"] < limits.sharpness) & (measures["plain"] < limits.plain)
    photos = measures[is_blurred]
    photos = photos[np.argsort(photos["sharpness"], kind="stable")]
    shown = first_items(catalog, _values(photos[: limits.examples], "sharpness"))
    meaning = (
        f"Photos whose strongest edges are weaker than {limits.sharpness:g} of their contrast, seen"
        " at 256 pixels: out of focus, or enlarged from a smaller one."
    )
    return one_group("Blurred photos", meaning, "photo", len(photos), shown, "sharpness")


def unreadable(
    catalog: Catalog, reasons: Mapping[str, Sequence[int]], limits: AuditLimits
) -> Finding:
    """Photos that were there when they were ingested, by what is wrong with them now."""
    groups = []
    for reason, photos in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        shown = first_items(catalog, ((photo, None) for photo in photos[: limits.members]))
        groups.append(Group(reason, len(photos), shown))
    title = "Unreadable photos"
    meaning = (
        "Photos that can no longer be read as they were ingested. `imgsearch build` looks again."
    )
    count = sum(map(len, reasons.values()))
    return Finding(title, meaning, "photo", "photo", count, tuple(groups), len(groups))


def _values(photos: Measures, name: str) -> list[tuple[int, float]]:
    return list(zip(photos["photo"].tolist(), photos[name].tolist(), strict=True))
