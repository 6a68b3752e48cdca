"""The cookies of one photo, which servers set and want back within its redirects (RFC 6265).

Unlike those of `aiohttp.CookieJar`, values are sent back byte for byte. What only matters to who
keeps cookies for longer is not there: when they expire, unless at once, and for which sites.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from yarl import URL

from pipeline.download.http_dates import parse_date

_MAX_COOKIES = 50
_MAX_SIZE = 4096  # characters of name and value, as in browsers
_MAX_HEADER = 2 * _MAX_SIZE  # with all attributes: they are short


@dataclass(frozen=True)
class _Cookie:
    """A name and value, and where they are sent: to `domain` alone, or also to those below it."""

    pair: str
    domain: str
    below: bool
    path: str
    secure: bool

    def is_for(self, url: URL) -> bool:
        host, path = url.raw_host or "", url.raw_path
        return (
            (host == self.domain or (self.below and host.endswith(f".{self.domain}")))
            and (path == self.path or path.startswith(f"{self.path.removesuffix('/')}/"))
            and (url.scheme == "https" or not self.secure)
        )


@dataclass
class Cookies:
    """What servers have set so far.

    cookies = Cookies()
    cookies.update(url, ["visit=1; Path=/"])
    cookies.header(url)    # "visit=1"
    """

    _kept: dict[tuple[str, str, str], _Cookie] = field(default_factory=dict)

    def header(self, url: URL) -> str:
        """Return the value of `Cookie` for a request, longer paths first; "" if there is none."""
        cookies = [cookie for cookie in self._kept.values() if cookie.is_for(url)]
        cookies.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(cookie.pair for cookie in cookies)

    def update(self, url: URL, headers: Iterable[str]) -> None:
        """Keep or remove what the `Set-Cookie` headers of a response say."""
        for header in headers:
            if len(header) > _MAX_HEADER:
                continue
            pair, *rest = header.split(";")
            name, _, value = (part.strip() for part in pair.partition("="))
            attributes = {
                name.strip().lower(): value.strip()
                for name, _, value in (part.partition("=") for part in rest)
            }
            cookie = _read(f"{name}={value}", attributes, url)
            if not name or "=" not in pair or cookie is None:
                continue
            key = name, cookie.domain, cookie.path
            if _is_expired(attributes):
                self._kept.pop(key, None)
            elif key in self._kept or len(self._kept) < _MAX_COOKIES:
                self._kept[key] = cookie


def _read(pair: str, attributes: dict[str, str], url: URL) -> _Cookie | None:
    """Return the cookie; None if this server may not set it, or it cannot be sent."""
    host = url.raw_host or ""
    domain = attributes.get("domain", "").removeprefix(".").lower() or host
    # A name without a dot would be a whole country's; what ends with a digit is an address.
    is_parent = host.endswith(f".{domain}") and "." in domain and not host[-1].isdigit()
    path = attributes.get("path", "")
    if not path.startswith("/"):
        path = url.raw_path.rpartition("/")[0] or "/"
    secure = "secure" in attributes
    if (
        (domain != host and not is_parent)
        or (secure and url.scheme != "https")
        or len(pair) > _MAX_SIZE
        or re.search("[\x00-\x1f\x7f\ud800-\udfff]", pair)  # surrogates: bytes that are not UTF-8
    ):
        return None
    return _Cookie(pair, domain, "domain" in attributes, path, secure)


def _is_expired(attributes: dict[str, str]) -> bool:
    if re.fullmatch("-?[0-9]+", age := attributes.get("max-age", "")):
        return age.startswith("-") or not age.strip("0")
    date = parse_date(attributes.get("expires", ""))
    return date is not None and date <= datetime.now(UTC)
