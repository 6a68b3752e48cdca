"""Measure how fast this machine is, with the parts that builds and searches are made of.

What is written for it is in the catalog's folder, as it is the speed of that disk that counts, and
goes again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.concurrency import cores
from pipeline.config import Config
from pipeline.embeddings.arrays import to_hashes
from pipeline.embeddings.flat_file import write_flat
from pipeline.embeddings.segment import INDEX_FILE, SegmentStore
from pipeline.embeddings.store import EmbeddingStore
from pipeline.index import open_index, write_index
from pipeline.index.base import F32Matrix
from pipeline.index.bounds import RESIDUAL_COPIES, Coder, choose_length, fit
from pipeline.index.code_filter import SAMPLE_ROWS, byte_index
from pipeline.index.photo_search import FIRST_NEIGHBORS, QUERY_BLOCK
from pipeline.index.pruned import max_code_length
from pipeline.index.sealing import Sealer
from pipeline.index.vectors import VectorFile, import_faiss
from pipeline.locks import lock
from pipeline.maintenance.plan import times
from pipeline.maintenance.plan.measure_engines import decode_seconds, engine_speed
from pipeline.maintenance.plan.speeds import SHIPPED, EngineSpeed, Speeds, write_speeds
from pipeline.progress import SILENT, Advance, Progress, ignored

Clock = Callable[[], float]
SHORT, LONG = 128, 1024  # dimensions, to tell what each vector takes from what each byte does
SEALED_ROWS, SCANNED_ROWS, CODES = 4096, 32_768, 400_000
CODE_LENGTH, CLUSTERS = 256, 128
SINGLE = 15  # queries
COMPARED_ROWS = 500
_DIRECTIONS = 64


@dataclass(frozen=True)
class Bench:
    """Where measurements write, and what they are timed by."""

    folder: Path
    clock: Clock = time.perf_counter

    def best(self, action: Callable[[], object], repeats: int = 3) -> float:
        """Return the seconds of the fastest of some runs: others were disturbed."""
        seconds = []
        for _ in range(repeats):
            began = self.clock()
            action()
            seconds.append(self.clock() - began)
        return max(min(seconds), 1e-9)

    def median(self, action: Callable[[int], object], count: int = SINGLE) -> float:
        """Return the median of the seconds for each of some numbers."""
        return float(np.median([self.best(lambda i=i: action(i), 1) for i in range(count)]))  # type: ignore[misc]


def measure_speeds(config: Config, progress: Progress = SILENT) -> Speeds:
    """Measure for about a minute, and keep what was found beside the catalog: `speeds.json`.

    Of engines that have a model the time for photos is measured, and of those that have an index
    how well their vectors can be told by codes.

    Raises:
        OSError: the catalog's folder cannot be written.
        BusyError: the catalog is being written, which would disturb what is measured.
        DamagedArtifactError: a model or an index is not what was written.
    """
    with lock(config.folder), progress.task("measuring", None, "steps") as advance:
        speeds = machine_speeds(config.folder, advance)
        speeds = replace(speeds, decode_seconds=decode_seconds(config))
        advance(1)
        engines: dict[str, EngineSpeed] = {}
        for name in config.engines:
            if (speed := engine_speed(name, config)) is not None:
                engines[name] = speed
            advance(1)
        speeds = replace(speeds, engines=engines, is_measured=True)
        write_speeds(config.folder, speeds)
    return speeds


def machine_speeds(
    folder: Path, advance: Advance = ignored, clock: Clock = time.perf_counter
) -> Speeds:
    """Measure the machine, and the disk of a folder: `machine_speeds(config.folder).scan_bytes`.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    speeds = replace(SHIPPED, cores=cores())
    with tempfile.TemporaryDirectory(prefix=".speeds-", dir=folder) as aside:
        for step in (_sealing, _coding, _scanning, _code_scanning, _querying):
            speeds = step(Bench(Path(aside), clock), speeds)
            advance(1)
    return speeds


def photo_like(rows: int, dim: int) -> F32Matrix:
    """(rows, dim) float32: random, but most of what tells them apart is in few directions."""
    random = np.random.default_rng(0)
    scale = 1 / np.arange(1, min(dim, _DIRECTIONS) + 1)
    directions = scale[:, np.newaxis] * random.standard_normal((len(scale), dim))
    places = random.standard_normal((rows, len(scale)))
    noise = random.standard_normal((rows, dim), np.float32)
    vectors: F32Matrix = (places @ directions).astype(np.float32) + np.float32(0.1) * noise
    return vectors


def _sealing(bench: Bench, speeds: Speeds) -> Speeds:
    """Copy vectors of two lengths from shards into segments."""
    _seal(bench, 1)  # what is done for the first time takes longer
    seconds = [_seal(bench, dim) / SEALED_ROWS for dim in (SHORT, LONG)]
    byte = max((seconds[1] - seconds[0]) / (4 * (LONG - SHORT)), 1e-12)
    return replace(speeds, seal_byte=byte, seal_row=max(seconds[0] - 4 * SHORT * byte, 1e-9))


