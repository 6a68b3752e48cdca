"""Embedding on a Ray cluster of two nodes of one core against two processes without Ray.

They take turns. Starting is left out: both are timed from the second shard that is on the disk to
the last one. Ray gives its workers a low priority, so where anything else runs they lose more. It
needs Ray, so it is no part of `bench.py`: after `make .venv-cluster/.complete`,
`.venv-cluster/bin/python benchmarks/runners.py` takes eight minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import numpy as np

from pipeline.config import Config
from pipeline.embedding import open_embedder
from pipeline.embeddings.shards import plan_shards
from pipeline.stages import build
from pipeline.workspace import Workspace

PAIRS, PHOTOS, SHARD, WORKERS = 5, 3072, 64, 2
ENGINE = "mobilenet"


def config(root: Path, runner: dict[str, object]) -> Config:
    """Drawn photos of 250 × 250 pixels, MobileNetV2 with random weights."""
    network = {"network": "MobileNetV2", "include_top": False, "layer": None, "pooling": "avg"}
    engine = {"type": "pretrained", "weights": "random", "input_size": 224, **network}
    return Config.model_validate(
        {
            "root": str(root),
            "name": "shop",
            "source": {"type": "sample", "photos": PHOTOS, "near_duplicates": 0, "size": 250},
            "engines": {ENGINE: engine},
            "embedding": {"shard_size": SHARD},
            "runner": runner,
        }
    )


def embed_part(root: Path, part: int) -> None:
    """Embed every second shard, without Ray."""
    with Workspace.open(config(root, {"type": "local"})) as ws:
        none = np.zeros(ws.catalog.photo_count(), bool)
        shards = list(plan_shards(ws.catalog.photos(), none, none, SHARD))[part::WORKERS]
        with open_embedder(ws.engines[ENGINE]) as embedder:
            for _ in embedder.embed_shards(shards):
                pass


def embed_locally(root: Path) -> None:
    """Embed all shards by two processes."""
    command = [sys.executable, __file__, str(root)]
    parts = [subprocess.Popen([*command, str(part)]) for part in range(WORKERS)]
    for part in parts:
        assert part.wait() == 0


def busy_seconds() -> float:
    """Processor time of this process so far, and of all that it and those have started."""
    parents, seconds = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            seconds[int(stat.parent.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    ours = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(seconds[process] for process in ours)


class Watch(Thread):
    """Notes wall and processor time when the second shard is there, and when the last one is."""

    def __init__(self, vectors: Path) -> None:
        super().__init__(daemon=True)
        self._vectors = vectors
        self.noted: list[tuple[float, float]] = []

    def run(self) -> None:
        """Look until all are there."""
        for count in (WORKERS, PHOTOS // SHARD):
            while len(list(self._vectors.rglob("*.json"))) < count:
                time.sleep(0.02)
            self.noted.append((time.monotonic(), busy_seconds()))

    def seconds(self) -> tuple[float, float]:
        """Wall and processor time between the two."""
        self.join()
        (began, busy), (ended, busy_then) = self.noted
        return ended - began, busy_then - busy


def measure(root: Path) -> dict[str, object]:
    """Let both take turns, and compare them pair by pair."""
    from ray.cluster_utils import Cluster

    local = config(root, {"type": "local"})
    build(local, ["ingest", "train"])
    common = {"object_store_memory": 10**8}
    head = {"num_cpus": 0, "include_dashboard": False, **common}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(WORKERS):
        cluster.add_node(num_cpus=1, **common)
    by_ray = {"type": "ray", "address": cluster.address, "workers": WORKERS}
    ways = {
        "local": lambda: embed_locally(root),
        "ray": lambda: build(config(root, by_ray), ["embed"]),
    }
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    vectors = local.folder / ENGINE / "embeddings"
    for turn in range(PAIRS):
        for way in (list(ways), list(ways)[::-1])[turn % 2]:
            shutil.rmtree(vectors, ignore_errors=True)
            watch = Watch(vectors)
            watch.start()
            ways[way]()
            found[way].append(watch.seconds())
            wall, busy = found[way][-1]
            sys.stderr.write(f"{way}: {wall:.2f} s, processor {busy:.2f} s\n")
    cluster.shutdown()
    ratios = [
        [by_ray[at] / local[at] for local, by_ray in zip(found["local"], found["ray"], strict=True)]
        for at in (0, 1)
    ]
    return {
        "shards": PHOTOS // SHARD - WORKERS,
        **{f"{way}, seconds": [round(wall, 2) for wall, _ in found[way]] for way in ways},
        "time of Ray / of two processes": [round(one, 3) for one in ratios[0]],
        "median": round(statistics.median(ratios[0]), 3),
        "processor time, median": round(statistics.median(ratios[1]), 3),
    }


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    if len(sys.argv) > 1:
        embed_part(Path(sys.argv[1]), int(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(measure(Path(folder)), indent=2) + "\n")


if __name__ == "__main__":
    main()
