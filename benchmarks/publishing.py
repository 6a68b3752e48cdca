"""What it costs to publish a change, and whoever asks meanwhile.

Ten items get other photos, whose vectors are there: what is measured is the index, the gate, the
ledger's seal and copy, and the pointer. Vectors are random: the time does not depend on them. With
the reference data, a photo is put into a folder that `imgsearch watch` keeps published.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from random_catalog import ITEMS, change_photos, make_catalog, prepare_catalog

import pipeline
from pipeline.config import Config, load_config
from pipeline.search.searcher import Searcher
from pipeline.stages import build

CHANGES, ROUNDS, QUERIES = 10, 5, 400
SIZES = {ITEMS: 4096, 1_000_000: 256}
"""Items of a catalog, of so many numbers a vector; the larger one takes 3 GB of disk."""
WATCHED = """
root: {folder}/out
source:
  type: folder
  path: {folder}/photos
  metadata: {{file: styles.csv, key: image, name: productDisplayName, category: articleType}}
engines:
  mobilenet:
    type: pretrained
    network: MobileNetV2
    weights: {weights}
    include_top: false
    layer: null
    pooling: avg
    input_size: 32
"""


def measure(data: Path | None) -> list[dict[str, object]]:
    """Measure both sizes, queries beside a builder, and a watched folder."""
    rows = []
    for items, dim in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            rows.append({"items": items, "dim": dim, **_changes(Path(folder), items, dim)})
    with tempfile.TemporaryDirectory() as folder:
        rows.append(_queries(load_config(make_catalog(Path(folder), {"vgg16": 1280}))))
    weights = data / "mobilenet_v2_imagenet_notop.weights.h5" if data else None
    if data is None or weights is None or not weights.is_file():
        return [*rows, {"watch": "skipped: needs the reference data"}]
    with tempfile.TemporaryDirectory() as folder:
        return [*rows, _watch(Path(folder), data, weights)]


def _changes(folder: Path, items: int, dim: int) -> dict[str, object]:
    """A change, and none, beside the first build of all; processor's time, as others use it too."""
    config = load_config(prepare_catalog(folder, {"vgg16": dim}, items=items))
    full = _cost(lambda: build(config, ["index"]))[0]
    size = sum(path.stat().st_size for path in config.folder.rglob("*") if path.is_file())
    changes, nothing = [], []
    for _ in range(ROUNDS):
        change_photos(config, range(items // 2, items // 2 + CHANGES))
        changes.append(_cost(lambda: build(config, ["index"])))
        nothing.append(_cost(lambda: build(config))[0])
    seconds, written = np.median(changes, axis=0)
    return {
        "seconds of 10 changes": round(float(seconds), 2),
        "÷ a full index": round(float(seconds) / full, 4),
        "bytes written ÷ all": round(float(written) / size, 5),
        "seconds of a build of nothing": round(float(np.median(nothing)), 2),
        "seconds to open": round(_cost(lambda: pipeline.open(config).close())[0], 2),
    }


def _cost(work: Callable[[], object]) -> tuple[float, int]:
    """Seconds of the processor, and bytes written."""
    began, written = time.process_time(), _written()
    work()
    return time.process_time() - began, _written() - written


def _written() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def _queries(config: Config) -> dict[str, object]:
    """The 95th percentile of a query beside a process that publishes without a pause."""
    with pipeline.open(config) as searcher:
        _seconds(searcher)
        idle = _seconds(searcher)
        with _publishing(config):
            beside = _seconds(searcher)
        idle = np.concatenate([idle, _seconds(searcher)])
    p95 = float(np.percentile(beside, 95) / np.percentile(idle, 95))
    return {"p95 of a query beside a builder ÷ idle": round(p95, 2)}


def _seconds(searcher: Searcher) -> np.ndarray:
    seconds = []
    for item in np.random.default_rng(0).integers(1, ITEMS, QUERIES).tolist():
        began = time.perf_counter()
        searcher.search(pipeline.Item(item), k=10)
        seconds.append(time.perf_counter() - began)
    return np.array(seconds)


@contextmanager
def _publishing(config: Config) -> Iterator[None]:
    """Publish in another process, as `imgsearch watch` does, while the block runs."""
    context = multiprocessing.get_context("spawn")
    ended, begun = context.Event(), context.Event()
    process = context.Process(target=_publish, args=(config, begun, ended))
    process.start()
    begun.wait()
    yield
    ended.set()
    process.join()


def _publish(config: Config, begun: object, ended: object) -> None:
    os.nice(10)
    while not ended.is_set():  # type: ignore[attr-defined]
        change_photos(config, range(1, 1 + CHANGES))
        build(config, ["index"])
        begun.set()  # type: ignore[attr-defined]


def _watch(folder: Path, data: Path, weights: Path) -> dict[str, object]:
    """Put a photo into a watched folder, and wait until it answers."""
    with tarfile.open(data / "fashion-18322.tar") as tar:
        tar.extractall(folder / "photos", filter="data")
    settings = folder / "settings.yaml"
    settings.write_text(WATCHED.format(folder=folder, weights=weights))
    config = load_config(settings)
    build(config)
    program = [str(Path(sys.executable).with_name("imgsearch")), "watch", "--json"]
    with subprocess.Popen(
        [*program, "--config", str(settings)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as watch:
        assert watch.stdout
        assert watch.stderr
        watch.stderr.readline()
        time.sleep(30)
        before = _processor_seconds(watch.pid)
        time.sleep(60)
        rest = (_processor_seconds(watch.pid) - before) / 60
        photo = next((folder / "photos" / "images").iterdir())
        new = photo.with_name(f"new{photo.suffix}")
        shutil.copyfile(photo, new)
        with new.open("ab") as file:
            file.write(b"other bytes")
        began = time.perf_counter()
        publication = json.loads(watch.stdout.readline())
        seconds = time.perf_counter() - began
        watch.terminate()
    return {
        "watch, a photo: seconds beyond watch.quiet": round(seconds - config.watch.quiet, 1),
        "added": publication["changes"]["added"],
        "at rest: share of a core": round(rest, 4),
    }


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
