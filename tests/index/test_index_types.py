"""A further type of index is a module and a line: here one in a few lines, taken all the way."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from pipeline.config import IndexSettings
from pipeline.errors import DamagedArtifactError
from pipeline.index import INDEX_TYPES, IndexType, open_index, write_index
from pipeline.index.base import F32Matrix, Ids, Neighbors, VectorIndex
from pipeline.index.vectors import VectorFile
from tests.oracles.nearest import check


class BruteForceIndex:
    """All distances in NumPy, from a copy of the vectors."""

    def __init__(self, folder: Path, file: VectorFile, flat: VectorIndex) -> None:
        self.flat, self.xb = flat, np.load(folder / "vectors.npy")
        self.rows, self.dim = file.rows, file.dim

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        rows = np.arange(self.rows) if allowed is None else np.unique(allowed)
        difference = self.xb[rows] - queries[:, np.newaxis].astype(np.float64)
        distances = np.linalg.norm(difference, axis=2)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        verified = np.full(len(queries), len(rows))
        return Neighbors(np.take_along_axis(distances, order, axis=1), rows[order], verified)

    def vectors(self, rows: Ids) -> F32Matrix:
        return self.flat.vectors(rows)

    def close(self) -> None:
        self.flat.close()


def write_brute_force(folder: Path, file: VectorFile) -> None:
    np.save(folder / "vectors.npy", file.read(np.arange(file.rows)))


def test_a_new_type_is_written_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INDEX_TYPES, "brute", IndexType(write_brute_force, BruteForceIndex))
    xb = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    write_index("brute", tmp_path, *xb.shape, [(np.arange(50), xb)])
    index = open_index("brute", tmp_path)
    check(index, xb, xb[:5] + np.float32(0.1), 7)
    check(index, xb, xb[:5], 7, np.arange(0, 50, 3))
    np.testing.assert_array_equal(index.vectors(np.array([4, 2])), xb[[4, 2]])
    index.close()


def test_the_settings_name_the_types_that_there_are() -> None:
    assert get_args(IndexSettings.model_fields["type"].annotation) == tuple(INDEX_TYPES)


def test_an_index_of_an_unknown_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedArtifactError, match=f"{tmp_path}: its index is of the unknown type"):
        open_index("hnsw", tmp_path)
