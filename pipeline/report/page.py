"""The report as one HTML page: charts, example queries, maps and tables."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import yaml
from PIL import Image

from pipeline.evaluation.reconstruction import ReconstructionSample
from pipeline.images import ImageLimits
from pipeline.index.calibration import MIN_CATEGORY_PHOTOS
from pipeline.report import charts
from pipeline.report.data import ReportData
from pipeline.report.maps import Maps
from pipeline.report.photo_sample import grid_side, sprite
from pipeline.report.render import data_uri, render

TILE_SIDE = 64  # pixels of a thumbnail on the maps
MAX_GROUPS = 12  # labels with a color of their own on the maps
DECODERS = 2


def report_page(data: ReportData, limits: ImageLimits, made: date) -> str:
    """Return the report as one HTML document, which needs no other file.

    Charts and photos are part of it; its one script only shows the thumbnails of the maps.
    """
    systems = data.evaluation.systems if data.evaluation else data.engines
    return render(
        "report.html.jinja",
        limits,
        data=data,
        evaluation=data.evaluation,
        made=made.isoformat(),
        charts=charts,
        color=charts.colors([system.name for system in systems]),
        min_category_photos=MIN_CATEGORY_PHOTOS,
        reconstructions=[(sample.measured, _pictures(sample)) for sample in data.reconstructions],
        maps=data.maps,
        map=_map_content(data.maps, limits) if data.maps.photos else None,
        settings=yaml.safe_dump(data.settings, sort_keys=False, allow_unicode=True),
    )


def _pictures(sample: ReconstructionSample) -> list[tuple[str, ...]]:
    """Each photo, its reconstruction by the engine and by PCA, as data: URIs."""
    rows = zip(sample.photos, sample.by_engine, sample.by_pca, strict=True)
    return [tuple(data_uri(Image.fromarray(pixels), "PNG") for pixels in row) for row in rows]


def _map_content(maps: Maps, limits: ImageLimits) -> dict[str, Any]:
    """Return what the template needs to draw the maps."""
    counts = Counter(label for label in maps.labels if label)
    by_frequency = sorted(counts, key=lambda label: (-counts[label], label))
    group = {label: i for i, label in enumerate(by_frequency[:MAX_GROUPS], 1)}
    names = [
        (photo.record.name or photo.record.key) if photo.record else "" for photo in maps.photos
    ]
    texts = [(name, label or "") for name, label in zip(names, maps.labels, strict=True)]
    count = len(maps.photos)
    return {
        "groups": list(group),  # labels that have a color, the most frequent first
        "has_others": len(by_frequency) > MAX_GROUPS or None in maps.labels,
        "group_of": [group.get(label or "", 0) for label in maps.labels],  # 0 is none of them
        "radius": max(7, 18 - count // 80),
        "sprite": data_uri(sprite(maps.photos, TILE_SIDE, limits, DECODERS)[0], "JPEG"),
        "script_data": {"tile": TILE_SIDE, "columns": grid_side(count), "texts": texts},
    }
