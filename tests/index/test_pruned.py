"""pruned.py against a float64 brute force, and its bounds against exact arithmetic."""

from __future__ import annotations

import json
import mmap
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embeddings.segment import INDEX_FILE
from pipeline.errors import DamagedArtifactError
from pipeline.index import bounds, open_index, pca, write_index
from pipeline.index.bounds import RESIDUAL_COPIES, Coder, choose_length
from pipeline.index.code_filter import Clustering, byte_index
from pipeline.index.flat import FlatIndex
from pipeline.index.pruned import (
    ENCODED_ROWS,
    QUERY_BLOCK,
    PrunedIndex,
    PruningOptions,
    max_code_length,
    write_pruned,
)
from pipeline.index.vectors import READ_ROWS, VectorFile
from tests.oracles.nearest import check

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Make = Callable[[np.random.Generator], F32]
ROWS, DIM = 240, 40
EAGER = PruningOptions(min_coded_rows=1, max_verified_share=1.0, code_length=32)
"""Makes codes for the small and unpromising sets of these tests too, and answers by them."""


def written(
    folder: Path,
    xb: F32,
    part: int = 100,
    options: PruningOptions = EAGER,
    *,
    block: int | None = None,
    float32_products: int | None = None,
) -> PrunedIndex:
    """A pruned index of these vectors, written in parts that can be had only once.

    `block` is how many rows or queries are processed at a time.
    """
    rows = np.random.default_rng(3).permutation(len(xb))
    parts = ((rows[at : at + part], xb[rows[at : at + part]]) for at in range(0, len(xb), part))
    write_index("flat", folder, len(xb), xb.shape[1], parts)
    file = VectorFile(folder / INDEX_FILE)
    write_pruned(folder, file, options, encoded_rows=block or ENCODED_ROWS)
    return opened(folder, options, block=block, float32_products=float32_products)


def opened(
    folder: Path,
    options: PruningOptions = EAGER,
    *,
    block: int | None = None,
    float32_products: int | None = None,
) -> PrunedIndex:
    """The pruned index in a folder."""
    flat = FlatIndex(folder / INDEX_FILE, read_rows=block or READ_ROWS)
    query_block = block or QUERY_BLOCK
    return PrunedIndex(
        folder,
        flat.file,
        flat,
        options,
        query_block=query_block,
        float32_products=float32_products,
    )


# -- Data ------------------------------------------------------------------------------------------


def normal(rng: np.random.Generator, rows: int = ROWS, dim: int = DIM) -> F32:
    return rng.standard_normal((rows, dim)).astype(np.float32)


def compressible(rng: np.random.Generator, rows: int = ROWS, dim: int = DIM) -> F32:
    """Most of the variance in a few directions, as in photos' vectors."""
    turned, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    spread = 1 / np.arange(1, dim + 1)
    return (rng.standard_normal((rows, dim)) * spread @ turned).astype(np.float32)


def features(rng: np.random.Generator) -> F32:
    """Not negative, sparse, of unit length: what a network's last ReLU gives."""
    positive = np.maximum(compressible(rng), 0)
    return positive / np.linalg.norm(positive, axis=1, keepdims=True)


def clustered(rng: np.random.Generator) -> F32:
    """Tight clusters far from the origin: most of a float32's digits are the same."""
    centers = 1000 * rng.standard_normal((4, DIM))
    spread = 1e-4 * rng.standard_normal((ROWS, DIM))
    return (centers[rng.integers(0, 4, ROWS)] + spread).astype(np.float32)


def with_outlier(rng: np.random.Generator) -> F32:
    vectors = compressible(rng)
    vectors[17] *= 1e6
    return vectors


def mixed_scales(rng: np.random.Generator) -> F32:
    return normal(rng) * np.float32(10) ** rng.integers(-15, 16, (ROWS, 1)).astype(np.float32)


