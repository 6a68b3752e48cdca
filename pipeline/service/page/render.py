"""Templates → HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

STATIC = Path(__file__).parent / "static"
"""Files that are served as they are, below `/static/`."""

_TEMPLATES = Environment(
    loader=PackageLoader("pipeline", "service/page/templates"),
    autoescape=True,  # names of items come from anywhere
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **content: Any) -> str:
    """Fill a template and return the HTML document; every text is escaped.

    render("error.html.jinja", shop=shop, base="", error=error)
    """
    return _TEMPLATES.get_template(template).render(content)
