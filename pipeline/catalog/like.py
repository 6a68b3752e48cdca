"""SQL's LIKE, with the meaning that SQLite gives it: `%` is any text, `_` any character.

Letters of ASCII match in either case. A pattern is its parts between the `%`, each a list of
characters, of which None is any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Parts = list[list[str | None]]


def pattern_parts(pattern: str, escape: str | None = None) -> Parts | None:
    """Split a pattern at its `%`; None if nothing is like it, because it ends within an escape.

    pattern_parts("a_%b")  # [["a", None], ["b"]]
    """
    parts: Parts = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            following = next(characters, None)
            if following is None:
                return None
            parts[-1].append(following)
        elif character == "%":
            parts.append([])
        else:
            parts[-1].append(None if character == "_" else character)
    return parts


def like_pattern(parts: Parts) -> re.Pattern[str]:
    """Return what matches, with `match`, the texts that are like a pattern.

    Each text between two `%` is looked for once, from the left: time grows by the length of a text,
    not its power.

        like_pattern(pattern_parts("tit%")).match("Titan")
    """
    first, *others = map(_expression, parts)
    inner = "".join(f"(?>.*?{part})" for part in others[:-1] if part)
    last = f".*{others[-1]}" if others else ""
    ends = r"\Z" if not others or others[-1] else ""
    return re.compile(f"{first}{inner}{last}{ends}", re.IGNORECASE | re.ASCII | re.DOTALL)


def _expression(part: Sequence[str | None]) -> str:
    return "".join("." if character is None else re.escape(character) for character in part)
