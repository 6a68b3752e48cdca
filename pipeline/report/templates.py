"""The templates, and what all of them use."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline import images
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.report.text import counted

_THUMBNAIL, _QUALITY = "fit 112", 75
LOADER = PackageLoader("pipeline", "report")
TEMPLATES = Environment(
    loader=LOADER,
    autoescape=True,  # whatever a file is called: names of products come from anywhere
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters["counted"] = counted


def thumbnail(path: Path, limits: ImageLimits) -> str:
    """A photo as a data: URI of a small JPEG; empty if it cannot be read."""
    try:
        image = images.decode(images.read_bytes(path, limits), limits)
    except (OSError, RejectedImage):
        return ""
    return data_uri(images.encode_jpeg(image, _THUMBNAIL, _QUALITY), "image/jpeg")


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a `data:` URI, which a page carries in itself."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
