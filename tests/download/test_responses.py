"""client.py, content_encoding.py: how responses are read, compared with other programs.

What those do was recorded from chromium 156, curl 7.88 (--compressed) and requests 2.34.
"""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from pipeline.download.content_encoding import BrokenEncodingError, unpack
from pipeline.download.cookies import Cookies
from pipeline.download.outcomes import Failed, Fetched, Outcome
from pipeline.download.urls import parse
from tests.download.photo_server import PhotoServer, draw
from tests.download.web_client import HERE, fetch, fetch_one

PHOTO = draw(1)


@pytest.fixture
def server() -> Iterator[PhotoServer]:
    with PhotoServer() as server:
        yield server


def answer(*headers: bytes, body: bytes = PHOTO, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"Connection: close", b"", body])


def fetch_answer(server: PhotoServer, data: bytes) -> Outcome:
    server.raw["/a.jpg"] = data
    return fetch_one(f"{server.address}/a.jpg", backoff=0)


# -- Headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [9_000, 20_000, 60_000, 65_536])  # as curl and browsers take
def test_a_header_may_have_64_kilobytes(server: PhotoServer, size: int) -> None:
    for name in (b"Content-Security-Policy", b"Set-Cookie", b"X-Long"):
        outcome = fetch_answer(server, answer(name + b": a=" + b"x" * size))
        assert isinstance(outcome, Fetched)
        assert outcome.data == PHOTO


def test_there_may_be_hundreds_of_headers(server: PhotoServer) -> None:
    headers = [b"X-%d: %d" % (n, n) for n in range(400)]
    assert isinstance(fetch_answer(server, answer(*headers)), Fetched)


@pytest.mark.parametrize("headers", [[b"X: " + b"x" * 2**20], [b"X: x"] * 5000])
def test_larger_headers_are_not_asked_for_again(server: PhotoServer, headers: list[bytes]) -> None:
    outcome = fetch_answer(server, answer(*headers))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.attempts) == ("response headers too large", 1)
    assert len(server.requests) == 1


# -- Content-Encoding ------------------------------------------------------------------------------


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def brotli(data: bytes) -> bytes:
    packed: bytes = pa.Codec("brotli").compress(data, asbytes=True)
    return packed


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return packed


# The header, the body, why it is no photo ("" if it is one), and where it is or is not one as well:
# (b)rowser, (c)url, (r)equests.
ENCODED = [
    ("gzip", gzip.compress(PHOTO, mtime=0), "", "bcr"),
    ("GZip", gzip.compress(PHOTO, mtime=0), "", "bcr"),
    ("x-gzip", gzip.compress(PHOTO), "", "bcr"),
    ("deflate", zlib.compress(PHOTO), "", "bcr"),
    ("deflate", raw_deflate(PHOTO), "", "bcr"),
    ("br", brotli(PHOTO), "", "bc"),
    ("zstd", zstd(PHOTO), "", "bc"),
    ("gzip, gzip", gzip.compress(gzip.compress(PHOTO)), "", "bcr"),
    ("deflate, gzip", gzip.compress(zlib.compress(PHOTO)), "", "bcr"),
    ("gzip,br", brotli(gzip.compress(PHOTO)), "", "bc"),
    ("gzip, identity", gzip.compress(PHOTO), "", "c"),
    (",gzip", gzip.compress(PHOTO), "", "c"),
    ("gzip\r\nContent-Encoding: deflate", zlib.compress(gzip.compress(PHOTO)), "", "bcr"),
    ("gzip", gzip.compress(PHOTO) + b"more", "", "br"),
    ("identity", PHOTO, "", "bcr"),
    ("none", PHOTO, "", "bcr"),
    ("", PHOTO, "", "bcr"),
    ("utf-8", PHOTO, "", "br"),
    ("aws-chunked", PHOTO, "", "br"),
    ("image/jpeg", PHOTO, "", "br"),
    ("gzip", PHOTO, "broken content encoding", "bcr"),
    ("deflate", PHOTO, "broken content encoding", "bcr"),
    ("br", PHOTO, "broken content encoding", "bc"),
    ("zstd", PHOTO, "broken content encoding", "bc"),
    ("gzip", gzip.compress(PHOTO)[:-100], "broken content encoding", "bcr"),
    ("br", brotli(PHOTO)[:-100], "broken content encoding", "bcr"),
    ("zstd", zstd(PHOTO)[:-100], "broken content encoding", "bcr"),
    ("compress", b"\x1f\x9d" + PHOTO, "unknown content encoding", "bcr"),
    ("gzip, own", gzip.compress(PHOTO), "unknown content encoding", "bcr"),
    ("own, gzip", gzip.compress(PHOTO), "unknown content encoding", "bcr"),
    ("gzip;q=1", gzip.compress(PHOTO), "unknown content encoding", "bcr"),
]


