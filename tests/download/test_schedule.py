"""schedule.py, hosts.py, robots.py: the order of requests, and every outcome."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.download.outcomes import Failed, Fetched, Outcome
from pipeline.download.schedule import fetch_all
from tests.download.photo_server import PhotoServer
from tests.download.web_client import HERE, MAX_BYTES, Names, fetch, settings

HOSTS = {f"{letter}.example": [HERE] for letter in "abcdef"}
GIVEN_UP = Failed("host not answering", None, 0, 0)


@pytest.fixture
def server() -> Iterator[PhotoServer]:
    with PhotoServer() as server:
        yield server


def reasons(outcomes: dict[str, Outcome]) -> Counter[str]:
    return Counter(o.reason if isinstance(o, Failed) else "" for o in outcomes.values())


async def run(urls: Any, handle: Any, **changes: object) -> None:
    await asyncio.wait_for(
        fetch_all(urls, settings(**changes), MAX_BYTES, handle, Names(HOSTS)), timeout=20
    )


# -- How many at once ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concurrency", "per_host", "hosts", "peak"),
    [(1, 1, 6, 1), (5, 2, 1, 2), (6, 6, 1, 6), (4, 8, 1, 4), (6, 6, 6, 1), (20, 3, 6, 3)],
)
def test_both_limits_on_concurrency_hold_and_are_reached(
    server: PhotoServer, concurrency: int, per_host: int, hosts: int, peak: int
) -> None:
    names = list(HOSTS)[:hosts]
    urls = [
        server.url(f"slow/{n}?seconds=0.02", host) for n in range(36 // hosts) for host in names
    ]
    handled, most = 0, 0

    async def handle(url: str, outcome: Outcome) -> None:
        nonlocal handled, most
        assert isinstance(outcome, Fetched)
        most = max(most, len(server.requests) - handled)
        await asyncio.sleep(0.001)
        handled += 1

    asyncio.run(run(urls, handle, concurrency=concurrency, per_host=per_host))
    assert handled == len(urls) == len(server.requests)
    assert most <= concurrency
    assert server.peaks == dict.fromkeys(names, peak)


def test_a_host_that_others_redirect_to_has_its_limit_too(server: PhotoServer) -> None:
    there = f"{server.url('slow/1?seconds=0.05', 'f.example')}"
    urls = [server.url(f"elsewhere/{n}?to={there}", h) for n in range(6) for h in list(HOSTS)[:5]]
    outcomes = fetch(urls, names=HOSTS, per_host=2)
    assert reasons(outcomes) == {"": 30}
    assert server.peaks["f.example"] == 2


def test_a_hosts_slot_is_free_before_the_photo_is_handled(server: PhotoServer) -> None:
    async def main() -> None:
        second = asyncio.Event()

        async def handle(url: str, outcome: Outcome) -> None:
            if url.endswith("/1.jpg"):
                await asyncio.wait_for(second.wait(), 5)
            else:
                second.set()

        await run([server.url("photo/1"), server.url("photo/2")], handle, per_host=1, concurrency=2)

    asyncio.run(main())


@pytest.mark.parametrize("what", ["{}/photo/1.jpg?{}", "not a URL {} {}"])
def test_urls_are_read_only_as_far_as_needed(server: PhotoServer, what: str) -> None:
    class EnoughError(Exception):
        pass

    read, handled = 0, 0

    def urls() -> Iterator[str]:
        nonlocal read
        for read in count():
            yield what.format(server.address, read)

    async def handle(url: str, outcome: Outcome) -> None:
        nonlocal handled
        handled += 1
        assert read < 8192 + 65 + handled
        if handled == 300:
            raise EnoughError

    with pytest.raises(EnoughError):
        asyncio.run(run(urls(), handle))


def test_hosts_take_turns(server: PhotoServer) -> None:
    slow = [server.url(f"slow/{n}?seconds=0.3", "a.example") for n in range(12)]
    quick = [
        server.url(f"photo/{n}", host) for n in range(12) for host in ("b.example", "c.example")
    ]
    done: list[str] = []

    async def handle(url: str, outcome: Outcome) -> None:
        done.append(url)

    asyncio.run(run([*slow, *quick], handle, concurrency=4, per_host=3))
    assert len(done) == 36
    assert max(map(done.index, quick)) < done.index(slow[6])


def test_the_same_url_may_come_twice_and_no_url_at_all(server: PhotoServer) -> None:
    handled: list[str] = []

    async def handle(url: str, outcome: Outcome) -> None:
        handled.append(url)

    asyncio.run(run([server.url("photo/1")] * 3, handle))
    asyncio.run(run([], handle))
    assert handled == [server.url("photo/1")] * 3


@pytest.mark.parametrize("what", ["photo/{}", "status/{}?is=500"])
def test_requests_to_a_host_are_spaced(server: PhotoServer, what: str) -> None:
    urls = [
        server.url(what.format(n), host) for n in range(4) for host in ("a.example", "b.example")
    ]
    outcomes = fetch(urls, names=HOSTS, requests_per_second=20, attempts=2)
    assert len(outcomes) == 8
    for host in ("a.example", "b.example"):
        times = [r.time for r in server.requests if r.headers["host"].startswith(host)]
        assert len(times) == (4 if what.startswith("photo") else 8)
        # One that was sent late makes the gap after it short.
        assert all(b - a > 0.03 for a, b in pairwise(times))
        assert times[-1] - times[0] > 0.048 * (len(times) - 1)


# -- Hosts that fail -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "reason"),
    [("silent/{}", "read timeout"), ("hang-up/{}", "connection lost"),
     ("status/{}?is=429", "HTTP 429"), ("status/{}?is=501", "HTTP 501")],
)  # fmt: skip
def test_a_host_that_keeps_failing_is_given_up(server: PhotoServer, what: str, reason: str) -> None:
    urls = [server.url(what.format(n), "a.example") for n in range(300)]
    urls += [server.url(f"photo/{n}", "b.example") for n in range(20)]
    outcomes = fetch(urls, names=HOSTS, give_up_after=5, per_host=2, attempts=1, read_timeout=0.1)
    counts = reasons(outcomes)
    assert counts[""] == 20
    assert 5 <= counts[reason] <= 6  # one may have been under way
    assert counts["host not answering"] == 300 - counts[reason]
    assert list(outcomes.values()).count(GIVEN_UP) == counts["host not answering"]
    assert len(server.asked()) == 20 + counts[reason]


def test_a_dead_host_is_given_up(server: PhotoServer) -> None:
    counts = reasons(fetch((f"http://{HERE}:1/{n}" for n in range(10_000)), give_up_after=20))
    assert 20 <= counts["connection refused"] < 30
    assert sum(counts.values()) == 10_000
    assert counts["host not answering"] == 10_000 - counts["connection refused"]


@pytest.mark.parametrize("between", ["photo/1", "status/1?is=404", "redirect/1"])
def test_a_host_that_sometimes_responds_is_not_given_up(server: PhotoServer, between: str) -> None:
    urls = []
    for n in range(10):
        urls += [server.url(f"hang-up/{n}-{m}/{n}") for m in range(2)]
        urls.append(server.url(f"{between}&{n}" if "?" in between else f"{between}?{n}"))
    outcomes = fetch(urls, give_up_after=3, per_host=1, attempts=1)
    assert "host not answering" not in reasons(outcomes)


def test_missing_photos_are_not_the_hosts_fault(server: PhotoServer) -> None:
    outcomes = fetch((server.url(f"status/{n}?is=404") for n in range(30)), give_up_after=3)
    assert reasons(outcomes) == {"HTTP 404": 30}


def test_a_failure_after_a_redirect_counts_for_its_target(server: PhotoServer) -> None:
    dead = server.url("hang-up/1", "b.example")
    urls = [server.url(f"elsewhere/{n}?to={dead}", "a.example") for n in range(30)]
    urls += [
        server.url(f"photo/{n}", host) for n in range(30) for host in ("a.example", "b.example")
    ]
    outcomes = fetch(urls, names=HOSTS, give_up_after=5, per_host=1, attempts=1)
    by_host = {
        host: reasons({u: o for u, o in outcomes.items() if f"//{host}" in u and "photo" in u})
        for host in ("a.example", "b.example")
    }
    assert by_host["a.example"] == {"": 30}
    assert by_host["b.example"][""] < 30 or reasons(outcomes)["connection lost"] == 30


def test_a_turn_after_the_deadline_is_not_a_failure_of_the_host(server: PhotoServer) -> None:
    with PhotoServer(robots=("200 OK", "User-agent: *\nCrawl-delay: 1\n")) as other:
        urls = [server.url(f"elsewhere/{n}?to={other.url('photo/1')}") for n in range(10)]
        urls += [other.url(f"photo/{n}") for n in range(3)]
        outcomes = fetch(urls, robots="obey", give_up_after=3, total_timeout=0.9)
    assert "host not answering" not in reasons(outcomes)
    assert all(isinstance(outcomes[url], Fetched) for url in urls[10:])


def test_a_redirect_target_whose_robots_never_load_is_given_up(
    server: PhotoServer,
) -> None:
    with PhotoServer(robots=("302 Found", "")) as other:
        other.robots_at = other.url("drip/1")
        urls = [server.url(f"elsewhere/{n}?to={other.url('photo/1')}") for n in range(20)]
        outcomes = fetch(urls, robots="obey", give_up_after=3, per_host=3, total_timeout=0.5)
    counts = reasons(outcomes)
    assert set(counts) == {"total timeout", "host not answering"}
    assert counts["total timeout"] < 8


# -- Endings ---------------------------------------------------------------------------------------


class StopError(Exception):
    pass


@asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        assert asyncio.all_tasks() == {asyncio.current_task()}
        gc.collect()


@pytest.mark.parametrize("what", ["photo/{}", "silent/{}", "drip/{}"])
def test_an_error_while_handling_stops_the_run(
    server: PhotoServer, what: str, recwarn: pytest.WarningsRecorder
) -> None:
    async def handle(url: str, outcome: Outcome) -> None:
        raise StopError(url)

    async def main() -> None:
        async with nothing_left_behind():
            urls = (server.url(f"{what.format(n)}") for n in count())
            with pytest.raises(StopError) as caught:
                await run(urls, handle, read_timeout=0.2, total_timeout=0.5)
            assert type(caught.value) is StopError

    asyncio.run(main())
    gc.collect()
    assert not recwarn.list


def test_an_error_while_reading_urls_stops_the_run(
    server: PhotoServer, recwarn: pytest.WarningsRecorder
) -> None:
    def urls() -> Iterator[str]:
        for n in range(1000):
            yield server.url(f"silent/{n}")
        raise StopError

    async def handle(url: str, outcome: Outcome) -> None:
        pass

    async def main() -> None:
        async with nothing_left_behind():
            with pytest.raises(StopError):
                await run(urls(), handle)

    asyncio.run(main())
    gc.collect()
    assert not recwarn.list


@pytest.mark.parametrize("robots", ["ignore", "obey"])
def test_canceling_stops_the_run(
    server: PhotoServer, robots: str, recwarn: pytest.WarningsRecorder
) -> None:
    async def handle(url: str, outcome: Outcome) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with nothing_left_behind():
            kinds = ("photo", "silent", "drip", "slow", "status/1?is=500&after=2&", "loop")
            urls = (server.url(f"{kinds[n % 6]}/{n}") for n in count())
            task = asyncio.create_task(run(urls, handle, robots=robots))
            while len(server.requests) < 20:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    gc.collect()
    assert not recwarn.list


def test_ctrl_c_prints_no_warning(server: PhotoServer, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio\n"
        "from tests.download.web_client import settings\n"
        "from pipeline.download.schedule import fetch_all\n"
        "async def handle(url, outcome): pass\n"
        f"urls = ('{server.address}/' + what + f'/{{n}}.jpg' for n in range(10**6)"
        " for what in ('silent', 'photo', 'drip'))\n"
        "try:\n"
        "    asyncio.run(fetch_all(urls, settings(per_host=64), 10**6, handle))\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-X", "dev", "-W", "error", str(program)]
    with subprocess.Popen(
        command, cwd=root, env={"PYTHONPATH": str(root)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 20
        while len(server.requests) < 30 and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert out == "interrupted\n"
    slow = [line for line in err.splitlines() if not line.startswith("Executing <")]
    assert slow == []  # asyncio's development mode also reports callbacks that took long


# -- robots.txt ------------------------------------------------------------------------------------


def test_robots_are_loaded_once_and_obeyed(server: PhotoServer) -> None:
    server.robots = "200 OK", "User-agent: *\nDisallow: /status\nAllow: /status/1.jpg\n"
    urls = [server.url(f"{what}/{n}", host) for n in range(20) for what in ("photo", "status")
            for host in ("a.example", "b.example")]  # fmt: skip
    allowed = [url for url in urls if "photo" in url]
    outcomes = fetch([url for url in urls if "/status/1." not in url], names=HOSTS, robots="obey")
    assert all(isinstance(outcomes[url], Fetched) for url in allowed)
    refused = [outcome for url, outcome in outcomes.items() if "status" in url]
    assert refused == [Failed("disallowed by robots.txt", None, 0, 0)] * 38
    assert len(server.asked("/robots.txt")) == 2
    assert len(server.requests) == 2 + len(allowed)


@pytest.mark.parametrize(
    ("agent", "reason"), [("imgsearch/0.1 (hello)", "disallowed by robots.txt"), ("other", "")]
)
def test_rules_apply_to_the_user_agents_they_name(
    server: PhotoServer, agent: str, reason: str
) -> None:
    server.robots = "200 OK", "User-agent: ImgSearch\nDisallow: /\n\nUser-agent: *\nDisallow:\n"
    assert reasons(fetch([server.url("photo/1")], robots="obey", user_agent=agent)) == {reason: 1}


def test_ignored_robots_are_not_loaded(server: PhotoServer) -> None:
    server.robots = "200 OK", "User-agent: *\nDisallow: /\n"
    assert reasons(fetch([server.url("photo/1")], robots="ignore")) == {"": 1}
    assert server.asked("/robots.txt") == []


@pytest.mark.parametrize(
    "status",
    ["404 Not Found", "403 Forbidden", "410 Gone", "401 No", "204 No Content", "202 Accepted",
     "206 Partial Content"],
)  # fmt: skip
def test_without_rules_everything_is_allowed(server: PhotoServer, status: str) -> None:
    server.robots = status, "" if status.startswith("204") else "User-agent: *\nDisallow: /\n"
    assert reasons(fetch([server.url("photo/1")], robots="obey")) == {"": 1}


@pytest.mark.parametrize("give_up_after", [1, 8])
@pytest.mark.parametrize("status", ["500 Oh", "503 Oh"])
def test_without_a_readable_answer_nothing_is_allowed(
    server: PhotoServer, status: str, give_up_after: int
) -> None:
    server.robots = status, ""
    urls = [server.url(f"photo/{n}") for n in range(20)]
    outcomes = list(fetch(urls, robots="obey", give_up_after=give_up_after).values())
    assert outcomes == [Failed("robots.txt unavailable", None, 0, 0)] * 20
    assert len(server.requests) == 3  # attempts


def test_damaged_rules_allow_nothing(server: PhotoServer) -> None:
    server.robots, server.robots_at = ("302 Found", ""), server.url("mispacked/1")
    outcomes = fetch([server.url("photo/1")], robots="obey")
    assert reasons(outcomes) == {"robots.txt unavailable": 1}


@pytest.mark.parametrize("method", ["parse", "crawl_delay", "can_fetch"])
def test_rules_that_trigger_a_bug_allow_nothing(
    server: PhotoServer, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def trip(*_: object) -> None:
        raise IndexError

    monkeypatch.setattr(f"pipeline.download.robots.Protego.{method}", trip)
    server.robots = "200 OK", "User-agent: *\nDisallow:\n"
    reason = "disallowed by robots.txt" if method == "can_fetch" else "robots.txt unavailable"
    assert reasons(fetch([server.url("photo/1")], robots="obey")) == {reason: 1}


@pytest.mark.parametrize("give_up_after", [1, 8])
def test_a_missing_host_is_reported_as_missing(server: PhotoServer, give_up_after: int) -> None:
    hosts = {
        f"http://{HERE}:1": "connection refused",
        "http://127.0.0.2": "forbidden address",
        "http://nowhere.example": "name not found",
    }
    urls = {f"{host}/{n}": reason for host, reason in hosts.items() for n in range(20)}
    # A redirect to such a host ends as a photo that is there, and is not tried again.
    moved = {server.url(f"elsewhere/{n}?to={host}"): hosts[host] for n, host in enumerate(hosts)}
    outcomes = fetch(
        [*urls, *moved], names={}, robots="obey", give_up_after=give_up_after, per_host=1
    )
    assert {url: o.reason for url, o in outcomes.items() if isinstance(o, Failed)} == urls | moved
    assert all(outcomes[url].attempts == 0 for url in urls)
    assert all(outcomes[url].attempts == 1 for url in moved)


def test_a_host_whose_robots_ask_to_wait_for_hours_is_given_up(
    server: PhotoServer,
) -> None:
    server.robots, server.robots_after = ("503 Busy", ""), "3600"
    outcomes = fetch([server.url(f"photo/{n}") for n in range(20)], robots="obey")
    assert reasons(outcomes) == {"host asked us to wait": 20}
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "there", [f"http://{HERE}:1", "http://127.0.0.2", "http://nowhere.example"]
)
def test_a_host_whose_robots_redirect_to_a_dead_host_is_not_dead(
    server: PhotoServer, there: str
) -> None:
    server.robots, server.robots_at = ("302 Found", ""), f"{there}/robots.txt"
    outcomes = fetch([server.url(f"photo/{n}") for n in range(5)], names={}, robots="obey")
    assert reasons(outcomes) == {"robots.txt unavailable": 5}


def test_only_the_beginning_of_long_robots_is_read(server: PhotoServer) -> None:
    rules = "User-agent: *\nDisallow: /status\n" + "# nothing\n" * 60_000 + "Disallow: /photo\n"
    server.robots = "200 OK", rules
    outcomes = fetch([server.url("photo/1"), server.url("status/1")], robots="obey")
    assert reasons(outcomes) == {"": 1, "disallowed by robots.txt": 1}


def test_a_crawl_delay_is_obeyed(server: PhotoServer) -> None:
    server.robots = "200 OK", "User-agent: *\nCrawl-delay: 0.15\n"
    fetch([server.url(f"photo/{n}") for n in range(4)], robots="obey", requests_per_second=1000)
    times = [request.time for request in server.asked("photo")]
    assert len(times) == 4
    assert times[-1] - times[0] > 0.44


def test_rules_also_apply_to_redirect_targets(server: PhotoServer) -> None:
    with PhotoServer(robots=("200 OK", "User-agent: *\nDisallow: /photo\n")) as other:
        there = other.url("photo/1")
        outcomes = fetch([server.url(f"elsewhere/1?to={there}")], robots="obey")
        assert reasons(outcomes) == {"disallowed by robots.txt": 1}
        assert [request.path for request in other.requests] == ["/robots.txt"]


def test_redirected_robots_are_followed(server: PhotoServer) -> None:
    with PhotoServer(robots=("200 OK", "User-agent: *\nDisallow: /photo\n")) as other:
        server.robots, server.robots_at = ("302 Found", ""), f"{other.address}/robots.txt"
        outcomes = fetch([server.url("photo/1")], robots="obey")
    assert reasons(outcomes) == {"disallowed by robots.txt": 1}
