"""Numbers and names → text that is safe to show: names of products come from anywhere."""

from __future__ import annotations

_JOINERS = "\u200c\u200d"  # not printable, but letters of many scripts are not themselves without


def plain(text: str) -> str:
    """One line of text that is nothing but text: names come from anywhere, a terminal obeys."""
    return "".join(
        c
        if c.isprintable() or c in _JOINERS
        else " "
        if c.isspace()
        else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )


def cut(text: str, most: int) -> str:
    """Shorten a text to `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def size(count: float) -> str:
    """Bytes in the unit that a person would choose."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def counted(number: int, unit: str) -> str:
    """`1 category`, `1,200 categories`."""
    plural = {"category": "categories", "query": "queries"}.get(unit, f"{unit}s")
    return f"{number:,} {unit if number == 1 else plural}"
