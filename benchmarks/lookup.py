"""How long finding the nearest vectors takes: `pruned` against `flat`, and against other ways.

Needs `fashion-18322.tar` and MobileNetV2's weights. Vectors: MobileNetV2, 1,280 dimensions; and
VGG16 `fc1` with random weights, 4,096 dimensions (the time does not depend on the weights), which
takes half an hour on 2 cores the first time. Both are kept in a folder `imgsearch-lookup` of the
system's temporary folder, and so is the catalog of a million: real vectors with jitter.

Queries are photos that are not in the index. All is on one thread, except NumPy.
Times are of the second round.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.index import open_index, write_index
from pipeline.index.base import Neighbors

F32 = npt.NDArray[np.float32]
KEPT = Path(tempfile.gettempdir(), "imgsearch-lookup")
WEIGHTS = "mobilenet_v2_imagenet_notop.weights.h5"
QUERIES, TURN, K = 300, 100, 10
OURS = ("FAISS IndexFlatL2", "flat", "pruned")
LIMIT = 1_500_000_000  # bytes of address space, for the catalog of a million
Rows = list[dict[str, object]]


def measure(data: Path | None) -> Rows:
    """Measure both kinds of vectors, then growing catalogs."""
    archive = data / "fashion-18322.tar" if data else None
    if data is None or archive is None or not archive.is_file():
        return [{"skipped": "needs fashion-18322.tar: make bench DATA=its folder"}]
    KEPT.mkdir(exist_ok=True)
    rows: Rows = [{"copying memory, GB/s": round(_copy_bandwidth(), 1)}]
    rows += [
        {"skipped": f"{library} is not installed: pip install {library}"}
        for library in ("hnswlib", "usearch")
        if not find_spec(library)
    ]
    for name in ("MobileNetV2", "VGG16"):
        rows += _side_by_side(name, _features(name, data))
    for count in (18_022, 100_000, 1_000_000):
        rows.append(_grown(_features("MobileNetV2", data), count))
    return rows


def limited(folder: str, queries: str) -> Rows:
    """Answer queries with less address space than the vectors take; runs in its own process."""
    import faiss

    xq = np.load(queries)
    faiss.omp_set_num_threads(1)
    before = _anonymous()
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    index = open_index("pruned", Path(folder))
    cold = _times(lambda query: index.search(query, K), xq)
    warm = _times(lambda query: index.search(query, K), xq)
    return [
        {
            "limit on address space, GB": LIMIT / 1e9,
            "vectors, GB": round(index.rows * index.dim * 4 / 1e9, 2),
            "cold, ms": _summary(cold),
            "warm, ms": _summary(warm),
            "own memory of the index, MB": round((_anonymous() - before) / 1e6, 1),
            "rows": [index.search(query[np.newaxis], K).rows[0].tolist() for query in xq],
        }
    ]


# -- Vectors ---------------------------------------------------------------------------------------


def _features(name: str, data: Path) -> F32:
    """(18,322, dim) float32 of unit length, made once."""
    kept = KEPT / f"{name}.npy"
    if not kept.is_file():
        with tarfile.open(data / "fashion-18322.tar") as tar:
            names = [member for member in tar.getmembers() if member.name.endswith(".jpg")]
            photos = [tar.extractfile(member).read() for member in names]  # type: ignore[union-attr]
        vectors = _encode(name, data / WEIGHTS, photos)
        np.save(kept, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    vectors_: F32 = np.load(kept)
    return vectors_


def _encode(name: str, weights: Path, photos: list[bytes]) -> F32:
    import keras
    from PIL import Image

    if name == "MobileNetV2":
        network = keras.applications.MobileNetV2(
            include_top=False, input_shape=(224, 224, 3), weights=None, pooling="avg"
        )
        network.load_weights(weights)
        prepare = keras.applications.mobilenet_v2.preprocess_input
    else:
        keras.utils.set_random_seed(7)
        whole = keras.applications.VGG16(weights=None)
        network = keras.Model(whole.input, whole.get_layer("fc1").output)
        prepare = keras.applications.vgg16.preprocess_input
    vectors = []
    for start in range(0, len(photos), 32):
        pictures = [Image.open(io.BytesIO(photo)) for photo in photos[start : start + 32]]
        sized = [p.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC) for p in pictures]
        pixels = np.stack([np.asarray(picture, np.float32) for picture in sized])
        vectors.append(network(prepare(pixels), training=False).numpy())
    return np.concatenate(vectors)


def _jittered(vectors: F32, count: int) -> Iterator[tuple[npt.NDArray[np.int64], F32]]:
    """`count` vectors in parts: each a real one, moved along the difference of two others."""
    random = np.random.default_rng(0)
    for start in range(0, count, 1024):
        rows = np.arange(start, min(start + 1024, count))
        one, other = vectors[random.integers(0, len(vectors), (2, len(rows)))]
        size = random.uniform(0, 0.3, (len(rows), 1)).astype(np.float32)
        moved = np.maximum(vectors[rows % len(vectors)] + size * (one - other), 0)
        yield rows, moved / np.linalg.norm(moved, axis=1, keepdims=True)


# -- Measuring -------------------------------------------------------------------------------------


def _times(answer: Callable[[F32], object], xq: F32) -> npt.NDArray[np.float64]:
    """Milliseconds of each query alone."""
    times = []
    for query in xq:
        began = time.perf_counter()
        answer(query[np.newaxis])
        times.append(1000 * (time.perf_counter() - began))
    return np.array(times)


def _summary(times: npt.NDArray[np.float64]) -> dict[str, float]:
    return {"median": round(float(np.median(times)), 3), "p95": round(_p95(times), 3)}


def _p95(times: npt.NDArray[np.float64]) -> float:
    return float(np.percentile(times, 95))


def _copy_bandwidth() -> float:
    """GB/s read in copying 256 MB, the best of 9."""
    source = np.ones(32 << 20)
    target = np.empty_like(source)
    seconds = []
    for _ in range(9):
        began = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - began)
    return source.nbytes / min(seconds) / 1e9


def _anonymous() -> int:
    """Bytes that belong to this process alone, not to files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def _side_by_side(name: str, vectors: F32) -> Rows:
    """Time every way to find neighbors on the same queries, in turn."""
    import faiss

    faiss.omp_set_num_threads(1)
    order = np.random.default_rng(1).permutation(len(vectors))
    xq, xb = vectors[order[:QUERIES]], np.ascontiguousarray(vectors[order[QUERIES:]])
    with tempfile.TemporaryDirectory() as folder:
        write_index("pruned", Path(folder), *xb.shape, [(np.arange(len(xb)), xb)])
        flat, pruned = open_index("flat", Path(folder)), open_index("pruned", Path(folder))
        plain = faiss.IndexFlatL2(xb.shape[1])
        plain.add(xb)
        ways: dict[str, Callable[[F32], Any]] = {
            "FAISS IndexFlatL2": lambda q: plain.search(q, K),
            "flat": lambda q: flat.search(q, K),
            "pruned": lambda q: pruned.search(q, K),
            "NumPy, as the article": lambda q: np.argsort(np.linalg.norm(xb - q, axis=1))[:K],
            "NumPy, product with a vector": lambda q: np.argpartition(-(xb @ q[0]), K)[:K],
            **_others(xb),
        }
        for answer in ways.values():
            _times(answer, xq)
        parts: dict[str, list[npt.NDArray[np.float64]]] = {way: [] for way in ways}
        # In turns, because machines are shared; but NumPy's threads spin on for a while.
        for group in (OURS, [way for way in ways if way not in OURS]):
            for start in range(0, QUERIES, TURN):
                for way in group:
                    parts[way].append(_times(ways[way], xq[start : start + TURN]))
        times = {way: np.concatenate(part) for way, part in parts.items()}
        base = times["FAISS IndexFlatL2"]
        rows: Rows = [
            {
                "vectors": f"{name}, {xb.shape[0]} × {xb.shape[1]}",
                "way": way,
                "ms": _summary(found),
                "median ÷": round(float(np.median(base) / np.median(found)), 2),
                "p95 ÷": round(_p95(base) / _p95(found), 2),
            }
            for way, found in times.items()
        ]
        for number in (64, 1024):
            batch = np.resize(xq, (number, xb.shape[1]))
            per_query = {
                way: min(_batch(ways[way], batch) for _ in range(3)) / number for way in OURS
            }
            rows.append({"batch of": number, **{w: f"{ms:.3f} ms" for w, ms in per_query.items()}})
        one, other = flat.search(xq, K), pruned.search(xq, K)
        same = np.array_equal(one.rows, other.rows)
        rows.append(
            {
                "same answers as flat": same and np.array_equal(one.distances, other.distances),
                "verified, median": float(np.median(other.verified)),
                "verified, p95": float(np.percentile(other.verified, 95)),
                "memory of codes and basis": f"{_extra(Path(folder)) / xb.nbytes:.1%}",
            }
        )
        return rows


