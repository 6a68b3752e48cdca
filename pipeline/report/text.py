"""Numbers and names → text that is safe to print: names of products come from anywhere."""

from __future__ import annotations

from rich.text import Text

_JOINERS = "\u200c\u200d"  # not printable, but needed to write many scripts


def plain(text: str) -> str:
    """Return one line without control characters, which a terminal would obey."""
    return "".join(
        c if c.isprintable() or c in _JOINERS else " " if c.isspace() else "\ufffd" for c in text
    )


def cell(text: str) -> Text:
    """Return `plain` text for Rich, which finds neither markup nor `:names:` of emoji in it."""
    return Text(plain(text))


def cut(text: str, limit: int) -> str:
    """Shorten a text to at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def size(count: float) -> str:
    """Return a number of bytes with a fitting unit: `size(1550)` is "1.6 kB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return counted(round(count), "byte") if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def counted(number: int, unit: str) -> str:
    """Return a number with its unit: "1 category", "1,200 categories"."""
    plural = f"{unit[:-1]}ies" if unit.endswith("ry") else f"{unit}s"
    return f"{number:,} {unit if number == 1 else plural}"