DATA: dict[str, Make] = {
    "normal": normal,
    "uniform": lambda rng: rng.random((ROWS, DIM), np.float32),
    "compressible": compressible,
    "features": features,
    "clustered": clustered,
    "duplicated": lambda rng: compressible(rng, 6)[rng.integers(0, 6, ROWS)],
    "integers": lambda rng: rng.integers(-2, 3, (ROWS, DIM)).astype(np.float32),
    "all equal": lambda rng: np.repeat(normal(rng, 1), ROWS, axis=0),
    "zero": lambda rng: np.zeros((ROWS, DIM), np.float32),
    "one line": lambda rng: normal(rng, ROWS, 1) * np.ones(DIM, np.float32),
    "raw latents": lambda rng: compressible(rng) * np.float32(20_000),
    "outlier": with_outlier,
    "huge": lambda rng: compressible(rng) * np.float32(1e15),
    "too huge to be squared": lambda rng: compressible(rng) * np.float32(1e19),
    "far too huge to be squared": lambda rng: compressible(rng) * np.float32(1e30),
    "as huge as can be": lambda rng: np.sign(normal(rng)) * np.float32(3e38),
    "tiny": lambda rng: compressible(rng) * np.float32(1e-15),
    "too tiny to be squared": lambda rng: compressible(rng) * np.float32(1e-30),
    "subnormal": lambda rng: compressible(rng) * np.float32(1e-40),
    "barely not zero": lambda rng: compressible(rng) * np.float32(1e-43),
    "tiny differences": lambda rng: 1 + normal(rng) * np.float32(1e-7),
    "mixed scales": mixed_scales,
}


@pytest.mark.parametrize("name", DATA)
def test_it_finds_what_a_brute_force_finds(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(list(DATA).index(name))
    xb = DATA[name](rng)
    index = written(tmp_path, xb)
    size = np.float32(1e-6) * np.abs(xb[:3]).max()
    near = np.clip(xb[:3] + size * normal(rng, 3).astype(np.float64), -3e38, 3e38)
    between = xb[3:9] / 2 + xb[9:15] / 2
    xq = np.concatenate([xb[::40], near, between, np.zeros_like(xb[:1])]).astype(np.float32)
    for k in (1, 2, 10, 100, len(xb) - 1, len(xb), len(xb) + 5):
        check(index, xb, xq, k)


@pytest.mark.parametrize("name", ["features", "integers", "all equal", "too huge to be squared"])
def test_it_finds_only_what_is_allowed(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(5)
    xb = DATA[name](rng)
    index = written(tmp_path, xb)
    for count in (0, 1, 2, 20, 60, ROWS - 1, ROWS):
        allowed = rng.permutation(ROWS)[:count]
        for k in (1, 5, ROWS):
            check(index, xb, xb[:4], k, allowed)


def test_allowed_rows_far_from_the_query_are_found(tmp_path: Path) -> None:
    """Rows in none of the clusters that are looked into first."""
    rng = np.random.default_rng(6)
    xb = np.concatenate([compressible(rng), 50 + compressible(rng)])
    index = written(tmp_path, xb)
    check(index, xb, xb[:5], 7, np.arange(ROWS, 2 * ROWS))
    check(index, xb, xb[:5], 7, np.r_[np.arange(ROWS, 2 * ROWS), 3, 3, 4])


@settings(deadline=None, derandomize=True, max_examples=80)
@given(st.data())
def test_any_small_index_answers_as_a_brute_force(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 60))
    number = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 1e-15, 1e15, 1.0000001, 1e-40])
    few = data.draw(st.lists(number, min_size=1, max_size=12))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    xb = rng.choice(np.array(few, np.float32), (rows, 32))
    xq = rng.choice(np.array([*few, 1.0], np.float32), (2, 32))
    allowed = data.draw(st.none() | st.sets(st.integers(0, rows - 1)))
    chosen = None if allowed is None else np.array(sorted(allowed), np.int64)
    with tempfile.TemporaryDirectory() as folder:
        index = written(Path(folder), xb)
        check(index, xb, xq, data.draw(st.integers(1, rows + 1)), chosen)


