"""flat.py against a float64 brute force, on data that float32 sums get wrong."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embeddings.flat_file import write_flat
from pipeline.errors import DamagedArtifactError
from pipeline.index.flat import FlatIndex
from tests.oracles.nearest import brute_force, check

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Make = Callable[[np.random.Generator], F32]


def written(folder: Path, xb: F32, parts: Iterable[Sequence[int]] | None = None) -> Path:
    """An index file of these vectors, written in these parts."""
    chosen = [np.arange(len(xb))] if parts is None else [np.array(p, np.int64) for p in parts]
    path = folder / "index.faiss"
    write_flat(path, len(xb), xb.shape[1], ((rows, xb[rows]) for rows in chosen))
    return path


def normal(rng: np.random.Generator, rows: int = 60, dim: int = 7) -> F32:
    return rng.standard_normal((rows, dim)).astype(np.float32)


def clustered(rng: np.random.Generator) -> F32:
    """Tight clusters far from the origin: most of a float32's digits are the same."""
    centers = 1000 * rng.standard_normal((4, 7))
    spread = 1e-4 * rng.standard_normal((60, 7))
    return (centers[rng.integers(0, 4, 60)] + spread).astype(np.float32)


def duplicated(rng: np.random.Generator) -> F32:
    return normal(rng, 6)[rng.integers(0, 6, 60)]


def integers(rng: np.random.Generator) -> F32:
    """Small integers: distances are exact, and many are equal."""
    return rng.integers(-2, 3, (60, 4)).astype(np.float32)


def squared_to_one_number(rng: np.random.Generator) -> F32:
    """Numbers whose squares are all rounded to the smallest float32 there is."""
    return np.sqrt(2.0**-149 * rng.uniform(0.6, 1.4, (60, 1))).astype(np.float32)


def wide(rng: np.random.Generator) -> F32:
    """Unit vectors as long as VGG16's."""
    vectors = np.abs(normal(rng, 30, 4096))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def mixed_scales(rng: np.random.Generator) -> F32:
    return normal(rng) * np.float32(10) ** rng.integers(-15, 16, (60, 1)).astype(np.float32)


DATA: dict[str, Make] = {
    "normal": normal,
    "one dimension": lambda rng: normal(rng, dim=1),
    "clustered": clustered,
    "duplicated": duplicated,
    "integers": integers,
    "all equal": lambda rng: np.repeat(normal(rng, 1), 60, axis=0),
    "zero": lambda rng: np.zeros((60, 7), np.float32),
    "huge": lambda rng: normal(rng) * np.float32(1e15),
    "too huge to be squared": lambda rng: normal(rng) * np.float32(1e19),
    "far too huge to be squared": lambda rng: normal(rng) * np.float32(1e30),
    "tiny": lambda rng: normal(rng) * np.float32(1e-15),
    "too tiny to be squared": lambda rng: normal(rng) * np.float32(1e-30),
    "squared to one number": squared_to_one_number,
    "tiny differences": lambda rng: 1 + normal(rng) * np.float32(1e-7),
    "mixed scales": mixed_scales,
    "wide": wide,
    "one row": lambda rng: normal(rng, 1),
}


@pytest.mark.parametrize("name", DATA)
def test_it_finds_what_a_brute_force_finds(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(list(DATA).index(name))
    xb = DATA[name](rng)
    index = FlatIndex(written(tmp_path, xb))
    near = xb[:3] + np.abs(xb[:3]).max() * np.float32(1e-6) * normal(rng, len(xb[:3]), xb.shape[1])
    xq = np.concatenate([xb[::9], near, np.zeros_like(xb[:1])]).astype(np.float32)
    for k in (1, 2, 7, len(xb) - 1, len(xb), len(xb) + 5):
        if k:
            check(index, xb, xq, k)


@pytest.mark.parametrize(
    "name", ["normal", "integers", "all equal", "huge", "too huge to be squared"]
)
def test_it_finds_only_what_is_allowed(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(5)
    xb = DATA[name](rng)
    index = FlatIndex(written(tmp_path, xb))
    for count in (0, 1, 2, 10, 59, 60):
        allowed = rng.permutation(60)[:count]
        for k in (1, 5, 60):
            check(index, xb, xb[:4], k, allowed)


def test_a_row_allowed_twice_is_found_once(tmp_path: Path) -> None:
    xb = normal(np.random.default_rng(6))
    found = FlatIndex(written(tmp_path, xb)).search(xb[:1], 3, np.array([9, 2, 9, 2]))
    expected, rows = brute_force(xb, xb[0], 3, np.array([2, 9]))
    assert found.rows[0].tolist() == rows.tolist()
    np.testing.assert_allclose(found.distances[0], expected, rtol=1e-13)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_any_small_index_answers_as_a_brute_force(data: st.DataObject) -> None:
    rows, dim = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 4))
    number = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 1e-15, 1e15, 1.0000001, 1e-40])
    values = data.draw(st.lists(number, min_size=rows * dim, max_size=rows * dim))
    xb = np.array(values, np.float32).reshape(rows, dim)
    xq = np.array([data.draw(st.lists(number, min_size=dim, max_size=dim))], np.float32)
    allowed = data.draw(st.none() | st.sets(st.integers(0, rows - 1)))
    chosen = None if allowed is None else np.array(sorted(allowed), np.int64)
    with tempfile.TemporaryDirectory() as folder:
        index = FlatIndex(written(Path(folder), xb))
        check(index, xb, xq, data.draw(st.integers(1, rows + 1)), chosen)


