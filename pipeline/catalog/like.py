"""SQL's LIKE as a regular expression, with the meaning that SQLite gives it."""

from __future__ import annotations

import re

NOTHING = re.compile(r"(?!)")


def like_pattern(pattern: str, escape: str | None = None) -> re.Pattern[str]:
    """Return what matches, with `match`, the texts that are like a pattern.

    `%` is any text, `_` any character, and letters of ASCII match in either case. Each text between
    two `%` is looked for once, from the left: time grows by the length of a text, not its power.

        like_pattern("tit%").match("Titan")
    """
    parts = [""]  # between the `%`
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            following = next(characters, None)
            if following is None:
                return NOTHING
            parts[-1] += re.escape(following)
        elif character == "%":
            parts.append("")
        else:
            parts[-1] += "." if character == "_" else re.escape(character)
    first, *others = parts
    inner = "".join(f"(?>.*?{part})" for part in others[:-1] if part)
    last = f".*{others[-1]}" if others else ""
    ends = r"\Z" if not others or others[-1] else ""
    return re.compile(f"{first}{inner}{last}{ends}", re.IGNORECASE | re.ASCII | re.DOTALL)
