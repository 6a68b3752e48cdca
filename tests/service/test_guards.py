"""Who may ask, how often, and how much: refused before it is parsed, and told why."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import logging
import socket
import tempfile
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.responses import PlainTextResponse

from pipeline.config import Config
from pipeline.service import guards, server, uploads
from pipeline.service.clients import RateLimit, client_of
from pipeline.service.guards import BodyGuard
from pipeline.service.tokens import hash_token, new_token
from tests.conftest import png
from tests.engines import Fair
from tests.service.conftest import Client, running, with_settings

PROXY = ip_network("10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # not a proxy: it may write what it likes
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),  # the left is the client's own
        ("10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.7", "10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, nonsense"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["10.0.0.9"], "10.0.0.9"),
        ("10.0.0.1", [""], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_one_that_no_proxy_vouches_against(
    peer: str, forwarded: list[str], client: str
) -> None:
    headers = [(b"x-forwarded-for", text.encode()) for text in forwarded]
    scope = {"type": "http", "client": (peer, 1), "headers": headers}
    assert client_of(scope, [PROXY]) == client


def test_a_client_may_ask_in_bursts_and_then_at_its_rate() -> None:
    now = 0.0
    limit = RateLimit(2, 3, clock=lambda: now)
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.take("b") == 0
    now = 0.5
    assert [limit.take("a"), limit.take("a")] == [0, 0.5]
    now = 100.0
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    same_customer = ["2001:db8:1:2::1", "2001:db8:1:2:3::4", "2001:db8:1:2::9", "2001:db8:1:2::a"]
    assert [limit.take(address) for address in same_customer] == [0, 0, 0, 0.5]


def test_too_many_requests_are_told_when_to_come_again(fair: Fair) -> None:
    with running(with_settings(fair.config, requests_per_second=0.1, burst=2)) as client:
        statuses = [client.get("/api/catalog").status for _ in range(3)]
        refused = client.get("/api/catalog")
        assert statuses == [200, 200, 429]
        assert int(refused.headers["retry-after"]) in range(1, 11)
        assert refused.json["code"] == "rate"
        assert client.get("/healthz").status == 200


def test_without_its_token_nothing_is_shown(fair: Fair) -> None:
    token = new_token()
    with running(with_settings(fair.config, token_hashes=[hash_token(token)])) as client:
        for path in ("/api/catalog", "/", "/photos/" + "0" * 64, "/metrics", "/nowhere"):
            assert client.get(path).status == 401
            assert client.get(path, Authorization=f"Bearer {token[:-1]}").status == 401
        assert client.get("/api/catalog", Authorization=f"Bearer {token}").status == 200
        assert client.get("/healthz").status == 200
        assert "set-cookie" not in client.get("/login?token=wrong").headers
        entered = client.get(f"/login?token={token}")
        assert (entered.status, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "httponly" in cookie.lower()
        assert client.get("/api/catalog", Cookie=cookie.partition(";")[0]).status == 200


def test_browsers_are_told_what_they_may_do(client: Client) -> None:
    for path in ("/", "/api/catalog", "/static/page.css", "/nowhere"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in client.get("/", Origin="https://a.example").headers


def test_listed_sites_may_ask_from_their_scripts(fair: Fair) -> None:
    settings = with_settings(fair.config, cors_origins=["https://shop.example"])
    with running(settings) as client:
        allowed = client.get("/api/catalog", Origin="https://shop.example").headers
        assert allowed["access-control-allow-origin"] == "https://shop.example"
        other = client.get("/api/catalog", Origin="https://other.example").headers
        assert "access-control-allow-origin" not in other


def small(config: Config, **serve: Any) -> Config:
    """Settings under which bodies are soon too large."""
    limits = config.images.model_copy(update={"max_bytes": 100_000})
    return with_settings(config, **serve).model_copy(update={"images": limits})


def send(
    port: int, head: Mapping[str, str], body: bytes, *, times: int = 1, is_gone: bool = False
) -> tuple[bytes, int]:
    """Send a request, its body many times over; return the answer and the bytes that were sent."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    request = f"POST /api/search HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        try:
            for _ in range(times):
                connection.sendall(body)
                sent += len(body)
        except OSError:
            pass
        answer = b""
        try:
            while not is_gone and (part := connection.recv(65536)):
                answer += part
        except OSError:
            pass
    return answer, sent


