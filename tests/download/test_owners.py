"""owners.py: several workers, each with hosts of its own, are as polite together as one is."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from yarl import URL

from pipeline.download.owners import HostOwner, OwnedUrls, owner_of
from pipeline.download.storing import Downloaded, DownloadJob
from pipeline.images import ImageLimits
from tests.download.photo_server import PhotoServer, draw
from tests.download.web_client import HERE, Names, settings

HOSTS = [f"{letter}.example" for letter in "abcdef"]
NAMES = {name: [HERE] for name in HOSTS}
FIRST, SECOND = (
    next(name for name in HOSTS if owner_of(URL(f"http://{name}/"), 2) == owner)
    for owner in range(2)
)


@pytest.fixture
def server() -> Iterator[PhotoServer]:
    with PhotoServer([draw(number, 32) for number in range(4)]) as running:
        yield running


def fetch(
    urls: Sequence[str], folder: Path, owners: int = 2, **changes: object
) -> dict[str, Downloaded]:
    """Fetch URLs by several owners, each of which gets its batches one after another."""
    job = DownloadJob(folder, settings(**{"robots": "obey", **changes}), ImageLimits())

    async def main() -> list[Downloaded]:
        made = [HostOwner(number, job, Names(NAMES)) for number in range(owners)]
        for owner in made:
            owner.meet([one.answer for one in made])
        tasks = OwnedUrls(urls, owners)

        async def work(number: int) -> list[Downloaded]:
            found: list[Downloaded] = []
            while batch := tasks.take(number):
                found += await made[number].fetch(batch)
            return found

        try:
            parts = await asyncio.gather(*map(work, range(owners)))
        finally:
            for owner in made:
                await owner.close()
        assert tasks.is_over()
        return [one for part in parts for one in part]

    found = asyncio.run(asyncio.wait_for(main(), 20))
    assert Counter(one.record.uri for one in found) == Counter(urls)
    return {one.record.uri: one for one in found}


def states(found: dict[str, Downloaded]) -> Counter[tuple[str, str]]:
    return Counter((one.record.state, one.record.reason) for one in found.values())


@pytest.mark.parametrize("owners", [1, 2, 5])
def test_no_host_is_asked_by_more_than_its_share_at_once(
    server: PhotoServer, tmp_path: Path, owners: int
) -> None:
    urls = [server.url(f"slow/{n}?seconds=0.02", host) for n in range(6) for host in HOSTS]
    found = fetch(urls, tmp_path, owners, per_host=2)
    assert states(found) == {("available", ""): len(urls)}
    assert server.peaks == dict.fromkeys(HOSTS, 2)
    for one in found.values():
        assert (tmp_path / str(one.record.path)).stat().st_size == one.record.size


def test_a_host_of_another_owner_that_redirects_lead_to_is_asked_by_that_one(
    server: PhotoServer, tmp_path: Path
) -> None:
    there = server.url("slow/1?seconds=0.03", SECOND)
    urls = [server.url(f"elsewhere/{n}?to={there}", host) for n in range(4) for host in HOSTS]
    own = [server.url(f"slow/{n}?seconds=0.03", SECOND) for n in range(6)]
    found = fetch([*urls, *own], tmp_path, per_host=3)
    assert states(found) == {("available", ""): len(urls) + len(own)}
    assert server.peaks[SECOND] == 3
    assert server.seen["/robots.txt"] == len(HOSTS), "one of each host, whoever has it"


def test_what_a_host_forbids_holds_for_redirects_from_hosts_of_other_owners(
    server: PhotoServer, tmp_path: Path
) -> None:
    server.robots = ("200 OK", "User-agent: *\nDisallow: /photo/")
    urls = [
        server.url(f"elsewhere/{n}?to={server.url('photo/1', SECOND)}", FIRST) for n in range(3)
    ]
    found = fetch(urls, tmp_path)
    assert states(found) == {("failed", "disallowed by robots.txt"): 3}
    assert not any(request.path.startswith("/photo/") for request in server.requests)


def test_a_pause_that_a_host_asks_for_holds_for_all_owners(
    server: PhotoServer, tmp_path: Path
) -> None:
    busy = server.url("busy-once/1?after=1", SECOND)
    urls = [server.url(f"elsewhere/{n}?to={busy}", FIRST) for n in range(2)]
    own = [server.url(f"photo/{n}", SECOND) for n in range(3)]
    found = fetch([*urls, *own], tmp_path, per_host=1)
    assert states(found) == {("available", ""): 5}
    asked = [r for r in server.requests if SECOND in r.headers["host"] and "robots" not in r.path]
    refused = next(n for n, request in enumerate(asked) if "busy-once" in request.path)
    assert asked[refused + 1].time - asked[refused].time >= 1


def test_a_disk_that_is_full_ends_all_that_is_waited_for(
    server: PhotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        fetch([server.url(f"photo/{n}", host) for n in range(4) for host in HOSTS], tmp_path)


def test_urls_are_read_only_as_far_as_there_is_room() -> None:
    read = 0

    def urls() -> object:
        nonlocal read
        for read in count():
            yield f"http://{FIRST}/{read}.jpg"

    tasks = OwnedUrls(urls(), 2, max_waiting=100)  # type: ignore[arg-type]
    assert tasks.take(1) is None
    assert 0 < read <= 200
    assert len(tasks.take(0) or ()) == 32


def test_each_url_is_taken_once_and_again_only_if_it_was_lost() -> None:
    urls = [f"http://{host}/{n}.jpg" for n in range(50) for host in HOSTS] + ["no URL"]
    tasks = OwnedUrls(urls, 3)
    lost = tasks.take(0)
    assert lost
    tasks.give_back(0, lost)
    taken = {owner: [*iter(lambda owner=owner: tasks.take(owner), None)] for owner in range(3)}
    assert tasks.is_over()
    assert taken[0][0] == lost
    assert Counter(u for batches in taken.values() for b in batches for u in b) == Counter(urls)
    for owner, batches in taken.items():
        hosts = {URL(url).raw_host for batch in batches for url in batch}
        assert {owner_of(URL(f"https://{host}:1/"), 3) for host in hosts - {None}} <= {owner}
