"""Audit a catalog: its ledger and photos → findings, such as near-identical or blurred photos."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from pipeline.catalog import stats as catalog_stats
from pipeline.catalog.catalog import Catalog, Photo
from pipeline.catalog.photos import read
from pipeline.concurrency import ordered_map
from pipeline.config import Config
from pipeline.engine import image_limits
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.maintenance.audit import checks
from pipeline.maintenance.audit.findings import Audit, AuditLimits, Example, Finding, Group
from pipeline.maintenance.audit.measures import MEASURES, Measures, measure
from pipeline.maintenance.audit.near import clusters
from pipeline.progress import SILENT, Progress
from pipeline.report.render import render

__all__ = ["Audit", "AuditLimits", "Example", "Finding", "Group", "audit", "audit_page"]

MEASURE_AHEAD = 64  # photos
_DEFAULTS = AuditLimits()


def audit(config: Config, progress: Progress = SILENT, limits: AuditLimits = _DEFAULTS) -> Audit:
    """Look at every item of a catalog and at every distinct photo; change nothing.

        audit(config).findings["blurred"].count

    A photo that can no longer be read is a finding; a bad disk raises OSError.

    Raises:
        NotBuiltError: there is no catalog yet.
    """
    with Catalog(config.folder) as catalog:
        measures, unreadable = _measures(catalog, config, progress)
        near = []
        for rows in clusters(measures, limits.distance, limits.color):
            spread = catalog_stats.spread(catalog, measures["photo"][rows].tolist())
            near.append(checks.Cluster(rows, spread))
        return Audit(
            config.catalog,
            catalog_stats.item_count(catalog),
            catalog.photo_count(),
            without_photo=checks.without_photo(catalog, limits),
            shared_photos=checks.shared_photos(catalog, limits),
            near_identical=checks.near_identical(catalog, measures, near, limits),
            plain=checks.plain(catalog, measures, limits),
            across_categories=checks.across_categories(catalog, measures, near, limits),
            small=checks.small(catalog, limits),
            blurred=checks.blurred(catalog, measures, limits),
            unreadable=checks.unreadable(catalog, unreadable, limits),
            small_categories=checks.small_categories(catalog, limits),
            without_category=checks.without_category(catalog, limits),
            limits=limits,
        )


def audit_page(result: Audit, limits: ImageLimits) -> str:
    """Return the findings of an audit, with thumbnails, as one HTML document."""
    return render("audit.html.jinja", limits, audit=result, findings=result.findings)


def _measures(
    catalog: Catalog, config: Config, progress: Progress
) -> tuple[Measures, dict[str, list[int]]]:
    """Measure every photo; return the measures, and of unreadable photos reason → their ids."""
    limits = image_limits(config)

    def measured(photo: Photo) -> tuple[int, Measures | RejectedImage]:
        try:
            return photo.id, measure(photo.id, read(photo, limits))
        except RejectedImage as rejected:
            return photo.id, rejected

    rows = bytearray()
    unreadable: dict[str, list[int]] = defaultdict(list)
    results = ordered_map(measured, catalog.photos(), config.embedding.decoders, MEASURE_AHEAD)
    with progress.task("looking at photos", catalog.photo_count(), "photos") as advance:
        for photo, result in results:
            if isinstance(result, RejectedImage):
                unreadable[result.reason].append(photo)
            else:
                rows += result.tobytes()
            advance(1)
    return np.frombuffer(rows, MEASURES), unreadable
