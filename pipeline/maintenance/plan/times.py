"""An index's size and a machine's speeds → how long it takes to build, and to be asked."""

from __future__ import annotations

import math
from typing import NamedTuple

from pipeline.index.bounds import RESIDUAL_COPIES
from pipeline.index.calibration import MAX_QUERIES
from pipeline.index.code_filter import SAMPLE_ROWS, Clustering
from pipeline.index.milvus.collection import Collection
from pipeline.index.pruned import max_code_length
from pipeline.index.sizes import IndexSize, index_size
from pipeline.maintenance.plan.speeds import EngineSpeed, Speeds

PCA_PASSES = 8  # products of the sample with as many directions, in fitting codes
QR_PASSES = 4
CLUSTER_ITERATIONS = 10
FLAT_SPREAD, PRUNED_SPREAD, PROMISED_SPREAD = 1.15, 1.9, 1.8
"""The 95th percentile of queries, as multiples of the median."""
VERIFIED, VERIFIED_GROWTH = 0.7, 0.62
"""How many vectors an exact search compares in full: so often this power of the rows."""
READ_SHARE = 0.8  # of the time to copy a vector: to read it once more
SCANNED = 80.0
"""Times the square root of the rows: how many codes a search with a promise of recall looks at."""
DEPTH = 200  # vectors that it compares in full
PROMISED_STEPS = 2  # times as long as an exact query before and between what it looks at
CHOSEN_BY = 32  # vectors of the sample that the length of codes is chosen with
TUNING_QUERIES = 2200  # exact ones, to find how far to look, and to measure the recall
TUNING_VECTORS = 100_000  # that are compared in float64 for that
MILVUS_TRIP = 3e-3  # seconds to a server and back
MILVUS_INSERT = 2e7  # bytes a second
MILVUS_LISTS = 16  # that a search with a promise of recall looks into, of each of its indexes
MILVUS_SAMPLE = 256  # vectors for each list, by which they are found
MILVUS_SPREAD = 2.0


class QueryTime(NamedTuple):
    """Seconds that a query keeps one core busy."""

    median: float
    p95: float


def sized(
    kind: str, rows: int, dim: int, recall: float | None, engine: EngineSpeed | None
) -> IndexSize:
    """Return the size of an index, by the code length that was measured of the engine, if it was.

    sized("pruned", 10**6, 1280, None, speeds.engines.get("vgg16")).memory
    """
    known = engine.code_lengths if engine and engine.dim == dim else {}
    if not known:
        return index_size(kind, rows, dim, recall)
    length = known[min(known, key=lambda at: abs(math.log(at / rows)))]
    return index_size(kind if length else "flat", rows, dim, recall, length)


def fit_flops(rows: int, dim: int, clusters: int) -> float:
    """Return the operations of fitting codes to a sample of so many vectors."""
    sample, width = min(rows, SAMPLE_ROWS), max_code_length(rows, dim, clusters) - RESIDUAL_COPIES
    width = max(0, min(width, dim, sample))
    return 2.0 * PCA_PASSES * sample * dim * width + 4.0 * QR_PASSES * dim * width**2


def chosen_numbers(rows: int, dim: int, clusters: int) -> float:
    """Return how many float64 are looked at to choose the length of codes, by a sample."""
    sample = min(rows, SAMPLE_ROWS)
    return float(CHOSEN_BY * sample * (dim + max_code_length(rows, dim, clusters)))


def encode_flops(size: IndexSize) -> float:
    """Return the operations of turning all vectors into codes, which is done twice."""
    return 4.0 * size.rows * size.dim * max(0, size.code_length - RESIDUAL_COPIES)


def cluster_flops(size: IndexSize, sample: int) -> float:
    """Return the operations of fitting clusters to a sample of codes, and of sorting all codes."""
    compared = CLUSTER_ITERATIONS * min(sample, size.rows) + size.rows
    return 2.0 * compared * size.clusters * size.code_length


def index_seconds(size: IndexSize, recall: float | None, speeds: Speeds) -> float:
    """Return how long an index takes to be written and calibrated, once there are vectors."""
    seconds = size.rows * (speeds.seal_row + 4 * size.dim * speeds.seal_byte)
    queries, reading = min(MAX_QUERIES, size.rows), READ_SHARE * size.vectors * speeds.seal_byte
    if not size.code_length:
        return seconds + reading + queries * 2.0 * size.rows * size.dim / speeds.batch_flops
    clustering = Clustering.coarse(size.rows) if recall is None else Clustering.fine(size.rows)
    seconds += fit_flops(size.rows, size.dim, size.clusters) / speeds.fit_flops
    seconds += chosen_numbers(size.rows, size.dim, size.clusters) / speeds.numbers
    seconds += encode_flops(size) / speeds.encode_flops
    seconds += 2 * reading
    seconds += cluster_flops(size, clustering.sample_rows) / speeds.cluster_flops
    if recall is not None:
        queries += TUNING_QUERIES
        seconds += TUNING_VECTORS * size.dim / speeds.numbers
    return seconds + queries * exact_query(size, speeds).median


def milvus_seconds(size: IndexSize, recall: float | None, speeds: Speeds) -> float:
    """Return how long a Milvus server takes to hold an index, after it is written here."""
    one = Collection("", size.rows, size.dim, recall)
    compared = CLUSTER_ITERATIONS * min(MILVUS_SAMPLE * one.lists, one.index_rows) + one.index_rows
    flops = 2.0 * compared * one.lists * size.dim * size.rows / one.index_rows
    sorting = flops / speeds.cluster_flops / speeds.cores if recall is not None else 0.0
    return index_seconds(size, None, speeds) + size.vectors / MILVUS_INSERT + sorting


def exact_query(size: IndexSize, speeds: Speeds) -> QueryTime:
    """Return how long an exact query takes, of `flat` or `pruned`."""
    if not size.code_length:
        return _time(size.vectors / speeds.scan_bytes, FLAT_SPREAD)
    verified = min(VERIFIED * size.rows**VERIFIED_GROWTH, size.rows) * 4 * size.dim
    seconds = speeds.query_seconds + verified / speeds.compare_bytes
    return _time(seconds + size.rows * size.code_length / speeds.code_bytes, PRUNED_SPREAD)


def promised_query(size: IndexSize, speeds: Speeds) -> QueryTime:
    """Return how long a query takes that may miss some neighbors, as promised."""
    exact = exact_query(size, speeds)
    if not size.code_length:
        return exact
    codes = min(SCANNED * size.rows**0.5, size.rows) * size.code_length
    seconds = PROMISED_STEPS * speeds.query_seconds
    seconds += DEPTH * 4 * size.dim / speeds.compare_bytes
    seconds += codes / speeds.code_bytes + 4 * size.clusters * size.code_length / speeds.scan_bytes
    return _time(min(seconds, exact.median), PROMISED_SPREAD)


def milvus_query(size: IndexSize, recall: float | None, speeds: Speeds, machines: int) -> QueryTime:
    """Return how long Milvus takes, on machines like this one that share the vectors.

    FLAT is searched by all their cores at a time, so the 95th percentile is that of a part.
    """
    compared, parts = size.vectors / speeds.scan_bytes, machines * speeds.cores
    if recall is not None:
        one = Collection("", size.rows, size.dim, recall)
        share = min(1.0, (MILVUS_LISTS + one.lists**2 / one.index_rows) / one.lists)
        compared *= share  # some lists, and the centers of all
    return QueryTime(MILVUS_TRIP + compared, MILVUS_SPREAD * (MILVUS_TRIP + compared / parts))


def _time(median: float, spread: float) -> QueryTime:
    return QueryTime(median, spread * median)
