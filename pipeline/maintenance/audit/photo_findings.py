"""Findings from what was measured of the photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Cluster:
    """A cluster of near-identical photos: rows of the measures, and how many items show them."""

    rows: Rows
    spread: Spread


def near_identical(
    catalog: Catalog, measures: Measures, clusters: Sequence[Cluster], limits: AuditLimits
) -> Finding:
    """Clusters of distinct photos that look the same, the largest first."""
    groups = []
    for cluster in clusters[: limits.examples]:
        members = measures[cluster.rows[: limits.members]]
        bits = np.bitwise_count(members["hash"] ^ members["hash"][0]).sum(axis=1)
        shown = first_items(catalog, zip(members["photo"].tolist(), bits.tolist(), strict=True))
        label = f"on {counted(cluster.spread.items, 'item')}, {how_different(cluster.spread)}"
        groups.append(Group(label, len(cluster.rows), shown))
    return Finding(
        "Near-identical photos",
        "Different files that look the same: perceptual hashes at most"
        f" {limits.distance} of 256 bits apart, and colors at most {limits.color} of 256 levels.",
        "photo",
        "photo",
        sum(len(cluster.rows) for cluster in clusters),
        tuple(groups),
        len(clusters),
        "bits from the first",
    )


def across_categories(
    catalog: Catalog, measures: Measures, clusters: Sequence[Cluster], limits: AuditLimits
) -> Finding:
    """Pictures (photos, or clusters of near-identical ones) of items of several categories."""
    pictures: list[tuple[Spread, list[int]]] = []
    clustered: set[int] = set()
    for cluster in clusters:
        if cluster.spread.categories >= limits.categories:
            photos = measures["photo"][cluster.rows].tolist()
            clustered.update(photos)
            pictures.append((cluster.spread, photos))
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
    return Finding(
        "Likely placeholders: one picture in several categories",
        f"Photos, or clusters of near-identical ones, that items of {limits.categories} or more"
        " categories show. The examples are one item of each category.",
        "picture",
        "item",
        len(pictures),
        tuple(groups),
        len(pictures),
    )


def plain(catalog: Catalog, measures: Measures, limits: AuditLimits) -> Finding:
    """Photos that are nearly of one color, the plainest first."""
    rows = np.flatnonzero(measures["plain"] >= limits.plain)
    rows = rows[np.argsort(-measures["plain"][rows], kind="stable")]
    return one_group(
        "Likely placeholders: plain pictures",
        f"Photos of which {limits.plain:.0%} or more is of one color.",
        len(rows),
        first_items(catalog, _values(measures[rows[: limits.examples]], "plain")),
        "share of one color",
    )


def blurred(catalog: Catalog, measures: Measures, limits: AuditLimits) -> Finding:
    """Photos without a sharp edge, the worst first; plain pictures have none and are left out."""
    sharpness = measures["sharpness"]
    rows = np.flatnonzero((sharpness < limits.sharpness) & (measures["plain"] < limits.plain))
    rows = rows[np.argsort(sharpness[rows], kind="stable")]
    return one_group(
        "Blurred photos",
        f"Photos whose strongest edges are weaker than {limits.sharpness:g} of their contrast, seen"
        " at 256 pixels: out of focus, or enlarged from a smaller one.",
        len(rows),
        first_items(catalog, _values(measures[rows[: limits.examples]], "sharpness")),
        "sharpness",
    )


def unreadable(
    catalog: Catalog, reasons: Mapping[str, Sequence[int]], limits: AuditLimits
) -> Finding:
    """Photos that were there when they were ingested, by what is wrong with them now."""
    groups = []
    for reason, photos in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        shown = first_items(catalog, ((photo, None) for photo in photos[: limits.members]))
        groups.append(Group(reason, len(photos), shown))
    return Finding(
        "Unreadable photos",
        "Photos that can no longer be read as they were ingested. `imgsearch build` looks again.",
        "photo",
        "photo",
        sum(map(len, reasons.values())),
        tuple(groups),
        len(groups),
    )


def _values(members: Measures, name: str) -> list[tuple[int, float]]:
    return list(zip(members["photo"].tolist(), members[name].tolist(), strict=True))
