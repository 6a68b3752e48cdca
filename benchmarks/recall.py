"""What an index with a promise of recall costs, beside other approximate indexes at equal recall.

Vectors are MobileNetV2's of real photos, 1,280 numbers each, moved a little where more are needed
(`lookup`); queries are photos that are not in the index. Each index is asked with growing effort
until it finds 0.99 of the 10 nearest, and is then timed, one query at a time on one thread. Other
libraries take part where they are installed. By itself, with features that were made elsewhere:

    python benchmarks/recall.py --base base.npy --queries queries.npy --rows 1000000 --threads 16
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import lookup
import numpy as np
import numpy.typing as npt

from pipeline.embeddings.flat_file import write_flat
from pipeline.embeddings.segment import INDEX_FILE
from pipeline.index import open_index
from pipeline.index.base import VectorIndex
from pipeline.index.flat import FlatIndex
from pipeline.index.promised import write_promised
from pipeline.index.pruned import write_pruned
from pipeline.index.recall import K, Recall, found_shares

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Rows = list[dict[str, object]]
Answer = Callable[[F32], I64]
PROMISE = 0.99
RECALLS = {"pruned": None, "promised": PROMISE}
QUERIES = 1000
SELECTIVITIES = (0.5, 0.1, 0.01, 0.001)
EFFORTS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
OTHERS = ("IVF", "HNSW", "lancedb", "hnswlib", "usearch")  # FAISS's, and libraries
REORDERED = 10  # times as many rows as are asked for are compared in full, where codes are short


@dataclass
class Way:
    """One index, and how it is asked: with some effort, or as it is."""

    name: str
    built: float
    """Seconds."""
    memory: int
    """Bytes."""
    answer: Callable[[F32, int], I64]
    """(n, dim) queries, effort → (n, k) rows."""
    efforts: Sequence[int] = EFFORTS
    single: Callable[[], None] = field(default=lambda: None)
    """Holds it to one thread."""


def measure(data: Path | None) -> Rows:
    """Measure catalogs of 18,022 and of 200,000 vectors; a million takes 40 GB of memory."""
    archive = data / "fashion-18322.tar" if data else None
    if data is None or archive is None or not archive.is_file():
        return [{"skipped": "needs fashion-18322.tar: make bench DATA=its folder"}]
    lookup.KEPT.mkdir(exist_ok=True)
    vectors = lookup._features("MobileNetV2", data)
    order = np.random.default_rng(1).permutation(len(vectors))
    base, xq = vectors[order[QUERIES:]], vectors[order[:QUERIES]]
    return [row for rows in (len(base), 200_000) for row in compare(base, xq, rows, threads=2)]


def compare(
    base: F32, xq: F32, rows: int, threads: int, others: Sequence[str] = OTHERS
) -> Iterator[dict[str, object]]:
    """Yield what each index costs on so many vectors, and then what ours does with conditions."""
    import faiss

    with tempfile.TemporaryDirectory() as folder:
        xb = _catalog(base, rows)
        write_flat(Path(folder, INDEX_FILE), *xb.shape, [(np.arange(len(xb)), xb)])
        truth = _exact_rows(xb, xq, threads)
        for way in chain(_ours(folder), _others(xb, threads, others)):  # one at a time in memory
            yield {"vectors": rows, **_row(way, xb, xq, truth)}
            faiss.omp_set_num_threads(threads)
        yield from _conditions(folder, xq, rows)


def _catalog(base: F32, rows: int) -> F32:
    """(rows, dim) vectors: real ones, and such that have been moved a little."""
    if rows <= len(base):
        return base[:rows]
    xb = np.empty((rows, base.shape[1]), np.float32)
    for at, vectors in lookup._jittered(base, rows):
        xb[at] = vectors
    return xb


# -- Ours ------------------------------------------------------------------------------------------


def _build_ours(folder: str, name: str) -> tuple[float, int]:
    """Write the codes of one kind; return the seconds (of this process alone) and bytes."""
    began = time.perf_counter()
    place = Path(folder, name)
    place.mkdir()
    (place / INDEX_FILE).symlink_to(Path(folder, INDEX_FILE))
    recall, flat = RECALLS[name], FlatIndex(place / INDEX_FILE)
    if recall is None:
        write_pruned(place, flat.file)
    else:
        write_promised(place, flat.file, flat, recall)
    flat.close()
    return time.perf_counter() - began, lookup._extra(place)


def _ours(folder: str) -> Iterator[Way]:
    def way(name: str, index: VectorIndex, seconds: float, memory: int) -> Way:
        return Way(name, seconds, memory, lambda xq, _: index.search(xq, K).rows, [0])

    yield way("flat, exact", open_index("flat", Path(folder)), 0.0, 0)
    for name, recall in RECALLS.items():
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            cost = alone.submit(_build_ours, folder, name).result()
        index = open_index("pruned", Path(folder, name), exact=recall is None)
        label = "pruned, exact" if recall is None else f"pruned, index.recall {recall}"
        yield way(label, index, *cost)


def _conditions(folder: str, xq: F32, rows: int) -> Iterator[dict[str, object]]:
    """Recall among the rows that a condition allows: at random, and as far apart as there are."""
    exact = open_index("pruned", Path(folder, "pruned"))
    index = open_index("pruned", Path(folder, "promised"), exact=False)
    random = np.random.default_rng(2)
    direction = random.standard_normal(index.dim).astype(np.float32)
    places = np.concatenate(
        [
            index.vectors(np.arange(at, min(at + 4096, rows))) @ direction
            for at in range(0, rows, 4096)
        ]
    )
    for share in SELECTIVITIES:
        for kind, values in (("at random", random.random(rows)), ("on one side", places)):
            allowed = np.flatnonzero(values < np.quantile(values, share))
            some = xq[:200]
            found, nearest = index.search(some, K, allowed), exact.search(some, K, allowed)
            times = lookup._times(lambda q, a=allowed: index.search(q, K, a), some[:100])
            yield {
                "vectors": rows,
                "allowed": f"{share:.1%} {kind}",
                "recall@10": str(Recall.of(found_shares(found.distances, nearest.distances), K)),
                "found": found.rows.shape[1],
                "ms": lookup._summary(times),
            }


# -- Others ----------------------------------------------------------------------------------------


def _others(xb: F32, threads: int, chosen: Sequence[str]) -> Iterator[Way]:
    clusters, codes = int(2 * len(xb) ** 0.5), f"PQ{xb.shape[1] // 4}x4fs"
    for name, description in (
        ("FAISS IVF,Flat", f"IVF{clusters},Flat"),
        ("FAISS IVF,PQ fast scan", f"IVF{clusters},{codes}"),
        ("FAISS IVF,PQ fast scan, re-ranked", f"IVF{clusters},{codes},RFlat"),
        ("FAISS HNSW32", "HNSW32"),
    ):
        if description.partition(",")[0].rstrip("0123456789") in chosen:
            yield _faiss(name, description, xb)
    for library, make in (("lancedb", _lance), ("hnswlib", _hnswlib), ("usearch", _usearch)):
        if library in chosen and _is_installed(library):
            yield make(xb, threads)


def _is_installed(library: str) -> bool:
    try:
        import_module(library)
    except ImportError:
        return False
    return True


def _faiss(name: str, description: str, xb: F32) -> Way:
    import faiss

    began = time.perf_counter()
    index = faiss.index_factory(xb.shape[1], description)
    sample = np.random.default_rng(0).permutation(len(xb))[:100_000]
    index.train(xb[np.sort(sample)])
    index.add(xb)
    seconds = time.perf_counter() - began

    def answer(xq: F32, effort: int) -> I64:
        if "HNSW" in description:
            parameters = faiss.SearchParametersHNSW(efSearch=effort)
        else:
            parameters = faiss.SearchParametersIVF(nprobe=effort)
        if "RFlat" in description:
            parameters = faiss.IndexRefineSearchParameters(
                k_factor=REORDERED, base_index_params=parameters
            )
        return index.search(xq, K, params=parameters)[1]  # type: ignore[no-any-return]

    return Way(
        name, seconds, _written_bytes(index), answer, single=lambda: faiss.omp_set_num_threads(1)
    )


def _written_bytes(index: object) -> int:
    """How large an index of FAISS is, which is held as it would be written."""
    import faiss

    sizes: list[int] = []
    faiss.write_index(index, faiss.PyCallbackIOWriter(lambda data: sizes.append(len(data))))
    return sum(sizes)


def _usearch(xb: F32, threads: int) -> Way:
    from usearch.index import Index

    began = time.perf_counter()
    index = Index(ndim=xb.shape[1], metric="l2sq", dtype="f32")
    index.add(np.arange(len(xb)), xb, threads=threads)
    seconds = time.perf_counter() - began

    def answer(xq: F32, effort: int) -> I64:
        index.expansion_search = effort
        return np.atleast_2d(index.search(xq, K, threads=1).keys).astype(np.int64)

    return Way("usearch", seconds, index.memory_usage, answer)


def _hnswlib(xb: F32, threads: int) -> Way:
    import hnswlib

    before, began = lookup._anonymous(), time.perf_counter()
    index = hnswlib.Index("l2", xb.shape[1])
    index.init_index(len(xb), ef_construction=100, M=16)
    index.add_items(xb, num_threads=threads)
    seconds = time.perf_counter() - began

    def answer(xq: F32, effort: int) -> I64:
        index.set_ef(max(effort, K))
        return index.knn_query(xq, K, num_threads=1)[0].astype(np.int64)  # type: ignore[no-any-return]

    return Way("hnswlib", seconds, lookup._anonymous() - before, answer)


def _lance(xb: F32, threads: int) -> Way:
    import lancedb
    import pyarrow as pa

    os.environ["LANCE_CPU_THREADS"] = str(threads)
    folder = tempfile.mkdtemp(prefix="imgsearch-lance-")
    before, began = lookup._anonymous(), time.perf_counter()
    values = pa.FixedSizeListArray.from_arrays(pa.array(xb.ravel()), xb.shape[1])
    columns = {"row": pa.array(np.arange(len(xb))), "vector": values}
    table = lancedb.connect(folder).create_table("vectors", pa.table(columns))
    table.create_index(metric="l2", num_partitions=int(len(xb) ** 0.5), num_sub_vectors=160)
    seconds = time.perf_counter() - began

    def answer(xq: F32, effort: int) -> I64:
        def rows(query: F32) -> I64:
            search = table.search(query).limit(K).nprobes(effort).refine_factor(REORDERED)
            return search.to_arrow()["row"].to_numpy()  # type: ignore[no-any-return]

        return np.stack([rows(query) for query in xq])

    return Way("LanceDB IVF_PQ, refined", seconds, lookup._anonymous() - before, answer)


# -- Measuring -------------------------------------------------------------------------------------


def _exact_rows(xb: F32, xq: F32, threads: int) -> F32:
    """(queries, k) squared distances of the nearest: products of matrices, then differences."""
    import faiss

    faiss.omp_set_num_threads(threads)
    _, near = faiss.knn(xq, xb, K + 20)
    return np.sort(_squared(xb, xq, near), axis=1)[:, :K]


def _squared(xb: F32, xq: F32, rows: I64) -> npt.NDArray[np.float64]:
    squared = np.full(rows.shape, np.inf)
    for i, query in enumerate(xq):
        is_row = rows[i] >= 0
        difference = xb[rows[i][is_row]].astype(np.float64) - query
        squared[i, is_row] = np.einsum("ij,ij->i", difference, difference)
    return squared


def _row(way: Way, xb: F32, xq: F32, truth: F32) -> dict[str, object]:
    """Find the effort that reaches the promise, and time it."""
    shares = np.zeros(1)
    effort, asked = 0, xq
    for effort in way.efforts:
        asked = xq if way.name != "flat, exact" else xq[:50]
        shares = found_shares(_squared(xb, asked, way.answer(asked, effort)), truth[: len(asked)])
        if shares.mean() >= PROMISE:
            break
    way.single()
    times = lookup._times(lambda query: way.answer(query, effort), asked[:300])
    return {
        "way": way.name,
        "effort": effort,
        "recall@10": str(Recall.of(shares, K)),
        "ms": lookup._summary(times),
        "memory": f"{way.memory / xb.nbytes:.1%}",
        "built in, s": round(way.built, 1),
    }


def main() -> None:
    """Compare on features that are given; write a line of JSON for each index as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="(n, dim) features, .npy")
    parser.add_argument("--queries", type=Path, required=True, help="(n, dim) features, .npy")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2, help="to build others with")
    parser.add_argument("--others", nargs="*", default=OTHERS, help="to compare with")
    parser.add_argument("--out", type=Path, default=Path("recall.jsonl"))
    given = parser.parse_args()
    base, xq = (_unit(np.load(file).astype(np.float32)) for file in (given.base, given.queries))
    with given.out.open("w") as out:
        for row in compare(base, xq[:QUERIES], given.rows, given.threads, given.others):
            sys.stdout.write(", ".join(f"{key}: {value}" for key, value in row.items()) + "\n")
            sys.stdout.flush()
            out.write(json.dumps(row) + "\n")
            out.flush()


def _unit(vectors: F32) -> F32:
    unit: F32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
