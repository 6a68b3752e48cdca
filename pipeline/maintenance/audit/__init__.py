"""Audit a catalogue: the ledger and its photos → what is worth a look. Changes nothing."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from pipeline.catalog import stats as survey
from pipeline.catalog.catalog import Catalogue, Photo
from pipeline.catalog.photos import read
from pipeline.concurrency import ordered_map
from pipeline.config import Config
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
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
    """Look at every item of a catalogue and, once, at every distinct photo.

    A photo that can no longer be read is a finding; a bad disk raises OSError.

    Raises:
        NotBuiltError: there is no catalogue yet.
    """
    with Catalogue(config.folder) as catalogue:
        measures, unreadable = _measures(catalogue, config, progress)
        alike = [
            pictures.Alike(rows, survey.spread(catalogue, measures["photo"][rows].tolist()))
            for rows in clusters(measures, limits.distance, limits.colour)
        ]
        return Audit(
            config.catalogue,
            survey.item_count(catalogue),
            catalogue.photo_count(),
            without_photo=ledger.without_photo(catalogue, limits),
            shared_photos=ledger.shared_photos(catalogue, limits),
            near_identical=pictures.near_identical(catalogue, measures, alike, limits),
            plain=pictures.plain(catalogue, measures, limits),
            across_categories=pictures.across_categories(catalogue, measures, alike, limits),
            small=ledger.small(catalogue, limits),
            blurred=pictures.blurred(catalogue, measures, limits),
            unreadable=pictures.unreadable(catalogue, unreadable, limits),
            small_categories=ledger.small_categories(catalogue, limits),
            without_category=ledger.without_category(catalogue, limits),
            limits=limits,
        )


def _measures(
    catalogue: Catalogue, config: Config, progress: Progress
) -> tuple[Measures, dict[str, list[int]]]:
    """Measure every photo; of those that cannot be read, reason → their ids."""
    limits = ImageLimits(**config.images.model_dump())

    def look(photo: Photo) -> tuple[int, Measures | RejectedImage]:
        try:
            return photo.id, measure(photo.id, read(photo, limits))
        except RejectedImage as rejected:
            return photo.id, rejected

    rows = bytearray()
    unreadable: dict[str, list[int]] = defaultdict(list)
    looked = ordered_map(look, catalogue.photos(), config.embedding.decoders, _AHEAD)
    with progress.task("looking at photos", catalogue.photo_count(), "photos") as advance:
        for photo, found in looked:
            if isinstance(found, RejectedImage):
                unreadable[found.reason].append(photo)
            else:
                rows += found.tobytes()
            advance(1)
    return np.frombuffer(rows, MEASURES), unreadable
