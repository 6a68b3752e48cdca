"""Text → a URL that may be requested, parsed as a browser does."""

from __future__ import annotations

import re
import socket

from yarl import URL

from pipeline.download.outcomes import Failure, Reason

_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_BLANKS = "".join(map(chr, range(33)))


def parse(text: str, base: URL | None = None) -> URL:
    """Parse an http or https URL with a host; a relative one is resolved against `base`.

    Raises:
        Failure: the text is no such URL.
    """
    try:
        url = URL(text.strip(_BLANKS))
        url = base.join(url) if base is not None else url
        if url.scheme not in ("http", "https"):
            raise Failure(Reason.NOT_HTTP if url.scheme else Reason.NOT_A_URL)
        if ":" in (url.user or ""):
            raise ValueError("a user name has no colon")
        f"{url.user}{url.password}".encode("latin-1")  # as it is encoded in the request
        return _with_plain_host(url)
    except (ValueError, IndexError) as error:  # IndexError: yarl, of http://[::1]@/
        raise Failure(Reason.NOT_A_URL) from error


def _with_plain_host(url: URL) -> URL:
    host = url.raw_host or ""
    if ":" in host:
        return url
    if not _NAME.fullmatch(host) or len(host) > 253 or not url.port:
        raise ValueError(f"{host!r} is not a host")
    if _NUMBER.fullmatch(host):
        # Browsers read 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1. They are written out here
        # so that every later step reads the same address.
        try:
            plain = socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
        except OSError as error:
            raise ValueError(f"{host!r} is not an address") from error
        return url if plain == host else url.with_host(plain)
    return url
