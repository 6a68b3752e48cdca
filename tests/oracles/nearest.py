"""The nearest rows by brute force in float64: what every kind of index is held to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.index.base import VectorIndex

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


def brute_force(xb: F32, query: F32, k: int, allowed: I64 | None = None) -> tuple[F64, I64]:
    """Distances and rows by (distance, row), in float64."""
    rows = np.arange(len(xb)) if allowed is None else np.unique(allowed)
    distances = np.sqrt(((xb[rows].astype(np.float64) - query.astype(np.float64)) ** 2).sum(axis=1))
    order = np.argsort(distances, kind="stable")[:k]
    return distances[order], rows[order]


def check(index: VectorIndex, xb: F32, xq: F32, k: int, allowed: I64 | None = None) -> None:
    """Demand the brute force's answer.

    Rows may differ from it only where its own distances differ by less than float64 can tell.
    """
    found = index.search(xq, k, allowed)
    available = len(xb) if allowed is None else len(np.unique(allowed))
    assert found.distances.shape == found.rows.shape == (len(xq), min(k, available))
    assert found.verified.shape == (len(xq),)
    assert (found.verified >= min(k, available)).all()
    assert (found.verified <= available).all()
    for query, distances, rows in zip(xq, found.distances, found.rows, strict=True):
        expected, expected_rows = brute_force(xb, query, k, allowed)
        np.testing.assert_allclose(distances, expected, rtol=1e-13, atol=0)
        pairs = list(zip(distances.tolist(), rows.tolist(), strict=True))
        assert pairs == sorted(pairs)
        assert len(set(rows.tolist())) == len(rows)
        assert allowed is None or set(rows.tolist()) <= set(allowed.tolist())
        true = np.linalg.norm(xb[rows].astype(np.float64) - query.astype(np.float64), axis=1)
        other = rows != expected_rows
        np.testing.assert_allclose(true[other], expected[other], rtol=1e-13, atol=0)
