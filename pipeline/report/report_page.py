"""An report_data of a catalog and its engines, as a page."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image

from pipeline.evaluation.reconstruction import ReconstructionSample
from pipeline.images import ImageLimits
from pipeline.report import charts
from pipeline.report.data import Maps, ReportData
from pipeline.report.points import grid, sprite
from pipeline.report.templates import TEMPLATES, data_uri, thumbnail

U8Image = npt.NDArray[np.uint8]

_TILE = 64  # pixels of a thumbnail's side on the maps
_QUALITY = 75
_GROUPS = 12  # labels with a color of their own on the maps
_SIDE = 1000  # of a map, in its own units
_THREADS = 2


@dataclass(frozen=True)
class Picture:
    """A held-out photo and what became of it, as data: URIs."""

    photo: str
    by_engine: str
    by_pca: str


def report_page(report_data: ReportData, limits: ImageLimits, made: date) -> str:
    """Draw up an report_data as one HTML document.

    It needs nothing but itself: charts and photos are in it, and its one script only shows the
    thumbnails of the maps.
    """
    limits = limits.for_stored()

    @cache  # a photo may be in several lists
    def picture(path: Path | None) -> str:
        return thumbnail(path, limits) if path else ""

    found, engines = report_data.evaluation, report_data.engines
    systems = [s.name for s in found.systems] if found else [e.name for e in engines]
    color = charts.colors(systems)
    script = Path(__file__).with_name("report.js").read_text()
    template = TEMPLATES.get_template("report.html.jinja")
    return template.render(
        report_data=report_data,
        found=found,
        made=made.isoformat(),
        color={name: charts.css_color(stand_in) for name, stand_in in color.items()},
        quality=_quality(report_data, color),
        most_labels=charts.MOST_LABELS,
        training={
            e.name: charts.training_curve(e.name, e.training, color[e.name])
            for e in engines
            if e.training
        },
        distances={e.name: charts.distances(e, color[e.name]) for e in engines if e.distances.size},
        rebuilt=[(one.measured, _pictures(one)) for one in report_data.rebuilt],
        picture=picture,
        maps=_Atlas(report_data.maps, limits) if report_data.maps.points else None,
        settings=yaml.safe_dump(report_data.settings, sort_keys=False, allow_unicode=True),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _quality(report_data: ReportData, color: dict[str, str]) -> list[str]:
    """The charts of what was measured, as far as it was."""
    found = report_data.evaluation
    if found is None:
        return []
    drawn = [charts.quality_and_cost(found, color)] if found.costs else []
    drawn.append(charts.quality_by_label(found, color))
    return drawn


def _pictures(rebuilt: ReconstructionSample) -> list[Picture]:
    rows = zip(rebuilt.photos, rebuilt.by_engine, rebuilt.by_pca, strict=True)
    return [Picture(*map(_png, row)) for row in rows]


def _png(pixels: U8Image) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return data_uri(file.getvalue(), "image/png")


class _Atlas:
    """The maps as the template takes them."""

    def __init__(self, maps: Maps, limits: ImageLimits) -> None:
        self.maps = maps
        drawn, _ = sprite(maps.points, _TILE, limits, _THREADS)
        file = io.BytesIO()
        drawn.save(file, "JPEG", quality=_QUALITY)
        self.sprite = data_uri(file.getvalue(), "image/jpeg")
        self.tile, self.columns = _TILE, grid(len(maps.points))
        self.radius = max(7, 18 - len(maps.points) // 80)
        labels = maps.labels
        known = sorted({one for one in labels if one}, key=lambda one: (-labels.count(one), one))
        self.groups: Sequence[str] = known[:_GROUPS]
        """The labels that have a color, the most frequent first."""
        self.has_others = len(known) > _GROUPS or None in labels
        self.group_of = [
            self.groups.index(label) + 1 if label in self.groups else 0 for label in labels
        ]
        """Of each point: 1 for the first group, 0 for none."""
        self.texts = [
            [(one.record.name or one.record.key) if one.record else "", label or ""]
            for one, label in zip(maps.points, labels, strict=True)
        ]

    def places(self, engine: str) -> list[tuple[float, float]]:
        """Where each point is drawn, (x, y)."""
        places = self.maps.positions[engine] * _SIDE
        return [(round(x, 1), round(y, 1)) for x, y in places.tolist()]
