"""What the cells of a table say: numbers, category levels, and where the photos are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pipeline.sources.structures import listed, valid

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?")
# URLs may hold commas and semicolons: one ends only where another begins.
_URL = re.compile(r"""(?<![^\s,;|"'\[({])https?://""", re.IGNORECASE)
_ANY_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_QUOTE_CLOSED = re.compile(r"""\\?["']\s*(?:[,;|\])}]|$)""")
_AROUND = " \t\r\n,;|\"'\\"


def typed(text: str) -> str | int | float | None:
    """Numbers become numbers and nothing becomes None; `007` stays a text."""
    if text[:1] not in "-0123456789" or not (number := _NUMBER.fullmatch(text)):
        return text or None
    if number[1]:
        return value if math.isfinite(value := float(text)) else text
    return int(text) if len(text.lstrip("-")) <= 18 else text


def blank(value: Any) -> bool:
    """Whether there is nothing in a cell."""
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def worded(value: Any) -> str:
    """Write a cell as the text of a name; 5.0 is 5, as whole numbers become beside empty cells."""
    if value is None:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def levels(text: str, separator: str) -> list[str]:
    """Split a category such as `A >> B >> C`; shops also write it as a JSON list of one."""
    parsed = listed(text)
    if parsed and isinstance(parsed[0], str):
        text = valid(parsed[0])
    return [level.strip() for level in text.split(separator) if level.strip()]


def category_levels(value: Any, separator: str, name: str) -> list[str]:
    """Split the category of a product in a table, where it may be a list, or a broken one.

    A lone level that is the product's own name is no category.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = listed(value) or value.strip("[]\"' \t\r\n")
    if isinstance(value, list):
        value = separator.join(valid(level) for level in value if isinstance(level, str))
    found = levels(worded(value), separator)
    return [] if len(found) == 1 and _is_name(found[0], name) else found


def photo_uris(value: Any) -> list[str] | None:
    """Find the URIs of photos, each once, in a list, JSON or text; None if no URI can be found.

    Whatever a clean list holds is taken for one, and so is a text that is one URL of any scheme.
    From a broken list, and from any other text, the http URLs are taken.
    """
    if blank(value) or value == "null":
        return []
    uris = listed(value) if isinstance(value, str) else value
    if isinstance(uris, list) and all(map(blank, uris)):
        return []
    found = uris if isinstance(uris, list) else []
    texts = [uri.strip() for uri in found if isinstance(uri, str) and uri.strip()]
    return list(dict.fromkeys(map(valid, texts or _urls(str(value))))) or None


def _urls(text: str) -> Iterator[str]:
    text = text.replace("\\/", "/").strip()  # as PHP writes JSON
    if not _URL.search(text) and _ANY_URL.fullmatch(text):
        yield text
    around = _AROUND + "]" * text.startswith("[")
    starts = [url.start() for url in _URL.finditer(text)]
    for start, end in pairwise([*starts, len(text)]):
        yield _QUOTE_CLOSED.split(text[start:end], maxsplit=1)[0].rstrip(around)


def _is_name(level: str, name: str) -> bool:
    """Whether a level is the name itself, either cut short, or the level with `(details)` added."""
    level, name = (" ".join(text.split()).casefold() for text in (level, name))
    cut = level.endswith(("...", "…")) or name.endswith(("...", "…"))
    level, name = level.rstrip(" .…"), name.rstrip(" .…")
    if not (level and name):
        return False
    if cut:
        return level.startswith(name) or name.startswith(level)
    return level == name or level.startswith(f"{name} (")