def _batch(answer: Callable[[F32], object], xq: F32) -> float:
    began = time.perf_counter()
    answer(xq)
    return 1000 * (time.perf_counter() - began)


def _extra(folder: Path) -> int:
    """Bytes of a pruned index beside its vectors."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != "index.faiss")


def _others(xb: F32) -> dict[str, Callable[[F32], Any]]:
    """Other libraries, where they are installed."""
    ways: dict[str, Callable[[F32], Any]] = {}
    if find_spec("hnswlib"):
        import hnswlib

        graph = hnswlib.Index("l2", xb.shape[1])
        graph.init_index(len(xb), ef_construction=200, M=16)
        graph.add_items(xb, num_threads=2)
        graph.set_ef(100)
        ways["hnswlib, not exact"] = lambda q: graph.knn_query(q, K, num_threads=1)
    if find_spec("usearch"):
        from usearch.index import search

        ways["usearch, exact"] = lambda q: search(xb, q, K, "l2sq", exact=True, threads=1)
    return ways


def _grown(vectors: F32, count: int) -> dict[str, object]:
    """Build both kinds of a growing catalog, and ask them the same."""
    order = np.random.default_rng(1).permutation(len(vectors))
    xq, base = vectors[order[:QUERIES]], vectors[order[QUERIES:]]
    folder, seconds = KEPT / str(count), {}
    folder.mkdir(exist_ok=True)
    for kind in ("flat", "pruned"):
        began = time.perf_counter()
        write_index(kind, folder, count, base.shape[1], _jittered(base, count))
        seconds[kind] = time.perf_counter() - began
    row: dict[str, object] = {
        "vectors": count,
        "built in, s": {kind: round(value, 1) for kind, value in seconds.items()},
        "memory of codes and basis": f"{_extra(folder) / (count * base.shape[1] * 4):.1%}",
    }
    asked = KEPT / "queries.npy"
    np.save(asked, xq if count < 10**6 else xq[:100])
    kinds: tuple[str, ...] = ("flat", "pruned")
    answers = {}
    for kind in kinds:
        times, answers[kind] = _ask(kind, folder, np.load(asked))
        row[f"{kind}, ms"] = _summary(times)
    row["same answers"] = np.array_equal(answers["flat"].rows, answers["pruned"].rows)
    row["verified, median"] = float(np.median(answers["pruned"].verified))
    row["verified, p95"] = float(np.percentile(answers["pruned"].verified, 95))
    if count * base.shape[1] * 4 > LIMIT:
        _forget(folder)
        code = "import json, sys, lookup; print(json.dumps(lookup.limited(*sys.argv[1:])))"
        command = [sys.executable, "-c", code, str(folder), str(asked)]
        here = Path(__file__).parent
        ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=here)
        (found,) = json.loads(ran.stdout)
        found["same answers, limited"] = found.pop("rows") == answers["flat"].rows.tolist()
        row |= found
    return row


def _ask(kind: str, folder: Path, xq: F32) -> tuple[npt.NDArray[np.float64], Neighbors]:
    """Open an index, and close it again: what is mapped stays in the system's cache."""
    index = open_index(kind, folder)
    _times(lambda query: index.search(query, K), xq)
    return _times(lambda query: index.search(query, K), xq), index.search(xq, K)


def _forget(folder: Path) -> None:
    """Put the system's cache of the files out."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
