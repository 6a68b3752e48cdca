"""One request: a URL → its response, or the reason why there is none."""

from __future__ import annotations

import errno
import re
import time
import zlib
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from pipeline.config import DownloadSettings
from pipeline.download.addresses import ForbiddenAddressError, guarded_sockets
from pipeline.download.outcomes import SUCCESS, Failure, Reason
from pipeline.download.urls import parse
from pipeline.images import Reject

# AVIF and similar formats, which we cannot read, are sent only to clients that name them.
_HEADERS = {"Accept": "image/jpeg, image/*;q=0.9, */*;q=0.1", "Accept-Encoding": "identity"}
# An idle connection is an open file, and there may be thousands of hosts in a minute.
_KEEP_ALIVE_SECONDS = 2.0
_REDIRECTS = {301, 302, 303, 307, 308}
_LOCAL_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
# The first type that an exception has gives its reason.
_REASONS: dict[type[Exception], Reason] = {
    aiohttp.ClientConnectorDNSError: Reason.NAME_NOT_FOUND,
    UnicodeError: Reason.NAME_NOT_FOUND,  # before any lookup: it cannot be a name
    aiohttp.ClientSSLError: Reason.TLS_FAILURE,
    aiohttp.ClientConnectorError: Reason.CONNECTION_FAILED,
    aiohttp.ConnectionTimeoutError: Reason.CONNECT_TIMEOUT,
    aiohttp.ServerTimeoutError: Reason.READ_TIMEOUT,
    aiohttp.InvalidURL: Reason.NOT_A_URL,
    aiohttp.ClientResponseError: Reason.INVALID_RESPONSE,
    zlib.error: Reason.BROKEN_ENCODING,
    aiohttp.ClientError: Reason.CONNECTION_LOST,
    OSError: Reason.CONNECTION_LOST,
    # What strangers send goes through parsers that may have bugs. A bug that one response in a
    # million triggers must not cost the others; an error outside of `get` still stops the run.
    Exception: Reason.INVALID_RESPONSE,
}


class Response(NamedTuple):
    """What a server sent: a body, or the URL of a redirect."""

    status: int
    data: bytes = b""
    redirect: URL | None = None


def open_session(
    settings: DownloadSettings, resolver: AbstractResolver | None
) -> aiohttp.ClientSession:
    """Return a session that checks each address, uses no proxy and keeps no cookie."""
    connector = aiohttp.TCPConnector(
        limit=0,  # the schedule limits connections
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        resolver=resolver,
        socket_factory=guarded_sockets(settings.allow_addresses),
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers={**_HEADERS, "User-Agent": settings.user_agent},
        timeout=aiohttp.ClientTimeout(
            total=None, connect=settings.connect_timeout, sock_read=settings.read_timeout
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        middlewares=(_no_retry,),
    )


async def get(session: aiohttp.ClientSession, url: URL, max_bytes: int, truncate: bool) -> Response:
    """Make one GET request; a body longer than `max_bytes` is cut there if `truncate`.

    The rest of such a body is not waited for: the connection is closed.

    Raises:
        Failure: there is no such response.
    """
    status = None
    try:
        async with session.get(url, allow_redirects=False) as response:
            status = response.status
            if status in SUCCESS:
                return Response(status, await read_body(response, max_bytes, truncate))
            if status in _REDIRECTS:
                return Response(status, redirect=_redirect(url, response))
            raise Failure(f"HTTP {status}", status, pause=_retry_after(status, response.headers))
    except Failure:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in _LOCAL_ERRORS:
            raise  # every other photo would fail too
        raise Failure(_reason(error), status) from error


async def read_body(response: aiohttp.ClientResponse, max_bytes: int, truncate: bool) -> bytes:
    """Read and unpack the body of a response, as `get` says.

    Photos are requested without compression, but not every server respects that. A small packed
    body may unpack to any size, so both sizes count, and at most `max_bytes` + 1 are ever unpacked.

    Raises:
        Failure: the body is longer, or of an unknown encoding.
        zlib.error: the packed data are damaged, or end early.
    """
    too_large = Failure(Reject.TOO_MANY_BYTES, response.status, rejected=True)
    if not truncate and (response.content_length or 0) > max_bytes:
        raise too_large
    encoding, inflater = _packed_encoding(response), None
    received, size, parts = 0, 0, list[bytes]()
    async for data in response.content.iter_any():
        received += len(data)
        part = data
        if encoding:
            inflater = inflater or zlib.decompressobj(_zlib_format(encoding, data[0]))
            part = inflater.decompress(data, max_bytes + 1 - size)
        parts.append(part)
        size += len(part)
        if max(received, size) > max_bytes:
            if truncate:
                break
            raise too_large
    else:
        if inflater and not inflater.eof:
            raise zlib.error("the packed data end early")
    return b"".join(parts)[:max_bytes]


def _packed_encoding(response: aiohttp.ClientResponse) -> str | None:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Failure(Reason.UNKNOWN_ENCODING, response.status)
    return encoding


def _zlib_format(encoding: str, first_byte: int) -> int:
    """Return zlib's `wbits`. "deflate" means its own format; some servers send the bare data."""
    if encoding == "deflate":
        return zlib.MAX_WBITS if first_byte & 15 == 8 else -zlib.MAX_WBITS
    return 16 + zlib.MAX_WBITS


async def _no_retry(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request by itself: attempts are counted by the fetcher."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise Failure(Reason.CONNECTION_LOST) from error


def _redirect(url: URL, response: aiohttp.ClientResponse) -> URL:
    location = response.headers.get("Location")
    if not location:
        raise Failure(Reason.REDIRECT_NOWHERE, response.status)
    try:
        return parse(location, url)
    except Failure as failure:
        raise Failure(failure.reason, response.status) from failure


def _retry_after(status: int, headers: Mapping[str, str]) -> float | None:
    """Return the seconds of `Retry-After`, which may be a number or a date; None if not sent."""
    text = headers.get("Retry-After", "").strip()
    if status not in (429, 503) or not text:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _reason(error: Exception) -> Reason:
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ForbiddenAddressError):
            return Reason.FORBIDDEN_ADDRESS
        if error.errno == errno.ECONNREFUSED:
            return Reason.CONNECTION_REFUSED
    return next(reason for kind, reason in _REASONS.items() if isinstance(error, kind))