def _seal(bench: Bench, dim: int) -> float:
    random, vectors = np.random.default_rng(0), photo_like(SEALED_ROWS, dim)
    folder = bench.folder / str(dim)
    store, segments = EmbeddingStore(folder / "embeddings"), SegmentStore(folder / "segments")
    photos = [random.bytes(32) for _ in vectors]
    for start in range(0, SEALED_ROWS, 1024):
        store.write(photos[start : start + 1024], vectors[start : start + 1024])
    store = EmbeddingStore(folder / "embeddings")  # one that has read none of it
    description = {"engine": "", "fingerprint": "", "dim": dim, "index": {"type": "flat"}}
    seal = Sealer(segments, store, description, ignored, SILENT.note)
    rows = np.arange(SEALED_ROWS)
    hashes, ids = to_hashes(b"".join(photos)), np.column_stack([rows, rows])

    def index_all() -> None:
        if store.present(hashes).all():
            seal(hashes, ids, rows[:0])

    return bench.best(index_all, 1)


def _coding(bench: Bench, speeds: Speeds) -> Speeds:
    """Fit codes and clusters, and encode vectors."""
    vectors = photo_like(SAMPLE_ROWS, LONG)
    limit = max_code_length(SAMPLE_ROWS, LONG, CLUSTERS)
    coders: list[Coder | None] = []

    def fit_coder() -> None:
        coders.append(fit(vectors, lambda: [vectors[:1]], SAMPLE_ROWS, limit, length=CODE_LENGTH))

    fitting = bench.best(fit_coder, 1)
    coder = coders[0]
    assert coder is not None  # noqa: S101 (a length was given)
    wide, basis = vectors.astype(np.float64), coder.basis[:-1].astype(np.float64)
    choosing = bench.best(lambda: choose_length(wide, basis, SAMPLE_ROWS), 1)
    some = vectors[:2048]
    encoding = bench.best(lambda: coder.codes(coder.project(some)))
    values = np.random.default_rng(0).integers(0, 256, (SAMPLE_ROWS, CODE_LENGTH))
    codes = values.astype(np.float32)
    clustering = bench.best(lambda: byte_index(CODE_LENGTH, CLUSTERS).train(codes), 1)
    flops = 2.0 * times.CLUSTER_ITERATIONS * SAMPLE_ROWS * CLUSTERS * CODE_LENGTH
    return replace(
        speeds,
        fit_flops=times.fit_flops(SAMPLE_ROWS, LONG, CLUSTERS) / fitting,
        numbers=times.CHOSEN_BY * SAMPLE_ROWS * (LONG + CODE_LENGTH) / choosing,
        encode_flops=2.0 * len(some) * LONG * (CODE_LENGTH - RESIDUAL_COPIES) / encoding,
        cluster_flops=flops / clustering,
    )


def _scanning(bench: Bench, speeds: Speeds) -> Speeds:
    """Search many vectors, with one query and with many, and compare some of them in full."""
    vectors = np.random.default_rng(0).random((SCANNED_ROWS, LONG), np.float32)
    file = bench.folder / INDEX_FILE
    write_flat(file, SCANNED_ROWS, LONG, [(np.arange(SCANNED_ROWS), vectors)])
    flat, queries = open_index("flat", bench.folder), vectors[:QUERY_BLOCK] + np.float32(0.01)
    single = bench.best(lambda: flat.search(queries[:1], 10), SINGLE)
    batch = bench.best(lambda: flat.search(queries, FIRST_NEIGHBORS), 2)
    opened, rows = VectorFile(file), np.arange(COMPARED_ROWS) * 65 % SCANNED_ROWS
    comparing = bench.median(lambda i: opened.nearest(queries[i], (rows + i) % SCANNED_ROWS, 10))
    opened.close()
    flat.close()
    return replace(
        speeds,
        scan_bytes=vectors.nbytes / single,
        batch_flops=2.0 * QUERY_BLOCK * vectors.size / batch,
        compare_bytes=4.0 * LONG * len(rows) / comparing,
    )


def _code_scanning(bench: Bench, speeds: Speeds) -> Speeds:
    """Look at more codes than caches hold."""
    faiss = import_faiss()
    random, index = np.random.default_rng(0), byte_index(CODE_LENGTH, 1)
    some = random.integers(0, 256, (CODES // 16, CODE_LENGTH)).astype(np.float32)
    index.train(some)
    for _ in range(16):
        index.add(some)
    everywhere = faiss.SearchParametersIVF(nprobe=1)
    seconds = bench.median(lambda i: index.range_search(some[i : i + 1], 1.0, params=everywhere))
    return replace(speeds, code_bytes=CODES * CODE_LENGTH / seconds)


def _querying(bench: Bench, speeds: Speeds) -> Speeds:
    """Ask a small index with codes: what is left is what any query takes."""
    folder, rows, dim = bench.folder / "pruned", SEALED_ROWS, 4 * SHORT
    folder.mkdir()
    vectors = photo_like(rows + SINGLE, dim)
    write_index("pruned", folder, rows, dim, [(np.arange(rows), vectors[:rows])])
    index = open_index("pruned", folder)
    found = index.search(vectors[rows:], 10)
    seconds = bench.median(lambda i: index.search(vectors[rows + i : rows + i + 1], 10))
    index.close()
    seconds -= 4 * dim * float(np.median(found.verified)) / speeds.compare_bytes
    return replace(speeds, query_seconds=max(seconds, 1e-5))