def test_equal_vectors_come_in_the_order_of_their_rows(tmp_path: Path) -> None:
    xb = np.ones((100, DIM), np.float32)
    xb[::2] = 2
    found = written(tmp_path, xb).search(np.ones((1, DIM), np.float32), 20)
    assert found.rows[0].tolist() == [*range(1, 40, 2)]
    assert found.distances[0].tolist() == [0.0] * 20


def test_a_query_does_not_depend_on_those_beside_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    xb, xq = features(rng), features(rng)
    index = written(tmp_path, xb)
    together = index.search(xq, 5)
    check(index, xb, xq, 5)
    for number in range(0, len(xq), 7):
        alone = index.search(xq[number : number + 1], 5)
        np.testing.assert_array_equal(alone.rows[0], together.rows[number])
        np.testing.assert_array_equal(alone.distances[0], together.distances[number])


@pytest.mark.parametrize("block", [1, 7, 239, 240, 241])
def test_blocks_of_any_size_give_the_same_answer(tmp_path: Path, block: int) -> None:
    xb = features(np.random.default_rng(11))
    index = written(tmp_path, xb, block=block, float32_products=3)
    for k in (1, 8, 100):
        check(index, xb, xb[::50], k)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_it_gives_up_where_too_many_rows_are_left(tmp_path: Path, share: float) -> None:
    rng = np.random.default_rng(12)
    for xb in (normal(rng), features(rng)):
        index = written(tmp_path, xb, options=replace(EAGER, max_verified_share=share))
        check(index, xb, xb[:20], 3, np.arange(0, ROWS, 2))
        xq = xb[:20] + np.float32(0.01)
        check(index, xb, xq, 3)
        verified = index.search(xq, 3).verified
        proposed = 2 * 3 + 12
        assert ((verified <= share * ROWS + proposed) | (verified == ROWS)).all()
        if share == 0:
            assert (index.search(xb[:20], 3).verified == ROWS).all()


def test_an_index_without_rows_finds_nothing(tmp_path: Path) -> None:
    index = written(tmp_path, np.empty((0, DIM), np.float32))
    assert (index.rows, index.dim) == (0, DIM)
    assert index.search(np.zeros((2, DIM), np.float32), 3).rows.shape == (2, 0)


@pytest.mark.parametrize("kind", ["flat", "pruned"])
def test_every_thread_that_searches_keeps_faiss_to_one_thread(tmp_path: Path, kind: str) -> None:
    xb = features(np.random.default_rng(26))
    pruned = written(tmp_path, xb)
    index = pruned if kind == "pruned" else open_index(kind, tmp_path)

    def ask() -> int:
        index.search(xb[:1], 3)
        return int(faiss.omp_get_max_threads())

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask).result() == 1


# -- What it saves ---------------------------------------------------------------------------------


def test_verified_says_how_many_vectors_were_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    xb = compressible(np.random.default_rng(13), 2000)
    index = written(tmp_path, xb)
    seen: list[set[int]] = []
    compare = VectorFile._sums

    def counted(self: VectorFile, query: F32, rows: I64) -> F32:
        seen[-1] |= set(rows.tolist())
        return compare(self, query, rows)

    monkeypatch.setattr(VectorFile, "_sums", counted)
    for query in xb[:50] + np.float32(0.01):
        seen.append(set())
        assert index.search(query[np.newaxis], 5).verified.tolist() == [len(seen[-1])]
    assert np.median([len(rows) for rows in seen]) < 100, "most should be ruled out by their codes"


def test_what_is_outside_of_the_basis_rules_rows_out_by_its_length(tmp_path: Path) -> None:
    rng = np.random.default_rng(14)
    outside = normal(rng, 2000, 200)
    outside *= rng.uniform(0.1, 1, (2000, 1)).astype(np.float32) / np.float32(200**0.5)
    xb = np.concatenate([30 * normal(rng, 1, 24), np.zeros((1999, 24), np.float32)])
    xb = np.concatenate([np.repeat(xb[1:2], 2000, axis=0), outside], axis=1)
    index = written(tmp_path, xb)
    query = np.zeros((1, 224), np.float32)
    check(index, xb, query, 5)
    assert index.search(query, 5).verified[0] < 400


