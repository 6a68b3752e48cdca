"""`Content-Encoding`: the body of a response → the bytes of the file, as browsers unpack it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

_PLAIN = {"", "identity", "none"}
_ZLIB = {"gzip", "x-gzip", "deflate"}
_ARROW = {"br": "brotli", "zstd": "zstd"}


class BrokenEncodingError(Exception):
    """Raised if a body is not packed as its response says, or ends early."""


def applied_encodings(headers: Iterable[str]) -> list[str] | None:
    """Return the encodings of a body, the last one applied last; None if one is unknown.

        applied_encodings(["deflate, GZIP"])    # ["deflate", "gzip"]

    `headers` are the values of `Content-Encoding`.
    """
    names = [name.strip().lower() for value in headers for name in value.split(",")]
    names = [name for name in names if name not in _PLAIN]
    return names if all(name in _ZLIB or name in _ARROW for name in names) else None


def unpack(body: bytes, encodings: list[str], max_bytes: int, *, is_whole: bool = True) -> bytes:
    """Undo the encodings; whatever they unpack to, each makes at most `max_bytes` + 1 bytes.

        unpack(gzip.compress(b"photo"), ["gzip"], 1000)    # b"photo"

    If not `is_whole`, the body was cut, and may end early.

    Raises:
        BrokenEncodingError: the body is not packed so, or ends early.
    """
    for encoding in reversed(encodings):
        if body:
            inflate = _inflate if encoding in _ZLIB else _decompress
            body = inflate(body, encoding, max_bytes + 1, is_whole)
    return body


def _inflate(body: bytes, encoding: str, limit: int, is_whole: bool) -> bytes:
    """Unpack gzip and deflate; browsers and curl ignore what follows the end."""
    inflater = zlib.decompressobj(_zlib_format(encoding, body[0]))
    try:
        data = inflater.decompress(body, limit)
    except zlib.error as error:
        raise BrokenEncodingError from error
    if is_whole and len(data) < limit and not inflater.eof:
        raise BrokenEncodingError("the packed data end early")
    return data


def _zlib_format(encoding: str, first_byte: int) -> int:
    """Return zlib's `wbits`. "deflate" means its own format; some servers send the bare data."""
    if encoding == "deflate":
        return zlib.MAX_WBITS if first_byte & 15 == 8 else -zlib.MAX_WBITS
    return 16 + zlib.MAX_WBITS


def _decompress(body: bytes, encoding: str, limit: int, _is_whole: bool) -> bytes:
    """Unpack Brotli and Zstandard, which are sent only by servers that heed no request header."""
    import pyarrow as pa

    try:
        with pa.CompressedInputStream(pa.BufferReader(body), _ARROW[encoding]) as stream:
            data: bytes = stream.read(limit)
            return data
    except OSError as error:
        raise BrokenEncodingError from error