def test_equal_vectors_come_in_the_order_of_their_rows(tmp_path: Path) -> None:
    xb = np.ones((100, 5), np.float32)
    xb[::2] = 2
    found = FlatIndex(written(tmp_path, xb)).search(np.ones((1, 5), np.float32), 60)
    assert found.rows[0].tolist() == [*range(1, 100, 2), *range(0, 20, 2)]
    assert found.distances[0].tolist() == [0.0] * 50 + [np.sqrt(5.0)] * 10


def test_thousands_of_equal_long_vectors_take_little_memory(tmp_path: Path) -> None:
    rows, dim = 6000, 4096
    path = tmp_path / "index.faiss"
    ones = np.ones((1000, dim), np.float32)
    write_flat(path, rows, dim, ((np.arange(at, at + 1000), ones) for at in range(0, rows, 1000)))
    index = FlatIndex(path)
    query = np.full((1, dim), 1.5, np.float32)
    index.search(query, 1)  # what is loaded at first use does not count
    tracemalloc.start()
    try:
        found = index.search(query, 5)
        some = index.search(query, 3, np.arange(5999, 100, -1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.rows.tolist() == [[0, 1, 2, 3, 4]]
    assert some.rows.tolist() == [[101, 102, 103]]
    assert found.distances.tolist() == [[32.0] * 5]  # the root of 4096 · 0.5²
    assert peak < 2 / 3 * (8 * rows * dim), "as if all rows were taken in float64"


@pytest.mark.parametrize("block", [1, 7, 59, 60, 61])
@pytest.mark.parametrize("name", ["all equal", "integers", "mixed scales"])
def test_blocks_of_any_size_give_the_same_answer(tmp_path: Path, block: int, name: str) -> None:
    rng = np.random.default_rng(11)
    xb = DATA[name](rng)
    index = FlatIndex(written(tmp_path, xb), max_candidates=20, read_rows=block)
    for k in (1, 8, 60):
        check(index, xb, xb[::20], k)
        check(index, xb, xb[::20], k, rng.permutation(60)[:40])


def test_distances_are_euclidean_and_not_squared(tmp_path: Path) -> None:
    xb = np.array([[3, 4], [0, 1]], np.float32)
    found = FlatIndex(written(tmp_path, xb)).search(np.zeros((1, 2), np.float32), 2)
    assert found.distances.tolist() == [[1.0, 5.0]]
    assert found.rows.tolist() == [[1, 0]]


def test_a_query_does_not_depend_on_those_beside_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    xb, xq = clustered(rng), clustered(rng)
    index = FlatIndex(written(tmp_path, xb))
    together = index.search(xq[:50], 5)
    for number in range(50):
        alone = index.search(xq[number : number + 1], 5)
        np.testing.assert_array_equal(alone.rows[0], together.rows[number])
        np.testing.assert_array_equal(alone.distances[0], together.distances[number])


@pytest.mark.parametrize("matrix_rows", [2, 40])  # of 40, some would be zeros
@pytest.mark.parametrize("name", ["normal", "clustered", "tiny differences", "huge", "wide"])
def test_many_queries_at_once_are_answered_as_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, matrix_rows: int
) -> None:
    """FAISS multiplies matrices for them, which far from the origin leaves few digits."""
    rng = np.random.default_rng(9)
    xb = np.concatenate([DATA[name](rng) for _ in range(5)])
    monkeypatch.setattr(faiss.cvar, "distance_compute_blas_threshold", matrix_rows * xb.shape[1])
    xq = (xb[:60] + xb[60:120]) / 2
    index = FlatIndex(written(tmp_path, xb), query_block=25)
    for k in (1, 5, 50):
        check(index, xb, xq, k)
    check(index, xb, xq, 5, rng.permutation(len(xb))[:100])


@pytest.mark.parametrize("k", [0, 3])
def test_an_index_without_rows_finds_nothing(tmp_path: Path, k: int) -> None:
    index = FlatIndex(written(tmp_path, np.empty((0, 3), np.float32)))
    assert (index.rows, index.dim) == (0, 3)
    assert index.search(np.zeros((2, 3), np.float32), k).rows.shape == (2, 0)


# -- The file --------------------------------------------------------------------------------------


def test_any_faiss_program_can_open_it_and_finds_the_vectors_in_order(tmp_path: Path) -> None:
    xb = normal(np.random.default_rng(2))
    index = faiss.read_index(str(written(tmp_path, xb)))
    assert isinstance(index, faiss.IndexFlat)
    assert (index.ntotal, index.d, index.metric_type) == (60, 7, faiss.METRIC_L2)
    np.testing.assert_array_equal(index.reconstruct_n(0, 60), xb)
    squared, rows = index.search(xb[:5], 1)
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert squared.max() == 0


def test_the_file_does_not_depend_on_the_parts_it_was_written_in(tmp_path: Path) -> None:
    xb = normal(np.random.default_rng(2), 20)
    whole = written(tmp_path, xb).read_bytes()
    mixed = np.random.default_rng(4).permutation(20).tolist()
    for parts in ([mixed], [mixed[:7], mixed[7:]], [[row] for row in mixed]):
        assert written(tmp_path, xb, parts).read_bytes() == whole
    plain = faiss.IndexFlatL2(7)
    plain.add(xb)
    faiss.write_index(plain, str(tmp_path / "plain"))
    assert (tmp_path / "plain").read_bytes() == whole


def test_vectors_are_given_back_as_they_were_stored(tmp_path: Path) -> None:
    xb = mixed_scales(np.random.default_rng(3))
    index = FlatIndex(written(tmp_path, xb))
    rows = np.array([5, 0, 5, 59])
    np.testing.assert_array_equal(index.vectors(rows), xb[rows])
    np.testing.assert_array_equal(index.vectors(rows[::2]), xb[rows[::2]])
    assert index.vectors(rows[:0]).shape == (0, 7)


def test_the_file_is_read_ahead_where_all_of_it_is_compared(tmp_path: Path) -> None:
    """One map is for rows here and there (rr), and one for scans (sr): see proc(5), VmFlags."""
    path = written(tmp_path, normal(np.random.default_rng(3), 400))
    index = FlatIndex(path)
    index.search(np.ones((1, 7), np.float32), 5)
    maps = Path("/proc/self/smaps").read_text().split(str(path))[1:]
    flags = [one.split("VmFlags:")[1].split("\n")[0].split() for one in maps]
    assert sorted({"rr", "sr"}.intersection(one).pop() for one in flags) == ["rr", "sr"]


@pytest.mark.parametrize("rows", [[3, 4, 5], [4, 3], [7], [], [0, 2, 3], list(range(20))])
def test_rows_one_after_another_are_what_others_are(tmp_path: Path, rows: list[int]) -> None:
    xb = normal(np.random.default_rng(3), 20)
    index = FlatIndex(written(tmp_path, xb))
    np.testing.assert_array_equal(index.vectors(np.array(rows, np.int64)), xb[rows])


def write_other(path: Path, index: faiss.Index) -> None:
    index.train(normal(np.random.default_rng(1), 64))
    index.add(normal(np.random.default_rng(1), 64))
    faiss.write_index(index, str(path))


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not an index" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(path.read_bytes()[:45]),
        lambda path: path.write_bytes(path.read_bytes()[:28]),
        lambda path: path.write_bytes(b"XXXX" + path.read_bytes()[4:]),
        lambda path: write_other(path, faiss.IndexFlatIP(7)),
        lambda path: write_other(path, faiss.index_factory(7, "HNSW8,Flat")),
        lambda path: write_other(path, faiss.index_factory(7, "SQ8")),
        lambda path: write_other(path, faiss.index_factory(7, "IVF2,Flat")),
    ],
    ids=[
        "gone",
        "empty",
        "text",
        "cut",
        "half",
        "header",
        "part of the header",
        "magic",
        "inner product",
        "graph",
        "quantised",
        "inverted",
    ],
)
def test_a_file_that_is_no_flat_euclidean_index_is_damaged(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    path = written(tmp_path, normal(np.random.default_rng(1)))
    damage(path)
    with pytest.raises(DamagedArtifactError, match=f"{path}: damaged: .* delete {tmp_path} and"):
        FlatIndex(path)
