"""How far off `imgsearch plan` is: what it says of an index, and what is then built and asked.

A catalog of 10,000 random vectors, spread as those of photos are, is what the plan knows; larger
ones are planned from it. Times are those of the processor, as machines are shared. By itself, with
other sizes: `python benchmarks/planning.py 20000 60000`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import random_catalog

from pipeline.catalog.catalog import Catalog
from pipeline.config import Config, load_config
from pipeline.engine import Engine
from pipeline.index import open_build
from pipeline.index.base import F32Matrix
from pipeline.index.builds import Build
from pipeline.index.code_filter import BASIS_FILE, CODES_FILE, SAMPLE_ROWS, spread_rows
from pipeline.index.sizes import IndexSize
from pipeline.maintenance.info import size_on_disk
from pipeline.maintenance.plan import times
from pipeline.maintenance.plan.measure import measure_speeds
from pipeline.maintenance.plan.measure_engines import code_lengths
from pipeline.maintenance.plan.speeds import EngineSpeed, Speeds

ENGINE, DIM, PILOT = "planned", 1280, 10_000
SIZES = (100_000, 300_000)
KINDS = (("flat", None), ("pruned", None), ("pruned", 0.99))
QUERIES, K = 100, 10
Rows = list[dict[str, object]]


def measure(_data: Path | None, sizes: tuple[int, ...] = SIZES) -> Rows:
    """Plan and build catalogs of these sizes."""
    with tempfile.TemporaryDirectory() as folder:
        pilot = _prepare(Path(folder, "pilot"), "flat", None, PILOT)
        with closing(open_build(_build(pilot)[0])) as index:
            sample = index.vectors(spread_rows(index.rows, SAMPLE_ROWS))
        known = EngineSpeed(DIM, code_lengths=code_lengths(sample))
    return [_compare(kind, recall, size, known) for size in sizes for kind, recall in KINDS]


def _prepare(folder: Path, kind: str, recall: float | None, items: int) -> Config:
    folder.mkdir()
    index = kind if recall is None else f"{kind}, recall: {recall}"
    return load_config(random_catalog.prepare_catalog(folder, {ENGINE: DIM}, index, items))


def _build(config: Config) -> tuple[Build, float]:
    """Index what is prepared; return the seconds that took."""
    with Catalog(config.folder) as catalog:
        began = time.process_time()
        build = Engine(ENGINE, config).build_index(catalog)
        return build, time.process_time() - began


def _compare(kind: str, recall: float | None, rows: int, known: EngineSpeed) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        config = _prepare(Path(folder, "catalog"), kind, recall, rows)
        speeds = measure_speeds(config, clock=time.process_time)  # next to what it is compared with
        size = times.sized(kind, rows, DIM, recall, known)
        build, seconds = _build(config)
        asked = _ask(build)
        memory = _looked_at(build)
        return {
            "vectors": rows,
            "index": kind if recall is None else f"{kind}, recall {recall}",
            "disk": _off(size.disk, sum(map(size_on_disk, build.folders))),
            "memory": _off(size.memory, memory),
            "building, s": _off(times.index_seconds(size, recall, speeds), seconds),
            "query, ms": _off(1000 * _planned(size, recall, speeds), 1000 * asked),
        }


def _looked_at(build: Build) -> float:
    """Bytes that queries look at: codes, or else vectors; photos and items of rows."""
    total = 0.0
    for segment in build.segments:
        codes = [segment.path / name for name in (CODES_FILE, BASIS_FILE)]
        total += sum(map(size_on_disk, codes)) or size_on_disk(segment.file)
        total += segment.hashes.nbytes + segment.ids.nbytes
    return total


def _planned(size: IndexSize, recall: float | None, speeds: Speeds) -> float:
    query = times.exact_query if recall is None else times.promised_query
    return query(size, speeds).median


def _ask(build: Build) -> float:
    """Median seconds of a query between two vectors of the catalog."""
    with closing(open_build(build)) as index:
        some = index.vectors(spread_rows(index.rows, 2 * QUERIES))
        queries: F32Matrix = (some[::2] + some[1::2]) / np.float32(2)
        for _ in range(2):
            seconds = []
            for query in queries:
                began = time.process_time()
                index.search(query[np.newaxis], K)
                seconds.append(time.process_time() - began)
    return float(np.median(seconds))


def _off(planned: float, actual: float) -> str:
    return f"{planned:,.4g} planned, {actual:,.4g} ({planned / actual - 1:+.0%})"


if __name__ == "__main__":
    for row in measure(None, tuple(map(int, sys.argv[1:])) or SIZES):
        sys.stdout.write(f"{json.dumps(row)}\n")
