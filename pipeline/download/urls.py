r"""Text → the URL that is requested, which is the very one that was written.

The reference is what browsers send (WHATWG's URL standard): `%27`, `%2F` and `%7e` stay as they
are, because signatures depend on them; a backslash is a slash; tabs and line breaks are dropped;
`..` and `%2e%2e` are resolved; a query is not touched. What RFC 3986 does not allow in a request
becomes `%XX`, as it mostly does in browsers. They send `[`, `]`, a `%` without two digits, and
`|^`{}\` in a query as they are, which some servers refuse: there we do as requests does.
"""

from __future__ import annotations

import re
import socket
from urllib.parse import unquote

from yarl import URL

from pipeline.download.outcomes import Failure, Reason

_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_BLANKS = "".join(map(chr, range(33)))
_DROPPED = str.maketrans("", "", "\t\n\r")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(.*@)?(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?", re.DOTALL)
_NOT_SENT = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/?%-]")


def parse(text: str, base: URL | None = None) -> URL:
    """Parse an http or https URL with a host; a relative one is resolved against `base`.

        parse("http://shop.example/a%2Fb c.jpg#top")    # http://shop.example/a%2Fb%20c.jpg

    Bytes that are not UTF-8, given as lone surrogates (`surrogateescape`), stay those bytes.

    Raises:
        Failure: the text is no such URL.
    """
    text, _, _ = text.strip(_BLANKS).translate(_DROPPED).partition("#")
    place, mark, query = text.partition("?")
    try:
        origin, path = _split(place.replace("\\", "/"), base)
        if base is not None and not path.startswith("/"):
            if not path and not mark:
                return base
            path = _resolve(path, base.raw_path.removesuffix("?"))
        path = _quote(_without_dots(path))
        if not query:
            path += mark  # yarl would leave out the "?" of an empty query
        return URL.build(
            scheme=origin.scheme,
            user=origin.raw_user,
            password=origin.raw_password,
            host=origin.host_subcomponent or "",
            port=origin.port,
            path=path,
            query_string=_quote(query),
            encoded=True,
        )
    except (ValueError, IndexError) as error:  # IndexError: yarl, of http://[::1]@/
        raise Failure(Reason.NOT_A_URL) from error


def _split(place: str, base: URL | None) -> tuple[URL, str]:
    """Return the origin, with its user, and the path there, which may be relative to `base`."""
    named = _SCHEME.fullmatch(place)
    scheme, rest = (named[1].lower(), named[2]) if named else (base.scheme if base else "", place)
    if scheme not in ("http", "https"):
        raise Failure(Reason.NOT_HTTP if scheme else Reason.NOT_A_URL)
    if base is not None and scheme == base.scheme and not rest.startswith("//"):
        return base, rest
    if base is None and not re.match("//[^/]", rest):
        raise ValueError("no host")  # browsers take any number of slashes; in a table it is a typo
    authority, slash, path = rest.lstrip("/").partition("/")
    authority.encode()  # bytes that are not UTF-8 cannot be in a name
    origin = _origin(scheme, authority)
    if base is not None and origin.user is None and origin.origin() == base.origin():
        origin = base  # as the others do, a host is sent its user and password again
    return origin, slash + path or "/"


def _resolve(path: str, base_path: str) -> str:
    return f"{base_path.rpartition('/')[0]}/{path}" if path else base_path


def _without_dots(path: str) -> str:
    """Resolve the segments `.` and `..`, which may be written with `%2e`."""
    kept, segment = list[str](), ""
    for part in path.removeprefix("/").split("/"):
        segment = re.sub("%2e", ".", part, flags=re.IGNORECASE)
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(part)
    if segment in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _quote(text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return _NOT_SENT.sub(lambda found: b"%%%02X" % found[0][0], data).decode("ascii")


def _origin(scheme: str, authority: str) -> URL:
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError(f"{authority!r} is not a host")
    user, name, port = (part or "" for part in parts.groups())
    url = URL(f"{scheme}://{user}{_decoded(name)}{port}")
    if ":" in (url.user or ""):
        raise ValueError("a user name has no colon")
    f"{url.user}{url.password}".encode("latin-1")  # as it is encoded in the request
    return _with_plain_host(url)


def _decoded(name: str) -> str:
    if "%" not in name or name.startswith("["):
        return name
    name = unquote(name, errors="strict")
    if re.search(r"[/?#@:\[\]\\]", name):
        raise ValueError(f"{name!r} is not a host")
    return name


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
