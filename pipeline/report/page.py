"""The report as one HTML page: charts, example queries, maps and tables."""

from __future__ import annotations

from collections import Counter
from datetime import date

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
MAP_SIDE = 1000  # of a map, in the units of its SVG
DECODERS = 2


def report_page(data: ReportData, limits: ImageLimits, made: date) -> str:
    """Return the report as one HTML document, which needs no other file.

    Charts and photos are part of it; its one script only shows the thumbnails of the maps.
    """
    evaluation, engines = data.evaluation, data.engines
    systems = [s.name for s in evaluation.systems] if evaluation else [e.name for e in engines]
    color = charts.colors(systems)
    quality = []
    if evaluation:
        quality += [charts.quality_and_cost(evaluation, color)] if evaluation.costs else []
        quality.append(charts.quality_by_label(evaluation, color))
    return render(
        "report.html.jinja",
        limits,
        data=data,
        evaluation=evaluation,
        made=made.isoformat(),
        color={name: charts.css_color(stand_in) for name, stand_in in color.items()},
        quality=quality,
        max_labels=charts.MAX_LABELS,
        min_category_photos=MIN_CATEGORY_PHOTOS,
        training={
            e.name: charts.training_curve(e.name, e.training, color[e.name])
            for e in engines
            if e.training
        },
        distances={e.name: charts.distances(e, color[e.name]) for e in engines if e.distances.size},
        reconstructions=[(sample.measured, _pictures(sample)) for sample in data.reconstructions],
        map=MapView(data.maps, limits) if data.maps.photos else None,
        settings=yaml.safe_dump(data.settings, sort_keys=False, allow_unicode=True),
    )


def _pictures(sample: ReconstructionSample) -> list[tuple[str, ...]]:
    """Each photo, its reconstruction by the engine and by PCA, as data: URIs."""
    rows = zip(sample.photos, sample.by_engine, sample.by_pca, strict=True)
    return [tuple(data_uri(Image.fromarray(pixels), "PNG") for pixels in row) for row in rows]


class MapView:
    """The maps as the template draws them."""

    def __init__(self, maps: Maps, limits: ImageLimits) -> None:
        self.positions = {
            engine: [(round(x, 1), round(y, 1)) for x, y in (MAP_SIDE * places).tolist()]
            for engine, places in maps.positions.items()
        }
        """Engine → where each photo is drawn, (x, y)."""
        self.count, self.common = len(maps.photos), maps.common
        self.radius = max(7, 18 - self.count // 80)
        self.sprite = data_uri(sprite(maps.photos, TILE_SIDE, limits, DECODERS)[0], "JPEG")
        labels = maps.labels
        counts = Counter(label for label in labels if label)
        by_frequency = sorted(counts, key=lambda label: (-counts[label], label))
        self.groups = by_frequency[:MAX_GROUPS]
        """The labels that have a color, the most frequent first."""
        self.has_others = len(by_frequency) > MAX_GROUPS or None in labels
        number = {label: i for i, label in enumerate(self.groups, 1)}
        self.group_of = [number.get(label or "", 0) for label in labels]
        """For each photo: 1 for the first group, 0 for none."""
        texts = [
            [(photo.record.name or photo.record.key) if photo.record else "", label or ""]
            for photo, label in zip(maps.photos, labels, strict=True)
        ]
        self.script_data = {"tile": TILE_SIDE, "columns": grid_side(self.count), "texts": texts}