def test_random_vectors_have_no_codes(tmp_path: Path) -> None:
    xb = np.random.default_rng(15).random((2000, 256), np.float32)
    index = written(tmp_path, xb, options=replace(EAGER, code_length=None))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["bounds.json", "index.faiss"]
    check(index, xb, xb[:3], 4)
    assert index.search(xb[:3], 4).verified.tolist() == [2000] * 3


def test_codes_are_as_long_as_they_are_of_use_and_no_longer_than_the_memory_allows() -> None:
    rng = np.random.default_rng(16)
    for rows, dim in ((1, 40), (700, 1280), (3000, 300), (18_322, 1280), (10**6, 1280)):
        length = max_code_length(rows, dim, Clustering.coarse(rows).clusters)
        assert length % 32 == 0
        if length > 0:
            everything = rows * (length + 8) + 4 * dim * length
            assert everything <= 0.15 * 4 * rows * dim
    assert max_code_length(0, 40, 1) == 0
    assert max_code_length(18_322, 16, Clustering.coarse(18_322).clusters) <= 0
    low = compressible(rng, 3000, 300).astype(np.float64)
    short = choose_length(low - low.mean(axis=0), pca.fit(lambda: [low], 152).components, 3000)
    assert short is not None
    assert short < 160
    noise = rng.random((3000, 300))
    assert choose_length(noise - 0.5, pca.fit(lambda: [noise], 152).components, 3000) is None


# -- The bounds ------------------------------------------------------------------------------------


def exact_projections(coder: Coder, vectors: F32) -> npt.NDArray[np.longdouble]:
    """P in 80 bits, by solving for what is outside of the basis instead of subtracting squares."""
    basis = coder.basis[:-1].astype(np.longdouble)
    centered = vectors.astype(np.longdouble) - coder.basis[-1].astype(np.longdouble)
    inside = centered @ basis.T
    gram = np.linalg.inv((basis @ basis.T).astype(np.float64)).astype(np.longdouble)
    outside = centered - inside @ gram @ basis
    rest = np.sqrt((outside**2).sum(axis=1))[:, np.newaxis] / np.sqrt(
        np.longdouble(RESIDUAL_COPIES)
    )
    return np.concatenate([inside, np.repeat(rest, RESIDUAL_COPIES, axis=1)], axis=1)


@pytest.mark.parametrize("name", DATA)
def test_codes_are_no_farther_off_than_they_say(name: str) -> None:
    rng = np.random.default_rng(17)
    xb = DATA[name](rng)
    coder = bounds.fit(xb, lambda: [xb], len(xb), 32, length=32)
    assert coder is not None
    with np.errstate(over="ignore"):
        far = xb[:50] * np.float32(3) + np.float32(np.abs(xb).max())
    xq = np.where(np.isfinite(far), far, 3e38).astype(np.float32)
    for codes, vectors_ in (
        (coder.codes(coder.project(xb)), xb),
        (coder.codes(coder.project_queries(xb)), xb),
        (coder.codes(coder.project_queries(xq)), xq),
    ):
        decoded = coder.offset + coder.step * codes.values.astype(np.longdouble)
        off = np.sqrt(((decoded - exact_projections(coder, vectors_)) ** 2).sum(axis=1))
        assert (off <= codes.errors).all()


def test_sums_in_float32_are_part_of_the_error_of_a_projection() -> None:
    """With a basis that is exact in float32, they are nearly all of it."""
    signs = np.ones((1, 1), np.float32)
    while len(signs) < 1024:
        signs = np.block([[signs, signs], [signs, -signs]])  # Hadamard's: its rows are orthogonal
    basis = np.concatenate([signs[:24] / 32, np.zeros((1, 1024))]).astype(np.float32)
    coder = Coder(basis, np.zeros(32), 1.0, 0.0)
    xq = normal(np.random.default_rng(18), 50, 1024)
    projections = coder.project_queries(xq)
    off = np.sqrt(((projections.values - exact_projections(coder, xq)) ** 2).sum(axis=1))
    assert (off <= projections.errors).all()
    assert (projections.errors < 0.02 * np.linalg.norm(xq, axis=1)).all(), "too wide to be of use"


