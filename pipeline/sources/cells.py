"""What the cells of a table mean: numbers, category levels, and where the photos are."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pipeline.sources.structures import listed, valid

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?")
# URLs may contain commas and semicolons: a URL ends only where another begins.
_URL = re.compile(r"""(?<![^\s,;|"'\[({])(?:https?://|//(?=[\w\[]))""", re.IGNORECASE)
# Of HTML. Without the semicolon it may be the parameter of a URL: `?a=1&copy=2`.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_MAX_ESCAPES = 3  # feeds that are made of feeds escape more than once
# Before a separator, the end of a list or of a tag of HTML, or another attribute of that.
_QUOTE_CLOSED = re.compile(r"""\\?["'](?:\s*(?:[,;|\])}>]|/>|$)|\s+[\w-]+=)""")
_AROUND_URL = " \t\r\n,;|\"'\\"


def typed(text: str) -> str | int | float | None:
    """Turn a text into the number that it is, if any; "" becomes None, and `007` stays a text."""
    if text[:1] not in "-0123456789" or not (number := _NUMBER.fullmatch(text)):
        return unescaped(text) or None
    if number[1]:
        return value if math.isfinite(value := float(text)) else text
    return int(text) if len(text.lstrip("-")) <= 18 else text


def unescaped(text: str) -> str:
    """Replace the entities of HTML, as feeds have them in texts: `Levi&#39;s` → `Levi's`.

    A text with tags is HTML itself, and stays as it is.
    """
    if "&" not in text or "<" in text:
        return text
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)


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
    return [level.strip() for level in unescaped(text).split(separator) if level.strip()]


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
    """Find the URIs of photos, each once, in a list, JSON or text; None if it is a broken list.

    Every text of an intact list counts as a URI. From a broken list, and from any other text, the
    http URLs are taken, `//host/…` among them; a text without any is a URI as a whole, so that it
    is told as what it is: no URL.

        photo_uris("//shop.example/a.jpg?w=1&amp;h=2")  # ["https://shop.example/a.jpg?w=1&h=2"]
    """
    if blank(value) or value == "null":
        return []
    uris = listed(value) if isinstance(value, str) else value
    if isinstance(uris, list) and all(map(blank, uris)):
        return []
    texts = [uri.strip() for uri in uris if isinstance(uri, str)] if isinstance(uris, list) else []
    texts = list(filter(None, texts)) or list(_urls(str(value)))
    return list(dict.fromkeys(_uri(valid(text)) for text in texts)) or None


def _uri(text: str) -> str:
    """Complete a URL as a page has it: with entities of HTML, and the scheme of its page."""
    for _ in range(_MAX_ESCAPES):
        text = unescaped(text)
    return f"https:{text}" if text.startswith("//") else text


def _urls(text: str) -> Iterator[str]:
    text = unescaped(text.replace("\\/", "/").strip())  # as PHP writes JSON
    starts = [url.start() for url in _URL.finditer(text)]
    if not starts and not text.startswith(("[", "{")) and (whole := text.strip(_AROUND_URL)):
        yield whole
    around = _AROUND_URL + "]" * text.startswith("[")
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
