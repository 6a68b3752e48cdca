"""Ruby hashes as text, `{"a"=>["b", nil]}`, which is how Flipkart's specifications are written."""

from __future__ import annotations

import json
import re

_STRING = re.compile(r'("(?:[^"\\]++|\\.)*+")', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{1,2})|(u[0-9a-fA-F]{4}|.))", re.S)
_CONTROLS = {"a": "\a", "e": "\x1b", "s": " ", "v": "\v", "0": "\0"}


def to_json(text: str) -> str:
    """Write the text of a hash or list of strings, numbers, booleans and nil as JSON.

    Other text gives a result that is not JSON.

    Raises:
        ValueError: it has a NUL outside of its strings, or an escape that is no character.
    """
    parts = _STRING.split(text)
    # Outside of its strings, a hash differs from JSON only in `=>` and `nil`.
    outside = "\0".join(parts[::2]).replace("=>", ":").replace("nil", "null")
    parts[::2] = outside.split("\0")
    if "\\" in text:
        parts[1::2] = [_ESCAPE.sub(_as_json, part) for part in parts[1::2]]
    return "".join(parts)


def _as_json(escape: re.Match[str]) -> str:
    code_point, byte, other = escape.groups()
    if other is None:
        return json.dumps(chr(int(code_point or byte, 16)))[1:-1]
    if other[0] in '"\\/bfnrt' or len(other) == 5:
        return escape[0]
    return json.dumps(_CONTROLS.get(other, other))[1:-1]
