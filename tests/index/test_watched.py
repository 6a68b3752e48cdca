"""An index of a segment: no bit of its files may change unnoticed, before it is opened or after."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import publish, read_manifest
from pipeline.embeddings.flat_file import write_flat
from pipeline.embeddings.segment import INDEX_FILE, Segment
from pipeline.errors import DamagedArtifactError
from pipeline.index import open_segment
from pipeline.index.pruned import PruningOptions, write_pruned
from pipeline.index.vectors import VectorFile

ROWS, DIM = 400, 64
OPTIONS = PruningOptions(max_memory_share=9, min_coded_rows=1, code_length=32)


@pytest.fixture(scope="module")
def xb() -> np.ndarray:
    rng = np.random.default_rng(3)
    near = rng.standard_normal((ROWS, 6)) @ rng.standard_normal((6, DIM))
    return (near + 0.01 * rng.standard_normal((ROWS, DIM))).astype(np.float32)


@pytest.fixture
def segment(tmp_path: Path, xb: np.ndarray) -> Segment:
    with publish(tmp_path / "a1", {"index": {"type": "pruned"}}) as aside:
        write_flat(aside / INDEX_FILE, ROWS, DIM, [(np.arange(ROWS), xb)])
        file = VectorFile(aside / INDEX_FILE)
        write_pruned(aside, file, OPTIONS)
        file.close()
        (aside / "ids.npy").write_bytes(b"not a part of the index")
    return Segment(tmp_path / "a1", read_manifest(tmp_path / "a1"))


def test_it_answers_as_it_does_unwatched(segment: Segment, xb: np.ndarray) -> None:
    assert segment.index_files == ["basis.npy", "bounds.json", "codes.faiss", "index.faiss"]
    index = open_segment(segment)
    found = index.search(xb[:5], 3)
    distances = np.linalg.norm(xb[:5, np.newaxis].astype(np.float64) - xb, axis=2)
    np.testing.assert_array_equal(found.rows, np.argsort(distances, axis=1)[:, :3])
    np.testing.assert_array_equal(index.vectors(np.array([7, 3])), xb[[7, 3]])
    assert (index.rows, index.dim) == (ROWS, DIM)
    index.close()


@pytest.mark.soak
def test_no_flipped_bit_changes_an_answer(segment: Segment, xb: np.ndarray, soak: bool) -> None:
    dice = random.Random(4)
    index = open_segment(segment)
    for name in segment.index_files:
        file = segment.path / name
        data = file.read_bytes()
        for bit in dice.sample(range(8 * len(data)), 400 if soak else 8):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            file.write_bytes(flipped)
            with pytest.raises(DamagedArtifactError, match=f"{file}: damaged: "):
                open_segment(segment)
            with pytest.raises(DamagedArtifactError, match=f"{file}: damaged: "):
                index.search(xb[:2], 3)
            with pytest.raises(DamagedArtifactError, match=f"{file}: damaged: "):
                index.vectors(np.array([0]))
        file.write_bytes(data)
    assert index.search(xb[:1], 1).rows.tolist() == [[0]]
    index.close()