def test_the_bound_counts_in_that_the_basis_is_not_quite_orthonormal() -> None:
    basis = np.array([[1.1, 0], [0, 0]], np.float32)
    coder = Coder(basis, np.zeros(1 + RESIDUAL_COPIES), 0.01, 1.1**2 - 1)
    projections = coder.project(np.array([[0, 0], [1, 0]], np.float32))
    apart = np.linalg.norm((projections.values[1] - projections.values[0]) / coder.step)
    assert apart**2 <= coder.code_distance_bound(1.0, 0.0)


@pytest.mark.parametrize("length", [32, 512, 1024])
def test_no_code_is_farther_than_the_bound_of_its_vectors_distance(length: int) -> None:
    """Numbers that codes hold exactly: the bound has nothing to spare but for FAISS's rounding."""
    rng = np.random.default_rng(19)
    inside = length - RESIDUAL_COPIES
    basis = np.concatenate([np.eye(inside, dtype=np.float32), np.zeros((1, inside), np.float32)])
    coder = Coder(basis, np.zeros(length), 1.0, 0.0)
    index = byte_index(length, 1)
    values = rng.integers(0, 256, (300, length)).astype(np.float32)
    values[:100] = rng.choice([0.0, 255.0], (100, length))
    values[:, inside:] = 0
    index.train(values)
    index.add(values)
    for query in values[:60]:
        for row, vector in enumerate(values[:120]):
            distance = float(np.linalg.norm(vector.astype(np.float64) - query))
            if row % 40 == 0 or distance == 0:
                _, _, found = index.range_search(
                    query[np.newaxis], coder.code_distance_bound(distance, 0.0)
                )
                assert row in found


def test_faiss_keeps_the_codes_as_they_are(tmp_path: Path) -> None:
    xb = features(np.random.default_rng(20))
    index = written(tmp_path, xb)
    code_filter = index._code_filter
    assert code_filter is not None
    stored = code_filter._index
    stored.make_direct_map()
    expected = code_filter._coder.codes(code_filter._coder.project(xb)).values
    np.testing.assert_array_equal(stored.reconstruct_n(0, ROWS), expected)


# -- The files -------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_vectors_give_the_same_files_whatever_their_parts(tmp_path: Path) -> None:
    xb = features(np.random.default_rng(21))
    for name, part in (("one", 240), ("two", 240), ("many", 7)):
        (tmp_path / name).mkdir()
        written(tmp_path / name, xb, part)
    first = contents(tmp_path / "one")
    assert sorted(first) == ["basis.npy", "bounds.json", "codes.faiss", "index.faiss"]
    assert first == contents(tmp_path / "two") == contents(tmp_path / "many")


def test_the_vectors_are_in_a_flat_index_as_ever(tmp_path: Path) -> None:
    xb = mixed_scales(np.random.default_rng(22))
    index = written(tmp_path, xb)
    flat = open_index("flat", tmp_path)
    rows = np.array([5, 0, 5, ROWS - 1])
    np.testing.assert_array_equal(index.vectors(rows), xb[rows])
    np.testing.assert_array_equal(flat.vectors(rows), xb[rows])
    one, other = flat.search(xb[:9], 7), index.search(xb[:9], 7)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.distances, other.distances)


def test_it_needs_no_address_space_for_the_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(23)
    xb = features(rng)
    expected = written(tmp_path, xb).search(xb[:30], 9)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no address space")

    monkeypatch.setattr(mmap, "mmap", refuse)
    index = opened(tmp_path)
    found = index.search(xb[:30], 9)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.distances, expected.distances)
    check(index, xb, xb[:3], ROWS)
    np.testing.assert_array_equal(index.vectors(np.array([9, 2])), xb[[9, 2]])


