"""Results → pages for people, each one self-contained HTML file that opens anywhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline import images
from pipeline.audit import Audit, Example, Finding, Group, counted
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits

_THUMBNAIL, _QUALITY = "fit 112", 75
_templates = Environment(
    loader=PackageLoader("pipeline", "pages"),
    autoescape=True,  # whatever a file is called: names of products come from anywhere
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["counted"] = counted


class Tile(NamedTuple):
    """A photo as a data: URI, "" if it cannot be read, None if there is none, and its items."""

    picture: str | None
    examples: Sequence[Example]


def audit_page(audit: Audit, limits: ImageLimits) -> str:
    """Draw up what an audit found, with thumbnails, as one HTML document."""

    @cache  # a photo may be an example of several findings
    def picture(path: str) -> str:
        return thumbnail(Path(path), limits.for_stored())

    def tiles(finding: Finding, group: Group) -> list[Tile]:
        """A tile for each example; those that show one photo, in files of their own, share one."""
        if finding is audit.shared_photos:
            return [Tile(picture(str(group.examples[0].photo)), group.examples)]
        return [Tile(picture(one.photo) if one.photo else None, (one,)) for one in group.examples]

    template = _templates.get_template("audit.html.jinja")
    return template.render(audit=audit, findings=audit.findings, tiles=tiles)


def thumbnail(path: Path, limits: ImageLimits) -> str:
    """A photo as a data: URI of a small JPEG; empty if it cannot be read."""
    try:
        image = images.decode(images.read_bytes(path, limits), limits)
    except (OSError, RejectedImage):
        return ""
    data = images.encode_jpeg(image, _THUMBNAIL, _QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
