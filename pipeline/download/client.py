"""One request: a URL → its response, or the reason why there is none."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import time
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from pipeline import images
from pipeline.config import DownloadSettings
from pipeline.download.addresses import ForbiddenAddressError, guarded_sockets
from pipeline.download.content_encoding import BrokenEncodingError, applied_encodings, unpack
from pipeline.download.cookies import Cookies
from pipeline.download.http_dates import parse_date
from pipeline.download.outcomes import SUCCESS, Failure, Reason
from pipeline.download.urls import parse
from pipeline.images import Reject

# AVIF and similar formats, which we cannot read, are sent only to clients that name them.
_HEADERS = {"Accept": "image/jpeg, image/*;q=0.9, */*;q=0.1", "Accept-Encoding": "identity"}
# An idle connection is an open file, and there may be thousands of hosts in a minute.
_KEEP_ALIVE_SECONDS = 2.0
# curl's limit for one header. All of them together take at most 50 MB.
_MAX_HEADER_BYTES = 100_000
_MAX_HEADERS = 512
_TOO_LARGE = "Got more than", "Too many headers"  # aiohttp has no error of its own for them
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
    BrokenEncodingError: Reason.BROKEN_ENCODING,
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
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        max_headers=_MAX_HEADERS,
        trust_env=False,
        auto_decompress=False,
        middlewares=(_no_retry,),
    )


async def get(
    session: aiohttp.ClientSession,
    url: URL,
    max_bytes: int,
    *,
    truncate: bool,
    cookies: Cookies,
) -> Response:
    """Make one GET request; a body longer than `max_bytes` is cut there if `truncate`.

    The rest of such a body is not waited for: the connection is closed. `cookies` are sent, as far
    as they are for this URL, and get those of the response.

    Raises:
        Failure: there is no such response.
    """
    status = None
    try:
        sent = cookies.header(url)
        headers = {"Cookie": sent} if sent else None
        async with session.get(url, allow_redirects=False, headers=headers) as response:
            status = response.status
            cookies.update(url, response.headers.getall("Set-Cookie", []))
            if status in SUCCESS:
                return Response(status, await read_body(response, max_bytes, truncate))
            if status in _REDIRECTS:
                return Response(status, redirect=_redirect(url, response))
            raise Failure(f"HTTP {status}", status, pause=_retry_after(status, response.headers))
    except Failure:
        raise
    except Exception as error:
        _raise_if_local(error)
        raise Failure(_reason(error), status) from error


def _raise_if_local(error: Exception) -> None:
    """Raise what this machine, and not the host, is the cause of: every photo would fail."""
    is_out_of_threads = str(error) == "can't start new thread"
    if isinstance(error, MemoryError | ImportError) or is_out_of_threads:
        raise error
    if isinstance(error, OSError) and error.errno in _LOCAL_ERRORS:
        message = os.strerror(error.errno)
        raise OSError(error.errno, message, "the connections of download.concurrency") from error


async def read_body(response: aiohttp.ClientResponse, max_bytes: int, truncate: bool) -> bytes:
    """Read and unpack the body of a response, as `get` says.

    Photos are requested without compression, but not every server respects that. A small packed
    body may unpack to any size, so both sizes count, and at most `max_bytes` + 1 are ever unpacked.

    Raises:
        Failure: the body is longer, or of an unknown encoding.
        BrokenEncodingError: the packed data are damaged, or end early.
    """
    too_large = Failure(Reject.TOO_MANY_BYTES, response.status, rejected=True)
    if not truncate and (response.content_length or 0) > max_bytes:
        raise too_large
    packed = bytearray()
    async for data in response.content.iter_any():
        packed += data
        if len(packed) > max_bytes:
            if truncate:
                break
            raise too_large
    encodings = applied_encodings(response.headers.getall("Content-Encoding", []))
    body, is_whole = bytes(packed), len(packed) <= max_bytes
    if encodings:  # on a thread, because a small body may take long
        body = await asyncio.to_thread(unpack, body, encodings, max_bytes, is_whole=is_whole)
    if len(body) > max_bytes and not truncate:
        raise too_large
    # What is called "utf-8" or "aws-chunked" is mostly sent as it is, and browsers show it.
    if encodings is None and not truncate and not images.suffix(body):
        raise Failure(Reason.UNKNOWN_ENCODING, response.status)
    return body[:max_bytes]


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
    location = response.headers.get("Location", "").strip()
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
    date = parse_date(text)
    return None if date is None else max(0.0, date.timestamp() - time.time())


def _reason(error: Exception) -> Reason:
    if isinstance(error, aiohttp.ClientResponseError) and error.message.startswith(_TOO_LARGE):
        return Reason.HEADERS_TOO_LARGE
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ForbiddenAddressError):
            return Reason.FORBIDDEN_ADDRESS
        if error.errno == errno.ECONNREFUSED:
            return Reason.CONNECTION_REFUSED
    return next(reason for kind, reason in _REASONS.items() if isinstance(error, kind))