def test_a_body_that_is_too_large_is_not_read_to_its_end(
    fair: Fair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "DRAIN_SECONDS", 0.2)
    with running(small(fair.config)) as client:
        answer, _ = send(client.port, {"Content-Length": "10000000000"}, b"")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer.lower()
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        _, sent = send(client.port, {"Transfer-Encoding": "chunked"}, chunk, times=2000)
        assert sent < 30_000_000  # what the buffers of both ends hold; the body never ends
        assert client.get("/healthz").status == 200


@pytest.mark.parametrize(
    ("sends", "status", "reads"), [(300_000, 429, 300_000), (10**9, 413, 70_000)]
)
def test_a_refusal_is_sent_and_then_what_still_comes_is_read(
    sends: int, status: int, reads: int
) -> None:
    """Closed with bytes unread, TCP throws away the answer that has not been read yet."""
    left, sent = sends, list[tuple[dict[str, Any], int]]()

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 10_000
        return {"type": "http.request", "body": bytes(10_000), "more_body": left > 0}

    async def send(message: Any) -> None:
        sent.append((dict(message), sends - left))

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("no", 429)(scope, receive, send)

    scope = {"type": "http", "headers": [(b"content-length", str(sends).encode())]}
    asyncio.run(BodyGuard(refuse, 1_000_000, 30)(scope, receive, send))
    (start, _), (body, before), (end, after) = sent
    assert start["status"] == status
    assert (b"connection", b"close") in start["headers"]
    assert (bool(body["body"]), body["more_body"], before) == (True, True, 0)
    assert (end.get("body", b""), end.get("more_body", False), after) == (b"", False, reads)


def test_a_body_that_is_sent_too_slowly_is_given_up(
    fair: Fair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "DRAIN_SECONDS", 0.2)
    with running(small(fair.config, body_timeout=0.3)) as client:
        answer, _ = send(client.port, {"Content-Length": "1000"}, b"begin")
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("kind", ["application/octet-stream", "multipart/form-data; boundary=b"])
def test_no_temporary_file_is_left(
    fair: Fair, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    noise = io.BytesIO()
    Image.effect_noise((1000, 1000), 90).save(noise, "PNG")
    head = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    photo = noise.getvalue()
    body = photo if kind.startswith("app") else head + photo + b"\r\n--b--\r\n"
    with running(with_settings(fair.config)) as client:
        headers = {"Content-Type": kind}
        assert client.request("POST", "/api/search", body, headers).status == 200
        send(client.port, {"Content-Length": "5000000", **headers}, body[:900_000], is_gone=True)
        assert client.request("POST", "/api/search", body, headers).status == 200
        assert list(spool.iterdir()) == []


@pytest.mark.parametrize("length", [40_000, 3_000_000])
def test_headers_have_a_limit(client: Client, length: int) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * length)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "fields",
    [{f"field{i}": "1" for i in range(50)}, {"where": "x" * 50_000}, {"k": "3", "K": "3"}],
)
def test_forms_have_limits(client: Client, fields: dict[str, str]) -> None:
    answer = client.send_form("/api/search", fields, png((1, 2, 3)))
    assert answer.status == 400
    assert answer.json["message"]


