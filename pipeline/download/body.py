"""The bytes of one answer: read as they come, unpacked as they are read, never more than asked."""

from __future__ import annotations

import zlib

import aiohttp

from pipeline.download.outcomes import Failure, Reason
from pipeline.images import Reject

_GZIP, _DEFLATE, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


async def read_body(response: aiohttp.ClientResponse, most: int, cut: bool) -> bytes:
    """The body, unpacked. One of more than `most` bytes is cut there, or raises Failure.

    Photos are asked for unpacked, but not every server listens. A small packed body may unpack to
    anything, so both sizes count, and not more than one byte above `most` is ever unpacked.
    """
    too_large = Failure(Reject.TOO_MANY_BYTES, response.status, rejected=True)
    if not cut and (response.content_length or 0) > most:
        raise too_large
    inflater = _inflater(response)
    received, size, parts = 0, 0, list[bytes]()
    async for data in response.content.iter_any():
        received += len(data)
        part = inflater.add(data, most + 1 - size) if inflater else data
        parts.append(part)
        size += len(part)
        if max(received, size) > most:
            if cut:
                break
            raise too_large
    else:
        if inflater and received:
            inflater.end()
    return b"".join(parts)[:most]


def _inflater(response: aiohttp.ClientResponse) -> _Inflater | None:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Failure(Reason.UNKNOWN_ENCODING, response.status)
    return _Inflater(encoding)


class _Inflater:
    """Raises zlib.error for what is damaged or ends early."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._stream: zlib._Decompress | None = None

    def add(self, data: bytes, most: int) -> bytes:
        if self._stream is None:
            # "deflate" means the zlib format, which says so in its first byte; some servers
            # leave that wrapping out.
            wrapping = _DEFLATE if data[0] & 15 == 8 else _RAW_DEFLATE
            self._stream = zlib.decompressobj(_GZIP if "gzip" in self._encoding else wrapping)
        return self._stream.decompress(data, most)

    def end(self) -> None:
        if self._stream is None or not self._stream.eof:
            raise zlib.error("the packed data end early")
