"""fetcher.py, client.py: the outcome of one photo."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from email.utils import formatdate

import pytest

from pipeline import images
from pipeline.download import client
from pipeline.download.outcomes import Failed, Fetched, Outcome
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from tests.download.photo_server import PhotoServer, mixed
from tests.download.web_client import HERE, MAX_BYTES, fetch, fetch_one

NOT_HTTP = "not an http or https URL"


@pytest.fixture(scope="module")
def shared() -> Iterator[PhotoServer]:
    with PhotoServer() as server:
        yield server


@pytest.fixture
def server(shared: PhotoServer) -> PhotoServer:
    shared.requests.clear()
    shared.seen.clear()
    shared.connections = 0
    return shared


def failed(outcome: Outcome) -> tuple[str, int | None, int]:
    """(reason, status, attempts) of what must have failed."""
    assert isinstance(outcome, Failed)
    return outcome.reason, outcome.status, outcome.attempts


# -- Photos as they come ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what",
    [
        "photo/3", "slow/3?seconds=0.2", "chunked/3", "until-close/3", "packed/3",
        "packed/3?encoding=deflate", "packed/3?encoding=raw", "packed/3?encoding=br",
        "packed/3?encoding=zstd", "redirect/3", "redirect/3?hops=5",
    ],
)  # fmt: skip
def test_the_bytes_are_those_of_the_photo(server: PhotoServer, what: str) -> None:
    outcome = fetch_one(server.url(what))
    assert isinstance(outcome, Fetched)
    assert (outcome.data, outcome.status, outcome.attempts) == (server.photo(3), 200, 1)
    assert 0 < outcome.seconds < 3


def test_many_kinds_of_urls_at_once_end_as_expected(server: PhotoServer) -> None:
    expected = mixed(server, 400, 5)
    said: dict[str, tuple[str, str]] = {}
    outcomes = fetch(
        [e.url for e in expected], 20_000_000, backoff=0.05, concurrency=64, per_host=64
    )
    for url, outcome in outcomes.items():
        if isinstance(outcome, Failed):
            said[url] = "rejected" if outcome.rejected else "failed", outcome.reason
            continue
        try:
            images.decode(outcome.data, ImageLimits())
            said[url] = "available", ""
        except RejectedImage as error:
            said[url] = "rejected", str(error.reason)
    assert said == {e.url: (e.state, e.reason) for e in expected}


def test_a_request_has_only_the_expected_headers(server: PhotoServer) -> None:
    # Each redirect sets a cookie, which is not sent with the other photo.
    urls = [server.url(f"redirect/{n}?hops=1", "shop.example") for n in range(2)]
    fetch(urls, names={"shop.example": [HERE]}, per_host=1, user_agent="shop/2 (me@shop.example)")
    assert len(server.requests) == 4
    for request in server.requests:
        headers = request.headers
        assert headers.pop("cookie", None) == ("seen=1" if "/photo" in request.path else None)
        assert headers.pop("accept").startswith("image/jpeg")
        assert headers == {
            "host": f"shop.example:{server.port}",
            "user-agent": "shop/2 (me@shop.example)",
            "accept-encoding": "identity",
        }


def test_no_proxy_is_used(server: PhotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{HERE}:1")
    monkeypatch.setenv("no_proxy", "")
    assert isinstance(fetch_one(server.url("photo/1")), Fetched)


def test_odd_characters_reach_the_server_as_a_browser_sends_them(server: PhotoServer) -> None:
    urls = [server.url(f"photo/{part}/1") for part in ("фото", "a b", "50%", "a|b", "%20+%2F", "%")]
    outcomes = fetch(urls)
    assert all(isinstance(outcome, Fetched) for outcome in outcomes.values())
    assert {request.path.split("/")[2] for request in server.requests} == {
        "%D1%84%D0%BE%D1%82%D0%BE", "a%20b", "50%25", "a%7Cb", "%20+%2F", "%25"
    }  # fmt: skip


def test_a_name_in_another_alphabet_is_looked_up_as_one(server: PhotoServer) -> None:
    names = {"xn--e1afmkfd.xn--p1ai": [HERE]}
    outcome = fetch_one(server.url("photo/1", "пример.рф"), names=names)
    assert isinstance(outcome, Fetched)
    assert server.requests[0].headers["host"] == f"xn--e1afmkfd.xn--p1ai:{server.port}"


def test_connections_are_used_again(server: PhotoServer) -> None:
    fetch([server.url(f"photo/{n}") for n in range(100)], per_host=4)
    assert len(server.requests) == 100
    assert server.connections <= 4


# -- What is not asked for -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://{}/a.jpg", NOT_HTTP),
        ("file:///etc/passwd", NOT_HTTP),
        ("photo.jpg", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://[::1]@/", "not a URL"),
        ("http://[x]@", "not a URL"),
        ("http://[::1]x@", "not a URL"),
        ("http://a%3Ab:c@{}/photo/1.jpg", "not a URL"),
        ("http://%D1%84:x@{}/photo/1.jpg", "not a URL"),
    ],
)
def test_invalid_urls_are_not_requested(server: PhotoServer, url: str, reason: str) -> None:
    outcome = fetch_one(url.format(f"{HERE}:{server.port}"))
    assert outcome == Failed(reason, None, 0, 0)
    assert server.connections == 0


@pytest.mark.parametrize(
    "host", [HERE, "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "①②⑦.0.0.1"]
)
def test_this_machine_is_not_connected_to_unless_allowed(server: PhotoServer, host: str) -> None:
    outcome = fetch_one(server.url("photo/1", host), allow_addresses=())
    assert failed(outcome) == ("forbidden address", None, 1)
    assert server.connections == 0


@pytest.mark.parametrize(
    "host",
    ["127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1]", "169.254.169.254", "10.0.0.1",
     "0.0.0.0", "100.64.0.1", "192.168.1.1", "172.16.0.1", "224.0.0.1", "255.255.255.255",
     "192.0.0.192", "198.18.0.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fd00:ec2::254]"],
)  # fmt: skip
def test_other_addresses_that_are_not_public_are_not_connected_to(
    server: PhotoServer, host: str
) -> None:
    assert failed(fetch_one(server.url("photo/1", host))) == ("forbidden address", None, 1)
    named = fetch_one(
        server.url("photo/1", "shop.example"), names={"shop.example": [host.strip("[]")]}
    )
    assert failed(named) == ("forbidden address", None, 1)
    moved = fetch_one(server.url(f"elsewhere/1?to=http://{host}:{server.port}/photo/1.jpg"))
    assert failed(moved) == ("forbidden address", None, 1)
    assert server.connections == 1  # the one that redirected
    assert len(server.requests) == 1


def test_of_a_names_addresses_only_the_public_ones_are_tried(server: PhotoServer) -> None:
    url = server.url("photo/1", "shop.example")
    all_forbidden = ["10.0.0.1", "::1", "192.168.0.1", "127.0.0.2"]
    assert failed(fetch_one(url, names={"shop.example": all_forbidden}))[0] == "forbidden address"
    assert server.connections == 0
    one_good = ["10.0.0.1", "::1", HERE, "127.0.0.2"]
    assert isinstance(fetch_one(url, names={"shop.example": one_good}), Fetched)


class Moving(dict[str, list[str]]):
    """Names whose address is another one at each look."""

    def __getitem__(self, name: str) -> list[str]:
        return [super().__getitem__(name).pop(0)]


def test_a_name_is_checked_at_every_connection(server: PhotoServer) -> None:
    with PhotoServer() as other:
        there = other.url("photo/1", "shop.example")
        urls = [server.url(f"elsewhere/1?to={there}", "shop.example")]
        moved = fetch(urls, names=Moving({"shop.example": [HERE, "127.0.0.2"]}))[urls[0]]
        assert failed(moved) == ("forbidden address", None, 1)
        assert (len(server.requests), other.connections) == (1, 0)
        stayed = fetch(urls, names=Moving({"shop.example": [HERE, HERE]}))[urls[0]]
        assert isinstance(stayed, Fetched)


# -- Redirects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 4])
def test_redirects_are_followed_up_to_the_limit(server: PhotoServer, limit: int) -> None:
    enough, over = (server.url(f"redirect/1?hops={hops}") for hops in (limit, limit + 1))
    if limit:
        assert isinstance(fetch_one(enough, redirects=limit), Fetched)
    server.requests.clear()
    assert failed(fetch_one(over, redirects=limit))[::2] == ("too many redirects", 1)
    assert len(server.requests) == limit + 1


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("loop/1", "too many redirects"),
        ("elsewhere/1", "redirect without a place to go"),
        ("elsewhere/1?to=file:///etc/passwd", NOT_HTTP),
        ("elsewhere/1?to=http://[", "not a URL"),
        ("elsewhere/1?to=http://[::1]@/", "not a URL"),
        ("elsewhere/1?to=http://[x]@", "not a URL"),
        ("elsewhere/1?to=http://[::1]x@", "not a URL"),
        ("elsewhere/1?to=//a%253Ab:c@shop.example/", "not a URL"),
    ],
)
def test_redirects_without_a_valid_target_fail(server: PhotoServer, what: str, reason: str) -> None:
    assert failed(fetch_one(server.url(what))) == (reason, 302, 1)


# -- Bugs ------------------------------------------------------------------------------------------


class BugError(Exception):
    pass


@pytest.mark.parametrize(
    ("where", "what", "status"),
    [
        ("client.applied_encodings", "packed/1", 200),
        ("client._redirect", "redirect/1", 301),
        ("client._retry_after", "status/1?is=429", 429),
    ],
)
def test_a_bug_triggered_by_one_response_fails_only_that_photo(
    server: PhotoServer, monkeypatch: pytest.MonkeyPatch, where: str, what: str, status: int
) -> None:
    def trip(*parts: object) -> list[str]:
        if [] in parts:
            return []  # of a response without such headers
        raise BugError

    monkeypatch.setattr(f"pipeline.download.{where}", trip)
    broken = server.url(what)
    outcomes = fetch([broken, *(server.url(f"photo/{n}") for n in range(5))])
    assert failed(outcomes.pop(broken)) == ("invalid response", status, 3)
    assert all(isinstance(outcome, Fetched) for outcome in outcomes.values())


@pytest.mark.parametrize("where", ["hosts.Host.take_turn", "fetcher.Fetcher._attempt"])
def test_a_bug_outside_of_the_client_stops_the_run(
    server: PhotoServer, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def trip(*_: object) -> None:
        raise BugError

    monkeypatch.setattr(f"pipeline.download.{where}", trip)
    with pytest.raises(BugError):
        fetch([server.url("photo/1")])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("can't start new thread"),
        ImportError("libarrow.so: cannot open shared object file"),
    ],
)
def test_an_error_that_concerns_every_photo_stops_the_run(
    server: PhotoServer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def trip(*_: object) -> None:
        raise error

    monkeypatch.setattr(client, "read_body", trip)
    with pytest.raises(type(error)):
        fetch([server.url("photo/1")])


# -- Sizes and encodings ---------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["photo/1", "chunked/1", "until-close/1", "packed/1"])
def test_a_photo_may_be_as_large_as_the_limit_and_not_larger(
    server: PhotoServer, what: str
) -> None:
    size = len(server.photo(1))
    large = 40 if what == "packed/1" else 0  # packed, it is a bit larger
    assert isinstance(fetch_one(server.url(what), size + large), Fetched)
    outcome = fetch_one(server.url(what), size - 1)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.rejected) == (images.Reject.TOO_MANY_BYTES, True)
    assert (outcome.status, outcome.attempts) == (200, 1)


@pytest.mark.parametrize("what", ["boast/1", "flood/1", "packed-bomb/1"])
def test_a_body_that_is_too_large_is_not_read_to_its_end(server: PhotoServer, what: str) -> None:
    fetch_one(server.url("packed-bomb/1"))  # the server's own memory is not what is measured
    tracemalloc.start()
    outcome = fetch_one(server.url(what), 100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert failed(outcome) == ("too many bytes", 200, 1)
    assert outcome.seconds < 1  # `boast` would take until the read timeout
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("strangely-packed/1", "unknown content encoding"),
        ("mispacked/1", "broken content encoding"),
        ("mispacked/1?cut=1", "broken content encoding"),
    ],
)
def test_bodies_that_cannot_be_unpacked_fail(server: PhotoServer, what: str, reason: str) -> None:
    assert failed(fetch_one(server.url(what))) == (reason, 200, 1)


# -- Attempts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_temporary_status_is_retried(server: PhotoServer, status: int) -> None:
    outcome = fetch_one(server.url(f"status/1?is={status}"))
    assert failed(outcome) == (f"HTTP {status}", status, 3)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [204, 206, 300, 304, 400, 401, 403, 404, 410, 451, 501])
def test_another_status_is_final(server: PhotoServer, status: int) -> None:
    outcome = fetch_one(server.url(f"status/1?is={status}"))
    assert failed(outcome) == (f"HTTP {status}", status, 1)
    assert len(server.requests) == 1


def test_a_photo_that_fails_once_is_fetched(server: PhotoServer) -> None:
    for what in ("fails-once/1", "busy-once/1", "busy-once/2?status=503"):
        outcome = fetch_one(server.url(what))
        assert isinstance(outcome, Fetched)
        assert outcome.attempts == 2
        server.seen.clear()
        assert failed(fetch_one(server.url(what), attempts=1))[2] == 1


@pytest.mark.parametrize("attempts", [1, 2, 4])
@pytest.mark.parametrize("what", ["hang-up/1", "short/1", "reset/1"])
def test_a_lost_connection_is_retried_up_to_the_limit(
    server: PhotoServer, what: str, attempts: int
) -> None:
    reason, _, made = failed(fetch_one(server.url(what), attempts=attempts))
    assert (reason, made, len(server.requests)) == ("connection lost", attempts, attempts)


@pytest.mark.parametrize("what", ["garbage/1", "surplus/1"])
def test_what_is_not_http_is_an_invalid_response(server: PhotoServer, what: str) -> None:
    assert failed(fetch_one(server.url(what)))[0] == "invalid response"


def test_failed_connections_have_different_reasons() -> None:
    outcomes = fetch([f"http://{HERE}:1/a", "http://nowhere.example/a"], names={})
    assert [failed(outcome) for _, outcome in sorted(outcomes.items())] == [
        ("connection refused", None, 3),
        ("name not found", None, 3),
    ]


def test_plain_text_where_tls_is_spoken_is_a_tls_failure() -> None:
    def answer(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(10_000)

    with socket.create_server((HERE, 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,), daemon=True)
        thread.start()
        outcome = fetch_one(f"https://{HERE}:{listener.getsockname()[1]}/a", attempts=2)
        thread.join(5)
    assert failed(outcome) == ("TLS failure", None, 2)


def test_backoff_doubles_and_is_random(
    server: PhotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.0

    monkeypatch.setattr("random.uniform", uniform)
    fetch_one(server.url("status/1?is=500"), attempts=8, backoff=1)
    assert drawn == [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (0, 30), (0, 30)]


def test_running_out_of_files_stops_the_run(
    server: PhotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: object) -> Callable[[object], object]:
        def make(_: object) -> object:
            raise OSError(errno.EMFILE, "Too many open files")

        return make

    monkeypatch.setattr(client, "guarded_sockets", none_left)
    with pytest.raises(OSError, match="Too many open files") as caught:
        fetch([server.url("photo/1")])
    assert caught.value.errno == errno.EMFILE
    assert "download.concurrency" in caught.value.filename


# -- Deadlines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["silent/1", "stalled/1"])
def test_reads_time_out(server: PhotoServer, what: str) -> None:
    outcome = fetch_one(server.url(what), read_timeout=0.2)
    assert (failed(outcome)[0], failed(outcome)[2]) == ("read timeout", 3)
    assert outcome.seconds < 3


def test_the_whole_photo_times_out(server: PhotoServer) -> None:
    outcome = fetch_one(server.url("drip/1"), total_timeout=0.7)
    assert failed(outcome) == ("total timeout", None, 1)
    assert outcome.seconds < 3


def test_a_timeout_during_a_retry_keeps_the_reason_for_the_retry(server: PhotoServer) -> None:
    outcome = fetch_one(server.url("silent/1"), read_timeout=0.3, total_timeout=0.7)
    assert failed(outcome) == ("read timeout", None, 3)
    outcome = fetch_one(server.url("status/1?is=500"), backoff=60, total_timeout=0.5, attempts=20)
    assert failed(outcome)[:2] == ("HTTP 500", 500)
    assert outcome.seconds < 3


def test_connections_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("tests.download.web_client.Names.resolve", never)
    outcome = fetch_one("http://shop.example/a", names={}, connect_timeout=0.1, attempts=2)
    assert failed(outcome) == ("connect timeout", None, 2)


# -- Retry-After -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "as_date"), [(429, False), (503, True)])
def test_retry_after_is_obeyed(server: PhotoServer, status: int, as_date: bool) -> None:
    after = formatdate(int(time.time()) + 2, usegmt=True) if as_date else "1"
    urls = [
        server.url(f"busy-once/1?status={status}&after={after.replace(' ', '%20')}"),
        *(server.url(f"photo/{n}") for n in range(5)),
    ]
    outcomes = fetch(urls, per_host=1)
    assert all(isinstance(outcome, Fetched) for outcome in outcomes.values())
    first, *others = server.requests
    assert first.path.startswith("/busy-once")
    assert len(others) == 6
    assert all(0.9 < other.time - first.time < 3 for other in others)


@pytest.mark.parametrize("after", ["-1", "soon", "Sun, 06 Nov 1994 08:49:37 GMT", "", "9" * 30])
def test_a_retry_after_that_is_invalid_or_past_is_ignored(server: PhotoServer, after: str) -> None:
    outcome = fetch_one(server.url(f"busy-once/1?after={after}"))
    assert isinstance(outcome, Fetched)
    assert outcome.seconds < 1


def test_a_pause_beyond_the_deadline_ends_the_photo(server: PhotoServer) -> None:
    outcome = fetch_one(server.url("status/1?is=429&after=60"))
    assert failed(outcome) == ("HTTP 429", 429, 1)
    assert outcome.seconds < 1


def test_a_host_that_asks_for_hours_is_given_up(server: PhotoServer) -> None:
    urls = [server.url(f"status/{n}?is=503&after=3600") for n in range(20)]
    outcomes = list(fetch(urls, per_host=1).values())
    assert failed(outcomes[0]) == ("HTTP 503", 503, 1)
    assert outcomes[1:] == [Failed("host asked us to wait", None, 0, 0)] * 19
    assert len(server.requests) == 1


def test_retry_after_counts_only_with_its_statuses(server: PhotoServer) -> None:
    outcome = fetch_one(server.url("status/1?is=500&after=3600"))
    assert failed(outcome) == ("HTTP 500", 500, 3)


def test_photos_may_be_of_any_size_up_to_the_limit() -> None:
    photo = random.Random(1).randbytes(MAX_BYTES)
    with PhotoServer([photo]) as server:
        outcome = fetch_one(server.url("photo/1"))
    assert isinstance(outcome, Fetched)
    assert outcome.data == photo
