"""How far off `imgsearch plan` is: what it says of an index, and what is then built and asked.

A catalog of 10,000 random vectors, spread as those of photos are, is what the plan knows; larger
ones are planned from it. Times are those of the processor, as machines are shared; BLAS has one
thread. By itself, with other sizes: `python benchmarks/planning.py 20000 50000`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import random_catalog

from pipeline.catalog.catalog import Catalog
from pipeline.config import load_config
from pipeline.engine import Engine
from pipeline.index import open_build
from pipeline.index.base import F32Matrix
from pipeline.index.builds import Build
from pipeline.index.code_filter import BASIS_FILE, CODES_FILE, SAMPLE_ROWS, spread_rows
from pipeline.maintenance.info import size_on_disk
from pipeline.maintenance.plan import times
from pipeline.maintenance.plan.measure import machine_speeds
from pipeline.maintenance.plan.measure_engines import code_lengths
from pipeline.maintenance.plan.speeds import EngineSpeed

ENGINE, DIM, PILOT = "planned", 1280, 10_000
SIZES = (100_000, 300_000)
KINDS = (("flat", None), ("pruned", None), ("pruned", 0.99))
QUERIES, K = 100, 10
Rows = list[dict[str, object]]


def measure(_data: Path | None, sizes: tuple[int, ...] = SIZES) -> Rows:
    """Plan and build catalogs of these sizes."""
    return list(_rows(sizes))


def _rows(sizes: tuple[int, ...]) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        build, _ = _build(_prepare(Path(folder), PILOT))
        with closing(open_build(build)) as index:
            sample = index.vectors(spread_rows(PILOT, SAMPLE_ROWS))
    known = EngineSpeed(DIM, code_lengths=code_lengths(sample))
    for size in sizes:
        yield from _compared(size, known)


def _compared(rows: int, known: EngineSpeed) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        file = _prepare(Path(folder), rows)
        speeds = machine_speeds(Path(folder), clock=time.process_time)
        for kind, recall in KINDS:
            size = times.sized(kind, rows, DIM, recall, known)
            build, seconds = _build(file, kind, recall)
            query = times.exact_query if recall is None else times.promised_query
            yield {
                "vectors": rows,
                "index": kind if recall is None else f"{kind}, recall {recall}",
                "disk": _off(size.disk, sum(map(size_on_disk, build.folders))),
                "memory": _off(size.memory, _looked_at(build)),
                "building, s": _off(times.index_seconds(size, recall, speeds), seconds),
                "query, ms": _off(1000 * query(size, speeds).median, 1000 * _ask(build)),
            }


def _prepare(folder: Path, items: int) -> Path:
    return random_catalog.prepare_catalog(folder, {ENGINE: DIM}, "flat", items)


def _build(file: Path, kind: str = "flat", recall: float | None = None) -> tuple[Build, float]:
    """Index what is prepared; return the seconds that took."""
    promise = "null" if recall is None else recall
    config = load_config(file, [f"index.type={kind}", f"index.recall={promise}"])
    with Catalog(config.folder) as catalog:
        catalog.seal_generation()  # a part of ingesting
        began = time.process_time()
        build = Engine(ENGINE, config).build_index(catalog)
        return build, time.process_time() - began


def _looked_at(build: Build) -> float:
    """Bytes that queries look at: codes, or else vectors; photos and items of rows."""
    total = 0.0
    for segment in build.segments:
        codes = [segment.path / name for name in (CODES_FILE, BASIS_FILE)]
        total += sum(map(size_on_disk, codes)) or size_on_disk(segment.file)
        total += segment.hashes.nbytes + segment.ids.nbytes
    return total


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
    for row in _rows(tuple(map(int, sys.argv[1:])) or SIZES):
        sys.stdout.write(f"{json.dumps(row)}\n")
        sys.stdout.flush()
