"""The bytes of one response: unpacked as they arrive, and never more than a limit."""

from __future__ import annotations

import zlib

import aiohttp

from pipeline.download.outcomes import Failure, Reason
from pipeline.images import Reject

_GZIP, _DEFLATE, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


async def read_body(response: aiohttp.ClientResponse, max_bytes: int, truncate: bool) -> bytes:
    """Read and unpack the body; a longer one is cut at `max_bytes` if `truncate`.

    Photos are requested without compression, but not every server respects that. A small packed
    body may unpack to any size, so both sizes count, and at most `max_bytes` + 1 are ever unpacked.

    Raises:
        Failure: the body is longer, or of an unknown encoding.
        zlib.error: the packed data are damaged, or end early.
    """
    too_large = Failure(Reject.TOO_MANY_BYTES, response.status, rejected=True)
    if not truncate and (response.content_length or 0) > max_bytes:
        raise too_large
    inflater = _inflater(response)
    received, size, parts = 0, 0, list[bytes]()
    async for data in response.content.iter_any():
        received += len(data)
        part = inflater.add(data, max_bytes + 1 - size) if inflater else data
        parts.append(part)
        size += len(part)
        if max(received, size) > max_bytes:
            if truncate:
                break
            raise too_large
    else:
        if inflater and received:
            inflater.end()
    return b"".join(parts)[:max_bytes]


def _inflater(response: aiohttp.ClientResponse) -> _Inflater | None:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Failure(Reason.UNKNOWN_ENCODING, response.status)
    return _Inflater(encoding)


class _Inflater:
    """Unpacks a body; raises zlib.error if it is damaged or ends early."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._stream: zlib._Decompress | None = None

    def add(self, data: bytes, max_bytes: int) -> bytes:
        if self._stream is None:
            # "deflate" means the zlib format, recognized by its first byte; some servers send
            # the data without that wrapping.
            wrapping = _DEFLATE if data[0] & 15 == 8 else _RAW_DEFLATE
            self._stream = zlib.decompressobj(_GZIP if "gzip" in self._encoding else wrapping)
        return self._stream.decompress(data, max_bytes)

    def end(self) -> None:
        if self._stream is None or not self._stream.eof:
            raise zlib.error("the packed data end early")
