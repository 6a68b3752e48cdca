"""The natural order of names: `2.jpg` before `10.jpg`."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(path: str) -> str:
    """Return a key that sorts `2.jpg` before `10.jpg`, and numbers before texts.

    A text, as tuples would take several times the memory: of a number its length goes first.
    """
    parts = _DIGITS.split(path)
    return "".join(f"\2{p}\0" if n % 2 == 0 else _number(p) for n, p in enumerate(parts) if p)


def _number(digits: str) -> str:
    value = digits.lstrip("0")
    return f"\1{chr(len(value))}{value}{digits}\0"
