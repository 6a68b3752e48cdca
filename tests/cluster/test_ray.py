"""runner.type: ray on a real cluster: machines are killed, and the bytes are those of one machine.

Two nodes of one core each on this machine; a node is killed with its processes by SIGKILL.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.config import Config, DownloadSettings
from pipeline.config.runner import RayRunnerSettings
from pipeline.download.download import DownloadReport, download
from pipeline.embeddings.runners.ray import RayRunner
from pipeline.errors import RunnerError
from pipeline.images import ImageLimits
from pipeline.stages import build
from pipeline.workspace import Workspace
from tests.conftest import tree
from tests.download.photo_server import PhotoServer, draw
from tests.models.onnx_file.test_onnx_file import encoder, settings

ray = pytest.importorskip("ray")
PHOTOS, SHARD = 300, 4
SHARDS = PHOTOS // SHARD


class Machines:
    """A cluster of nodes with one core each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._common = {"object_store_memory": 10**8, "include_dashboard": False}
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, **self._common},
        )
        self._nodes: list[Any] = []
        self.address = str(self._cluster.address)

    def grow_to(self, count: int) -> None:
        while len(self._nodes) < count:
            self._nodes.append(self._cluster.add_node(num_cpus=1, object_store_memory=10**8))
        self._cluster.wait_for_nodes()

    def kill_one(self) -> None:
        self._cluster.remove_node(self._nodes.pop(), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), *sys.path]))
        made = Machines()
        yield made
        made.close()


def config(root: Path, name: str, address: str | None = None, **changes: object) -> Config:
    runner = {"type": "ray", "address": address, "workers": 2} if address else {"type": "local"}
    return Config.model_validate(
        {
            "root": str(root),
            "name": name,
            "source": {"type": "sample", "photos": PHOTOS, "near_duplicates": 0, "size": 96},
            "engines": {
                "colors": settings(
                    root / "net.onnx", output="map", pooling="avg", normalize=True
                ).model_dump(mode="json")
            },
            "embedding": {"shard_size": SHARD},
            "runner": runner,
            **changes,
        }
    )


