"""Audit a catalog: the ledger and its photos → what is worth a look. Changes nothing."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from pipeline.catalog import stats as survey
from pipeline.catalog.catalog import Catalog, Photo
from pipeline.catalog.photos import read
from pipeline.concurrency import ordered_map
from pipeline.config import Config
from pipeline.engine import image_limits
from pipeline.errors import RejectedImage
from pipeline.maintenance.audit import ledger_findings as ledger
from pipeline.maintenance.audit import photo_findings as pictures
from pipeline.maintenance.audit.findings import Audit, AuditLimits, Example, Finding, Group
from pipeline.maintenance.audit.measures import MEASURES, Measures, measure
from pipeline.maintenance.audit.near import clusters
from pipeline.progress import SILENT, Progress

__all__ = ["Audit", "AuditLimits", "Example", "Finding", "Group", "audit"]

_AHEAD = 64  # photos measured before they are asked for
_DEFAULTS = AuditLimits()


def audit(config: Config, progress: Progress = SILENT, limits: AuditLimits = _DEFAULTS) -> Audit:
    """Look at every item of a catalog and, once, at every distinct photo.

    A photo that can no longer be read is a finding; a bad disk raises OSError.

    Raises:
        NotBuiltError: there is no catalog yet.
    """
    with Catalog(config.folder) as catalog:
        measures, unreadable = _measures(catalog, config, progress)
        alike = [
            pictures.Alike(rows, survey.spread(catalog, measures["photo"][rows].tolist()))
            for rows in clusters(measures, limits.distance, limits.color)
        ]
        return Audit(
            config.catalog,
            survey.item_count(catalog),
            catalog.photo_count(),
            without_photo=ledger.without_photo(catalog, limits),
            shared_photos=ledger.shared_photos(catalog, limits),
            near_identical=pictures.near_identical(catalog, measures, alike, limits),
            plain=pictures.plain(catalog, measures, limits),
            across_categories=pictures.across_categories(catalog, measures, alike, limits),
            small=ledger.small(catalog, limits),
            blurred=pictures.blurred(catalog, measures, limits),
            unreadable=pictures.unreadable(catalog, unreadable, limits),
            small_categories=ledger.small_categories(catalog, limits),
            without_category=ledger.without_category(catalog, limits),
            limits=limits,
        )


def _measures(
    catalog: Catalog, config: Config, progress: Progress
) -> tuple[Measures, dict[str, list[int]]]:
    """Measure every photo; of those that cannot be read, reason → their ids."""
    limits = image_limits(config)

    def look(photo: Photo) -> tuple[int, Measures | RejectedImage]:
        try:
            return photo.id, measure(photo.id, read(photo, limits))
        except RejectedImage as rejected:
            return photo.id, rejected

    rows = bytearray()
    unreadable: dict[str, list[int]] = defaultdict(list)
    looked = ordered_map(look, catalog.photos(), config.embedding.decoders, _AHEAD)
    with progress.task("looking at photos", catalog.photo_count(), "photos") as advance:
        for photo, found in looked:
            if isinstance(found, RejectedImage):
                unreadable[found.reason].append(photo)
            else:
                rows += found.tobytes()
            advance(1)
    return np.frombuffer(rows, MEASURES), unreadable
