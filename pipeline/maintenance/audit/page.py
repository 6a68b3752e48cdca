"""What an audit found, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import ChoiceLoader, PackageLoader

from pipeline.images import ImageLimits
from pipeline.maintenance.audit import Audit, Example, Finding, Group
from pipeline.report.templates import LOADER, TEMPLATES, thumbnail


class PhotoCard(NamedTuple):
    """A photo as a data: URI, "" if it cannot be read, None if there is none, and its items."""

    picture: str | None
    examples: Sequence[Example]


def audit_page(audit: Audit, limits: ImageLimits) -> str:
    """Draw up what an audit found, with thumbnails, as one HTML document."""

    @cache  # a photo may be an example of several findings
    def picture(path: str) -> str:
        return thumbnail(Path(path), limits.for_stored())

    def tiles(finding: Finding, group: Group) -> list[PhotoCard]:
        """A tile for each example; those that show one photo, in files of their own, share one."""
        if finding is audit.shared_photos:
            return [PhotoCard(picture(str(group.examples[0].photo)), group.examples)]
        return [
            PhotoCard(picture(one.photo) if one.photo else None, (one,)) for one in group.examples
        ]

    own = PackageLoader("pipeline", "maintenance/audit")
    templates = TEMPLATES.overlay(loader=ChoiceLoader([own, LOADER]))
    template = templates.get_template("audit.html.jinja")
    return template.render(audit=audit, findings=audit.findings, tiles=tiles)