def shards(root: Path, name: str) -> Path:
    """The folder of a catalog's shards."""
    (folder,) = (root / name / "colors" / "embeddings").iterdir()
    return folder


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog `local`, which was embedded by one process."""
    root = tmp_path_factory.mktemp("catalogs")
    encoder(root / "net.onnx", ("n", 3, 224, 224))
    build(config(root, "local"), ["ingest", "train", "embed"])
    assert len(list(shards(root, "local").glob("*.json"))) == SHARDS
    return root


@pytest.fixture
def copied(local: Path) -> Iterator[Path]:
    """Beside it a catalog `ray`, which has no vector yet."""
    shutil.copytree(local / "local", local / "ray")
    for file in shards(local, "ray").iterdir():
        file.unlink()
    yield local
    shutil.rmtree(local / "ray")


def when_done(folder: Path, share: float, act: Callable[[], None]) -> Thread:
    """Do something once that share of the shards is there."""

    def wait() -> None:
        while len(list(folder.glob("*.json"))) < share * SHARDS:
            time.sleep(0.005)
        act()

    thread = Thread(target=wait, daemon=True)
    thread.start()
    return thread


@contextmanager
def counted_writes(folder: Path) -> Iterator[Counter[str]]:
    """How often each shard is written, by the inodes that its name has had."""
    inodes: dict[str, set[int]] = {}
    is_over = False

    def watch() -> None:
        while not is_over:
            for entry in os.scandir(folder):
                if entry.name.endswith(".json"):
                    inodes.setdefault(entry.name, set()).add(entry.inode())
            time.sleep(0.002)

    thread = Thread(target=watch)
    thread.start()
    writes: Counter[str] = Counter()
    try:
        yield writes
    finally:
        is_over = True
        thread.join()
        writes.update({name: len(seen) for name, seen in inodes.items()})


def inode(path: Path) -> int:
    """Another one whenever the file is written."""
    return path.stat().st_ino


def test_vectors_are_those_of_one_machine(machines: Machines, copied: Path) -> None:
    machines.grow_to(2)
    report = build(config(copied, "ray", machines.address), ["embed"])
    done = report.engines["colors"].embedding
    assert done is not None
    assert (done.already, done.embedded, done.failed) == (0, PHOTOS, 0)
    assert tree(shards(copied, "ray")) == tree(shards(copied, "local"))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_machine_that_is_killed_costs_only_what_it_was_doing(
    machines: Machines, copied: Path, share: float
) -> None:
    machines.grow_to(2)
    folder = shards(copied, "ray")
    with counted_writes(folder) as writes:
        killing = when_done(folder, share, machines.kill_one)
        report = build(config(copied, "ray", machines.address), ["embed"])
        killing.join()
    done = report.engines["colors"].embedding
    assert done is not None
    assert (done.embedded, done.failed) == (PHOTOS, 0)
    assert tree(folder) == tree(shards(copied, "local"))
    assert sum(writes.values()) - SHARDS <= 2, "more than the shards in flight was done again"


def test_a_driver_that_is_killed_is_followed_by_one_that_goes_on(
    machines: Machines, copied: Path
) -> None:
    machines.grow_to(2)
    folder = shards(copied, "ray")
    made = config(copied, "ray", machines.address)
    file = copied / "driver.yaml"
    file.write_text(made.model_dump_json())
    driver = subprocess.Popen([sys.executable, "-m", "pipeline", "embed", "--config", str(file)])
    when_done(folder, 0.4, lambda: driver.send_signal(signal.SIGKILL)).join()
    driver.wait()
    before = {path: inode(path) for path in folder.glob("*.json")}
    assert 0.4 * SHARDS <= len(before) < SHARDS
    report = build(made, ["embed"])
    done = report.engines["colors"].embedding
    assert done is not None
    assert done.already >= SHARD * len(before), "workers of the first may have ended one more each"
    assert done.already + done.embedded == PHOTOS
    assert {path: inode(path) for path in before} == before
    assert tree(folder) == tree(shards(copied, "local"))


def test_photos_that_cannot_be_read_are_told_to_the_ledger(
    machines: Machines, copied: Path
) -> None:
    machines.grow_to(2)
    with Workspace.open(config(copied, "ray")) as ws:
        lost = [photo.path for photo in ws.catalog.photos()][10:13]
    for path in lost:
        path.unlink()
    report = build(config(copied, "ray", machines.address), ["embed"])
    done = report.engines["colors"].embedding
    assert done is not None
    assert (done.embedded, done.failed) == (PHOTOS - 3, 3)
    with Workspace.open(config(copied, "ray")) as ws:
        assert ws.catalog.photo_count() == PHOTOS - 3


# -- One line --------------------------------------------------------------------------------------


def test_a_cluster_that_is_not_there_is_one_line(copied: Path) -> None:
    with pytest.raises(RunnerError, match="cannot be reached") as caught:
        build(config(copied, "ray", "127.0.0.1:1"), ["embed"])
    assert "\n" not in str(caught.value)


def test_a_cluster_without_room_is_one_line(machines: Machines, copied: Path) -> None:
    runner = {"type": "ray", "address": machines.address, "cores": 64, "start_timeout": 3}
    with pytest.raises(RunnerError, match="no worker has started for 3 seconds"):
        build(config(copied, "ray", runner=runner), ["embed"])


def test_weights_that_a_machine_finds_damaged_are_one_line(
    machines: Machines, copied: Path
) -> None:
    machines.grow_to(1)
    (network,) = (copied / "ray" / "colors" / "model").rglob("*.onnx")
    network.write_bytes(network.read_bytes()[:-9])
    with pytest.raises(RunnerError, match="cannot start: damaged") as caught:
        build(config(copied, "ray", machines.address), ["embed"])
    assert "\n" not in str(caught.value)


# -- Downloads -------------------------------------------------------------------------------------


HOSTS = ["127.0.0.1", "127.0.0.2"]  # of different workers


def fetch(machines: Machines, folder: Path, urls: list[str], **changes: Any) -> DownloadReport:
    """Download into a new catalog by two workers."""
    runner = RayRunner(RayRunnerSettings(address=machines.address, workers=2))
    quick = {"backoff": 0.05, "allow_addresses": ("127.0.0.0/8",), "per_host": 3, **changes}
    with Catalog(folder, create=True) as catalog:
        with catalog.transaction():
            for number, url in enumerate(urls):
                catalog.put(str(number), "", "", {}, [ImageRecord(url, State.PENDING)])
        return download(catalog, DownloadSettings(**quick), ImageLimits(), fetch=runner.fetch)


@pytest.fixture
def server() -> Iterator[PhotoServer]:
    with PhotoServer([draw(number, 60) for number in range(8)], interface="") as running:
        yield running


def test_no_host_gets_more_connections_than_one_worker_would_open(
    machines: Machines, server: PhotoServer, tmp_path: Path
) -> None:
    machines.grow_to(2)
    there = server.url("slow/1?seconds=0.03", HOSTS[1])
    urls = [
        *(server.url(f"slow/{n}?seconds=0.03", host) for n in range(60) for host in HOSTS),
        *(server.url(f"elsewhere/{n}?to={there}", HOSTS[0]) for n in range(30)),
    ]
    report = fetch(machines, tmp_path / "shop", urls)
    assert report.counts == {"available": {"": len(urls)}}
    assert server.peaks == dict.fromkeys(HOSTS, 3)
    assert server.seen["/robots.txt"] == len(HOSTS)


def test_what_a_host_asks_for_holds_over_all_workers(
    machines: Machines, server: PhotoServer, tmp_path: Path
) -> None:
    machines.grow_to(2)
    server.robots = ("200 OK", "User-agent: *\nDisallow: /photo/5\nCrawl-delay: 0.4")
    there, forbidden = (server.url(f"photo/{n}", HOSTS[1]) for n in (1, 5))
    urls = [
        *(server.url(f"photo/{n}", HOSTS[1]) for n in range(6)),
        *(server.url(f"elsewhere/{n}?to={there}", HOSTS[0]) for n in range(3)),
        server.url(f"elsewhere/9?to={forbidden}", HOSTS[0]),
    ]
    report = fetch(machines, tmp_path / "shop", urls)
    assert report.counts == {"available": {"": 8}, "failed": {"disallowed by robots.txt": 2}}
    asked = [
        request.time
        for request in server.requests
        if request.headers["host"].startswith(HOSTS[1]) and request.path != "/robots.txt"
    ]
    assert len(asked) == 8
    assert asked[-1] - asked[0] > 7 * 0.4 - 0.2
