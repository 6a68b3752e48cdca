"""Structured values → JSON-able values: JSON, Parquet's nested columns, and Ruby hashes.

Flipkart's specifications are the texts of Ruby hashes, such as `{"a"=>["b", nil]}`.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

_MAX_DEPTH = 50  # no product is nested as deeply, and JSON cannot be written much deeper
_PAIR = {"key", "value"}
# What `surrogateescape` makes of a byte that is not UTF-8 → the character of Windows-1252.
_WINDOWS = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)}
# The strings, escapes and control characters of Ruby.
_STRING = re.compile(r'("(?:[^"\\]++|\\.)*+")', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{1,2})|(u[0-9a-fA-F]{4}|.))", re.S)
_CONTROLS = {"a": "\a", "e": "\x1b", "s": " ", "v": "\v", "0": "\0"}


def structured(value: Any) -> Any:
    """Parse JSON or a Ruby hash; any other text is returned as it is, and None if empty.

    A list of key/value pairs becomes a mapping, so that a specification can be queried.
    """
    try:
        return _by_key(_parse(value) if isinstance(value, str) else value)
    except (ValueError, RecursionError):
        return value or None


def listed(text: str) -> list[Any] | None:
    """Parse a JSON list; None if the text is not one."""
    if not text.lstrip().startswith("["):
        return None
    try:
        return list(json.loads(text))
    except (ValueError, RecursionError):
        return None


def plain(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """Make a value JSON-able: None for NaN, valid text, and text where JSON has no type.

    Raises:
        ValueError: it is nested too deeply.
    """
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return _finite(value)
    if not isinstance(value, dict | list):
        return _text(value) if isinstance(value, bytes) else valid(str(value))
    if depth == 0:
        raise ValueError(f"nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        value = list(value.items())
    elif not value or not isinstance(value[0], tuple):
        return [plain(inner, depth - 1) for inner in value]
    # A mapping; pyarrow gives those of Parquet as lists of tuples.
    return {str(plain(key, depth - 1)): plain(inner, depth - 1) for key, inner in value}


def valid(text: str) -> str:
    """Replace lone surrogates, which neither SQLite nor UTF-8 can hold."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def from_windows(text: str) -> str:
    """Turn bytes that UTF-8 could not decode, kept by `surrogateescape`, into Windows-1252.

    They nearly always are in that encoding.
    """
    return text if text.isascii() else text.translate(_WINDOWS)


def decode_utf8(data: bytes) -> str:
    """Decode UTF-8, and any bytes in it that are not UTF-8 as Windows-1252."""
    return from_windows(data.decode("utf-8", "surrogateescape"))


def ruby_to_json(text: str) -> str:
    """Write the text of a Ruby hash or list of strings, numbers, booleans and nil as JSON.

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


def _finite(number: float | str) -> float | None:
    number = float(number)
    return number if math.isfinite(number) else None


# Not strict: lines may break inside a text.
_DECODER = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=_finite)


def _parse(text: str) -> Any:
    text = text.strip()
    try:
        value = _DECODER.decode(text)
    except ValueError:
        text = ruby_to_json(text)
        value = _DECODER.decode(text)
    return plain(value) if "\\u" in text else value  # only an escape can make a lone surrogate


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.hex() if len(data) <= 64 else f"{len(data)} bytes"


def _by_key(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """Turn lists of {"key": …, "value": …} into mappings; values without a key go under ""."""
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        raise ValueError(f"nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        if value.keys() != _PAIR or not _is_pair(value):
            return {key: _by_key(inner, depth - 1) for key, inner in value.items()}
        value = [value]  # Flipkart writes a list of one element without brackets
    if not value or not all(map(_is_pair, value)):
        return [_by_key(inner, depth - 1) for inner in value]
    mapping: dict[str, list[Any]] = {}
    for pair in value:
        inner = _by_key(pair.get("value"), depth - 1)
        mapping.setdefault(pair.get("key") or "", []).append(inner)
    return {key: v if key == "" or len(v) > 1 else v[0] for key, v in mapping.items()}


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and value.keys() <= _PAIR
        and isinstance(value.get("key", ""), str | None)
    )