def test_encodings_are_undone_as_by_browsers(server: PhotoServer) -> None:
    for number, (encoding, body, _, _) in enumerate(ENCODED):
        header = b"Content-Encoding: " + encoding.encode()
        server.raw[f"/{number}.jpg"] = answer(header, body=body)
    outcomes = fetch([f"{server.address}/{number}.jpg" for number in range(len(ENCODED))])
    for (encoding, _, reason, _), (_, outcome) in zip(
        ENCODED, sorted(outcomes.items(), key=lambda pair: number_of(pair[0])), strict=True
    ):
        if isinstance(outcome, Failed):
            assert (outcome.reason, outcome.attempts) == (reason, 1), encoding
        else:
            assert (reason, outcome.data) == ("", PHOTO), encoding


def number_of(url: str) -> int:
    return int(url.rpartition("/")[2].partition(".")[0])


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw_deflate, brotli, zstd])
def test_a_small_body_never_unpacks_to_more_than_the_limit(pack: Callable[[bytes], bytes]) -> None:
    names = {gzip.compress: "gzip", brotli: "br", zstd: "zstd"}
    encoding = names.get(pack, "deflate")
    bomb = pack(bytes(2**24))
    assert unpack(bomb, [encoding], 1000) == bytes(1001)
    assert unpack(pack(bytes(1000)), [encoding], 1000) == bytes(1000)
    with pytest.raises(BrokenEncodingError):  # the inner one is cut, however large the outer one
        unpack(pack(bomb), [encoding, encoding], 10)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_an_empty_body_is_empty(encoding: str) -> None:
    assert unpack(b"", [encoding], 1000) == b""


# -- Cookies ---------------------------------------------------------------------------------------

# A cookie that /shop/a.jpg sets, and what is sent to /shop/b.jpg: by curl as well, but in another
# order.
COOKIES = [
    ("a=1", "a=1"),
    ("a=1; Path=/; HttpOnly; SameSite=Lax", "a=1"),
    ("a=x y,z/==; Path=/", "a=x y,z/=="),
    ('a="q r"', 'a="q r"'),
    ("a=", "a="),
    ("a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "a=1"),
    ("a=1; Domain=shop.example", "a=1"),
    ("a=1\r\nSet-Cookie: b=2", "a=1; b=2"),
    ("a=1\r\nSet-Cookie: a=2", "a=2"),
    ("a=1\r\nSet-Cookie: a=; Max-Age=0", None),
    ("a=1; Path=/\r\nSet-Cookie: b=2", "b=2; a=1"),
    ("a=1; Domain=.Shop.Example; Path=/shop/; Max-Age=60", "a=1"),
    ("=1", None),
    ("a=1; Domain=example", None),
    ("a=1; Path=/other", None),
    ("a=1; Path=/sho", None),
    ("a=1; Secure", None),
    ("a=1; Domain=other.example", None),
    ("a=1; Max-Age=0", None),
    ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None),
]


@pytest.mark.parametrize(("cookie", "sent"), COOKIES)
def test_cookies_are_sent_within_the_redirects_of_a_photo(
    server: PhotoServer, cookie: str, sent: str | None
) -> None:
    headers = b"Location: b.jpg", b"Set-Cookie: " + cookie.encode()
    server.raw["/shop/a.jpg"] = answer(*headers, body=b"", status=b"302 Found")
    url = f"http://shop.example:{server.port}/shop/a.jpg"
    fetch([url], names={"shop.example": [HERE]})
    first, second = server.requests
    assert "cookie" not in first.headers
    assert second.headers.get("cookie") == sent


def moved_with_cookie(location: str) -> bytes:
    headers = f"Location: {location}".encode(), b"Set-Cookie: visit=1; Path=/"
    return answer(*headers, body=b"", status=b"302 Found")


