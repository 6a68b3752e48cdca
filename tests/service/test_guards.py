"""Who may ask, how often, and how much: refused before it is parsed, and told why."""

from __future__ import annotations

import asyncio
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


def test_a_body_that_is_too_large_is_not_read_to_its_end(fair: Fair) -> None:
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


def test_a_body_that_is_sent_too_slowly_is_given_up(fair: Fair) -> None:
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


def test_headers_have_a_limit(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 40_000)
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
    assert [line.split(" ")[1:5] for line in caplog.messages] == [
        ["127.0.0.1", "GET", '"/api/items"', "200"],
        ["127.0.0.1", "GET", '"/a\\nb\\u001b[31m"', "404"],
    ]