def test_rows_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    xb = features(np.random.default_rng(25))
    index = written(tmp_path, xb)
    with pytest.raises(IndexError):
        index.vectors(np.array([ROWS]))
    with pytest.raises(IndexError):
        index.search(xb[:1], 1, np.array([1, ROWS]))
    with pytest.raises(IndexError):
        VectorFile(tmp_path / "index.faiss").nearest(xb[0], np.array([ROWS, 1]), 1)


def test_squared_distances_are_between_their_bounds_also_where_float32_ends(tmp_path: Path) -> None:
    largest = float(np.finfo(np.float32).max)
    sizes = np.array([0.5, 0.999999, 1.0, 1.000001, 2]) * np.sqrt(largest / 40)
    xb = np.repeat(sizes.astype(np.float32)[:, np.newaxis], 40, axis=1)
    tiny = np.repeat(np.array([[1e-45], [1e-30], [1e-20], [2e-19]], np.float32), 40, axis=1)
    xb = np.concatenate([xb, tiny])
    write_index("flat", tmp_path, len(xb), 40, [(np.arange(len(xb)), xb)])
    file = VectorFile(tmp_path / "index.faiss")
    lower, upper = file.squared(np.zeros(40, np.float32), np.arange(len(xb)))
    true = (xb.astype(np.float64) ** 2).sum(axis=1)
    assert (lower <= true).all()
    assert (true <= upper).all()


def edit_bounds(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "bounds.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def replaced(name: str, other: npt.NDArray[np.generic]) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / name, other)


def other_codes(rows: int, length: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        index = byte_index(length, 1)
        codes = np.zeros((rows, length), np.float32)
        index.train(codes)
        index.add(codes)
        faiss.write_index(index, str(folder / "codes.faiss"))
        edit_bounds(bytes=(folder / "codes.faiss").stat().st_size)(folder)

    return write


def other_file(content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "codes.faiss").write_bytes(content)
        edit_bounds(bytes=len(content))(folder)

    return write


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("index.faiss", lambda folder: (folder / "index.faiss").unlink()),
        ("index.faiss", cut("index.faiss", 1000)),
        ("bounds.json", lambda folder: (folder / "bounds.json").unlink()),
        ("bounds.json", cut("bounds.json", 40)),
        ("bounds.json", edit_bounds(step="wide")),
        ("bounds.json", edit_bounds(offset=None)),
        ("bounds.json", lambda folder: (folder / "bounds.json").write_text('{"step": 1}')),
        ("basis.npy", lambda folder: (folder / "basis.npy").unlink()),
        ("basis.npy", cut("basis.npy", 500)),
        ("basis.npy", replaced("basis.npy", np.zeros((25, DIM)))),
        ("basis.npy", replaced("basis.npy", np.zeros((25, DIM - 1), np.float32))),
        ("basis.npy", replaced("basis.npy", np.zeros(DIM, np.float32))),
        ("codes.faiss", lambda folder: (folder / "codes.faiss").unlink()),
        ("codes.faiss", cut("codes.faiss", 0)),
        ("codes.faiss", cut("codes.faiss", 3)),
        ("codes.faiss", cut("codes.faiss", 60)),
        ("codes.faiss", cut("codes.faiss", 5000)),
        ("codes.faiss", cut("codes.faiss", -1)),
        ("codes.faiss", other_file(b"nonsense" * 99)),
        ("codes.faiss", other_file(b"")),
        ("codes.faiss", other_file(b"IwSq")),
        ("codes.faiss", other_codes(ROWS - 1, 32)),
        ("codes.faiss", other_codes(ROWS, 64)),
    ],
)
def test_files_that_do_not_fit_are_damaged(
    tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    written(tmp_path, features(np.random.default_rng(24)))
    damage(tmp_path)
    with pytest.raises(DamagedArtifactError, match=f"{tmp_path / name}: damaged: .* delete"):
        open_index("pruned", tmp_path)