@pytest.mark.parametrize(
    ("setter", "cookie", "asked", "sent"),
    [
        ("https://shop.example/", "a=1; Secure", "https://shop.example/", True),
        ("https://shop.example/", "a=1; Secure", "http://shop.example/", False),
        ("http://shop.example/", "a=1; Secure", "https://shop.example/", False),
        ("https://shop.example/", "a=1", "http://shop.example:81/", True),
        ("http://shop.example/", "a=1", "http://img.shop.example/", False),
        ("http://shop.example/", "a=1; Domain=shop.example", "http://img.shop.example/", True),
        ("http://shop.example/", "a=1; Domain=shop.example", "http://othershop.example/", False),
        ("http://img.shop.example/", "a=1; Domain=shop.example", "http://cdn.shop.example/", True),
        ("http://img.shop.example/", "a=1; Domain=img.shop.example", "http://shop.example/", False),
        ("http://127.0.0.1/", "a=1; Domain=0.1", "http://127.0.0.1/", False),
        ("http://127.0.0.1/", "a=1; Domain=0.0.1", "http://127.0.0.1/", False),
        ("http://127.0.0.1/", "a=1; Domain=127.0.0.1", "http://127.0.0.1/", True),
        ("http://shop.example/x/a", "a=1", "http://shop.example/x/b/c", True),
        ("http://shop.example/x/a", "a=1", "http://shop.example/xy", False),
        ("http://shop.example/", "a=1; Path=/x", "http://shop.example/x", True),
        ("http://shop.example/", "a=1; Path=/%78", "http://shop.example/x", False),
        ("http://shop.example/", "a=" + "1" * 4094, "http://shop.example/x", True),
        ("http://shop.example/", "a=" + "1" * 4095, "http://shop.example/x", False),
        ("http://shop.example/", "a=1" + ";b=2" * 5000, "http://shop.example/x", False),
        ("http://shop.example/", "a=\udcf8", "http://shop.example/x", False),
    ],
)
def test_a_cookie_is_sent_where_its_attributes_say(
    setter: str, cookie: str, asked: str, sent: bool
) -> None:
    cookies = Cookies()
    cookies.update(parse(setter), [cookie])
    assert cookies.header(parse(asked)) == (cookie.partition(";")[0] if sent else "")


def test_cookies_are_not_kept_without_limit() -> None:
    url, cookies = parse("http://shop.example/"), Cookies()
    cookies.update(url, [f"a{n}=1" for n in range(10_000)])
    assert len(cookies.header(url)) < 1000


def test_a_server_that_wants_its_cookie_back_gets_it(server: PhotoServer) -> None:
    """It redirects to itself until it gets one, as shops' servers do."""
    for host in ("shop.example", HERE):
        url = server.url("wants-cookie/1", host)
        (outcome,) = fetch([url], names={"shop.example": [HERE], HERE: [HERE]}).values()
        assert isinstance(outcome, Fetched)
        assert outcome.data == server.photo(1)


def test_no_cookie_goes_to_another_host_or_photo(server: PhotoServer) -> None:
    server.raw["/a.jpg"] = moved_with_cookie(f"http://other.example:{server.port}/b.jpg")
    server.raw["/b.jpg"] = moved_with_cookie(f"http://shop.example:{server.port}/c.jpg")
    urls = [f"http://shop.example:{server.port}/{name}.jpg" for name in ("a", "c")]
    fetch(urls, names={"shop.example": [HERE], "other.example": [HERE]}, per_host=1)
    sent = [(r.path, r.headers.get("cookie")) for r in server.requests]
    assert sorted(sent, key=str) == [
        ("/a.jpg", None), ("/b.jpg", None), ("/c.jpg", "visit=1"), ("/c.jpg", None),
    ]  # fmt: skip


# -- Dates -----------------------------------------------------------------------------------------


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Tokyo", "EST5EDT"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another time zone of this machine."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "form",
    [
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %d %H:%M:%S %Y",
        "%a, %d %b %Y %H:%M:%S",
        "%a, %d %b %Y %H:%M:%S -0000",
        "%a, %d %b %Y %H:%M:%S UTC",
    ],
)
@pytest.mark.usefixtures("zone")
def test_dates_are_in_gmt_whatever_the_zone(server: PhotoServer, form: str) -> None:
    date = {
        hours: time.strftime(form, time.gmtime(time.time() + 3600 * hours)) for hours in (-1, 1)
    }
    later = f"Retry-After: {date[1]}".encode()
    outcome = fetch_answer(server, answer(later, body=b"", status=b"503 Busy"))
    assert isinstance(outcome, Failed)
    assert outcome.attempts == 1  # an hour is longer than any photo may take
    past = f"Retry-After: {date[-1]}".encode()
    outcome = fetch_answer(server, answer(past, body=b"", status=b"503 Busy"))
    assert isinstance(outcome, Failed)
    assert outcome.attempts == 3
