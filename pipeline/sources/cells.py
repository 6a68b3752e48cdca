"""What the cells of a table mean: numbers, category levels, and where the photos are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pipeline.sources.structures import listed, valid

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?")
# URLs may contain commas and semicolons: a URL ends only where another begins.
_URL = re.compile(r"""(?<![^\s,;|"'\[({])https?://""", re.IGNORECASE)
_ANY_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_QUOTE_CLOSED = re.compile(r"""\\?["']\s*(?:[,;|\])}]|$)""")
_AROUND_URL = " \t\r\n,;|\"'\\"


def typed(text: str) -> str | int | float | None:
    """Turn a text into the number that it is, if any; "" becomes None, and `007` stays a text."""
    if text[:1] not in "-0123456789" or not (number := _NUMBER.fullmatch(text)):
        return text or None
    if number[1]:
        return value if math.isfinite(value := float(text)) else text
    return int(text) if len(text.lstrip("-")) <= 18 else text


def blank(value: Any) -> bool:
    """Whether there is nothing in a cell."""
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def as_name(value: Any) -> str:
    """Write a cell as a name; 5.0 becomes "5": beside empty cells, whole numbers become floats."""
    if value is None:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def level_columns(levels: list[str]) -> dict[str, Any]:
    """Name the levels of a category as columns: `category_1`, `category_2`, and so on."""
    return {f"category_{depth}": level for depth, level in enumerate(levels, 1)}


def split_levels(text: str, separator: str) -> list[str]:
    """Split a category such as `A >> B >> C`, which may also be the text of a JSON list."""
    parsed = listed(text)
    if parsed and isinstance(parsed[0], str):
        text = valid(parsed[0])
    return [level.strip() for level in text.split(separator) if level.strip()]


def table_levels(value: Any, separator: str, name: str) -> list[str]:
    """Split the category of a product in a table, where it may be a list, or a broken list.

    A single level that is only the product's name is no category.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = listed(value) or value.strip("[]\"' \t\r\n")
    if isinstance(value, list):
        value = separator.join(valid(level) for level in value if isinstance(level, str))
    levels = split_levels(as_name(value), separator)
    return [] if len(levels) == 1 and _is_name(levels[0], name) else levels


def photo_uris(value: Any) -> list[str] | None:
    """Find the URIs of photos, each once, in a list, JSON or text; None if there is no URI in it.

    Every text of an intact list counts as a URI, and so does a text that is one URL of any scheme.
    From a broken list, and from any other text, only the http URLs are taken.
    """
    if blank(value) or value == "null":
        return []
    uris = listed(value) if isinstance(value, str) else value
    if isinstance(uris, list) and all(map(blank, uris)):
        return []
    texts = [uri.strip() for uri in uris if isinstance(uri, str)] if isinstance(uris, list) else []
    texts = list(filter(None, texts)) or list(_urls(str(value)))
    return list(dict.fromkeys(map(valid, texts))) or None


def _urls(text: str) -> Iterator[str]:
    text = text.replace("\\/", "/").strip()  # as PHP writes JSON
    if not _URL.search(text) and _ANY_URL.fullmatch(text):
        yield text
    around = _AROUND_URL + "]" * text.startswith("[")
    starts = [url.start() for url in _URL.finditer(text)]
    for start, end in pairwise([*starts, len(text)]):
        yield _QUOTE_CLOSED.split(text[start:end], maxsplit=1)[0].rstrip(around)


def _is_name(level: str, name: str) -> bool:
    """Whether a level is a product's name: either may be cut short, and the name may go on."""
    level, name = (" ".join(text.split()).casefold() for text in (level, name))
    is_cut = level.endswith(("...", "…")) or name.endswith(("...", "…"))
    level, name = level.rstrip(" .…"), name.rstrip(" .…")
    if not (level and name):
        return False
    if is_cut:
        return level.startswith(name) or name.startswith(level)
    return level == name or level.startswith(f"{name} (")