def test_the_log_has_a_line_for_each_request_and_not_what_was_asked(
    fair: Fair, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "pipeline.service.access"),
        running(with_settings(fair.config)) as client,
    ):
        client.get("/api/items?q=secret")
        client.get("/a%0ab%1b[31m?token=secret")
    lines = [line.split(" ")[1:5] for line in caplog.messages]
    # Another server of this process may still log what a test before has sent it.
    assert [line for line in lines if line[1] == "GET"] == [
        ["127.0.0.1", "GET", '"/api/items"', "200"],
        ["127.0.0.1", "GET", '"/a\\nb\\u001b[31m"', "404"],
    ]


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /api/search HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        # Two readers may disagree where such a body ends, and the next request begins.
        b"POST /api/search HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked"
        b"\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_no_http_is_told_so_once(client: Client, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
        connection.sendall(request_)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in head.lower()
    assert answer.count(b"HTTP/1.1") == 1
    assert b'{"code":"bad_request","message":' in body


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_headers_that_do_not_come_are_given_up(
    client: Client, before: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
        connection.sendall(before + b"GET / HT")
        answer = b""
        while before and not answer.endswith(b"ok\n"):
            answer += connection.recv(65536)
        connection.sendall(b"TP/1.1")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(65536) == b""


def test_a_site_that_takes_this_machines_address_is_shown_nothing(fair: Fair) -> None:
    config = with_settings(fair.config)
    with running(config, local=True) as client:
        names = [
            "127.0.0.1:8000",
            "[::1]:80",
            "localhost",
            "LOCALHOST:1",
            "a.localhost",
            "10.0.0.1",
        ]
        for name in names:
            assert client.get("/api/catalog", Host=name).status == 200
        for name in (
            "evil.example",
            "127.0.0.1.evil.example:80",
            "localhost.evil.example",
            "a",
            "",
        ):
            assert client.get("/api/catalog", Host=name).status == 421
    with running(with_settings(config, trusted_proxies=["127.0.0.1/32"]), local=True) as client:
        assert client.get("/api/catalog", Host="shop.example").status == 200
    with running(with_settings(config, token_hashes=[hash_token("a")]), local=True) as client:
        assert client.get("/api/catalog", Host="a", Authorization="Bearer a").status == 200


def test_a_token_is_found_among_other_cookies_and_kept_for_https(fair: Fair) -> None:
    settings = {"token_hashes": [hash_token("a")], "trusted_proxies": ["127.0.0.1/32"]}
    with running(with_settings(fair.config, **settings)) as client:
        cookie = 'json={"a":1, "b":"c"}; =; imgsearch-token=a'
        assert client.get("/api/catalog", Cookie=cookie).status == 200
        plain = client.get("/login?token=a").headers["set-cookie"].lower()
        headers = {"X-Forwarded-Proto": "https"}
        secure = client.request("GET", "/login?token=a", headers=headers).headers["set-cookie"]
        assert ("; secure" in plain, "; secure" in secure.lower()) == (False, True)


def test_browsers_are_refused_with_a_page_and_programs_with_json(fair: Fair) -> None:
    with running(with_settings(fair.config, requests_per_second=0.01, burst=6)) as client:
        accept = {"Accept": "text/html,*/*;q=0.8"}
        for method, path, status in [
            ("GET", "/nowhere", 404),
            ("GET", f"/items/{'9' * 5000}", 404),
            ("PUT", "/", 405),
            ("GET", "/report", 404),
        ]:
            page = client.request(method, path, headers=accept)
            assert (page.status, page.headers["content-type"][:9]) == (status, "text/html")
            assert b'class="message"' in page.body
        assert client.get(f"/api/items/{'9' * 5000}", **accept).json["code"] == "not_found"
        assert client.get("/nowhere").json["code"] == "not_found"
        page = client.get("/", **accept)
        assert (page.status, page.headers["content-type"][:9]) == (429, "text/html")
        assert "retry-after" in page.headers
        assert client.get("/").json["code"] == "rate"


def test_files_of_the_page_need_not_be_sent_again(client: Client) -> None:
    first = client.get("/static/page.css")
    assert first.headers["content-type"].startswith("text/css")
    headers = {"If-None-Match": first.headers["etag"]}
    again = client.request("GET", "/static/page.css", headers=headers)
    assert (again.status, again.body) == (304, b"")
    assert client.get("/static/page.css", Range="bytes=9-3").status == 200


def test_a_full_disk_is_told_and_stops_no_search(
    fair: Fair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with running(with_settings(fair.config, keep_uploads=2)) as client:
        monkeypatch.setattr(uploads, "write_atomic", fail)
        answer = client.post("/api/search", png((1, 2, 3)))
        assert (answer.status, "upload" in answer.json) == (200, False)
        monkeypatch.setattr(tempfile, "SpooledTemporaryFile", fail)
        answer = client.post("/api/search", png((1, 2, 3)))
        assert (answer.status, answer.json["message"]) == (503, "No space left on device")


def test_where_the_catalog_is_stays_with_who_runs_the_service(
    fair: Fair, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    (index,) = fair.config.folder.glob("color/segments/*/index.faiss")
    index.write_bytes(index.read_bytes()[:-1] + b"?")
    answer = client.get("/api/search?item=1")
    assert (answer.status, answer.json["code"]) == (503, "damaged")
    assert str(fair.config.folder) not in answer.body.decode()
    assert str(index.parent) in caplog.text
