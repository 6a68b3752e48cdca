"""Several settings in one text → one each, so that `make index SET='…'` can hold any of them."""

from __future__ import annotations

import re

from pipeline.config.schema import Config

_START = re.compile(rf"\s+(?=(?:{'|'.join(Config.model_fields)})[.\w-]*=)")
_TOKEN = re.compile(
    r"""(?<![\w])"(?:[^"\\]|\\.)*"|(?<![\w])'(?:[^']|'')*'|[\[{]|[\]}]|.""", re.DOTALL
)


def split_overrides(text: str) -> list[str]:
    """Split `a=1 b.c=2` into `a=1` and `b.c=2`.

    A setting ends at spaces or a line break before what begins another one, such as
    `source.path=`; not within quotes or brackets.
    """
    found, start, position, depth = [], 0, 0, 0
    while token := _TOKEN.match(text, position):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        gap = _START.match(text, position) if depth <= 0 else None
        if gap:
            found.append(text[start:position])
            start = gap.end()
        position = gap.end() if gap else token.end()
    return [one for one in (*found, text[start:]) if one.strip()]
