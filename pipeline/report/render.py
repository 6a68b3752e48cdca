"""Templates → HTML pages, each of which is one self-contained file."""

from __future__ import annotations

import base64
import hashlib
import io
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from pipeline import images
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.report.text import counted

THUMBNAIL, QUALITY = "fit 112", 75  # pixels of the longer side, quality of a JPEG
_TEMPLATES = Environment(
    loader=PackageLoader("pipeline", "report/templates"),
    autoescape=True,  # names of products come from anywhere
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["counted"] = counted


def render(template: str, limits: ImageLimits, **content: Any) -> str:
    """Fill a template of `report/templates/` and return the HTML document.

        render("audit.html.jinja", limits, audit=audit)

    In a template, `thumbnail(path)` is a photo as a data: URI, "" where there is none or it cannot
    be read, and `12 | counted("item")` is "12 items". Every text is escaped. A script that the
    template includes runs only if its `script_hash` is in the block `policy`.
    """

    @cache  # a page may show a photo several times
    def show(path: Path | str | None) -> str:
        return thumbnail(Path(path), limits.for_stored()) if path else ""

    page = _TEMPLATES.get_template(template)
    return page.render(thumbnail=show, script_hash=_script_hash, **content)


def thumbnail(path: Path, limits: ImageLimits) -> str:
    """Return a photo as a data: URI of a small JPEG; "" if it cannot be read."""
    image = photo_or_none(path, limits)
    return _data_uri(images.encode_jpeg(image, THUMBNAIL, QUALITY), "jpeg") if image else ""


def photo_or_none(path: Path | None, limits: ImageLimits) -> Image.Image | None:
    """Decode a photo; return None where there is none or it cannot be read."""
    try:
        return images.decode(images.read_bytes(path, limits), limits) if path else None
    except (OSError, RejectedImage):
        return None


def data_uri(picture: Image.Image, kind: str) -> str:
    """Return a picture as a data: URI of the same size; `kind` is PNG or JPEG."""
    file = io.BytesIO()
    picture.save(file, kind, quality=QUALITY)  # PNG has no quality
    return _data_uri(file.getvalue(), kind.lower())


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _script_hash(script: str) -> str:
    """Return by what a Content-Security-Policy names a script: its SHA-256 in Base64."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
