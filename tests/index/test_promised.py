"""promised.py: the promised share of the true neighbors is found, at their true distances."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.artifacts import MANIFEST, publish
from pipeline.embeddings.segment import INDEX_FILE
from pipeline.errors import DamagedArtifactError
from pipeline.index import cluster_probe, open_index, probing, tuning, write_index
from pipeline.index.flat import FlatIndex
from pipeline.index.probing import PROBING_FILE, Level, Probing
from pipeline.index.promised import PromisedIndex, open_promised, write_promised
from pipeline.index.pruned import PrunedIndex, PruningOptions
from pipeline.index.recall import Recall, found_shares, wilson
from tests.oracles.nearest import brute_force

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
ROWS, NEW, DIM, PROMISE = 4000, 100, 48, 0.97
OPTIONS = PruningOptions(min_coded_rows=1, code_length=32)


@pytest.fixture(scope="module")
def photos() -> tuple[F32, F32]:
    """Vectors in many loose groups, each with near copies, and queries that have no copies."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((60, 12))
    groups = centers[rng.integers(0, 60, NEW + 1300)] + 0.5 * rng.standard_normal((NEW + 1300, 12))
    groups = np.concatenate([groups[:NEW], groups[NEW + np.arange(ROWS) % 1300]])
    groups[NEW:] += 0.05 * rng.standard_normal((ROWS, 12))
    basis = rng.standard_normal((12, DIM)) / 4
    vectors = groups @ basis + 0.02 * rng.standard_normal((ROWS + NEW, DIM))
    vectors = vectors.astype(np.float32)
    return vectors[NEW:], vectors[:NEW]


@pytest.fixture(scope="module", autouse=True)
def few_proposed() -> Iterator[None]:
    """So that the rows of a small index are found as those of a large one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cluster_probe, "PROPOSED_ROWS", 16)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index")


@pytest.fixture(scope="module")
def index(photos: tuple[F32, F32], folder: Path) -> PromisedIndex:
    return written(folder, photos[0])


def written(folder: Path, xb: F32, promise: float = PROMISE) -> PromisedIndex:
    write_index("flat", folder, *xb.shape, [(np.arange(len(xb)), xb)])
    flat = FlatIndex(folder / INDEX_FILE)
    write_promised(folder, flat.file, flat, promise, OPTIONS)
    return open_promised(folder, flat.file, flat, OPTIONS)


def recall(
    index: PromisedIndex, xb: F32, xq: F32, k: int, allowed: I64 | None = None
) -> tuple[Recall, float]:
    """What a search finds of the brute force's, and how much it compares in full of the rows."""
    found = index.search(xq, k, allowed)
    exact = np.stack([brute_force(xb, query, k, allowed)[0] for query in xq])
    assert found.distances.shape == exact.shape  # always k
    for query, distances, rows in zip(xq, found.distances, found.rows, strict=True):
        difference = xb[rows].astype(np.float64) - query
        true = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        np.testing.assert_array_equal(distances, true)
        pairs = list(zip(distances.tolist(), rows.tolist(), strict=True))
        assert pairs == sorted(pairs)
        assert len({*rows.tolist()}) == k
        assert allowed is None or np.isin(rows, allowed).all()
    shares = found_shares(found.distances, exact * (1 + 1e-13))
    return Recall.of(shares, k), float(np.median(found.verified)) / len(xb)


@pytest.mark.parametrize("k", [1, 10, 60])
def test_the_promise_is_kept_for_photos_that_are_not_indexed(
    index: PromisedIndex, photos: tuple[F32, F32], k: int
) -> None:
    found, compared = recall(index, *photos, k)
    assert found.mean >= PROMISE
    assert k > 10 or compared < 0.05


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("side", [False, True], ids=["at random", "on one side"])
def test_the_promise_is_kept_under_conditions(
    index: PromisedIndex, photos: tuple[F32, F32], share: float, side: bool
) -> None:
    """Also where what a condition allows is far from most queries."""
    xb, xq = photos
    rng = np.random.default_rng(1)
    values = xb @ rng.standard_normal(DIM) if side else rng.random(len(xb))
    allowed = np.flatnonzero(values <= np.quantile(values, share))
    assert recall(index, xb, xq, 10, allowed)[0].mean >= PROMISE


def test_what_is_measured_holds_for_other_photos(
    index: PromisedIndex, photos: tuple[F32, F32]
) -> None:
    measured = index.probing.measured
    assert measured is not None
    assert PROMISE <= measured.low <= measured.mean <= measured.high <= 1
    assert recall(index, *photos, 10)[0].mean == pytest.approx(measured.mean, abs=0.06)


def test_as_many_rows_are_proposed_as_are_asked_for(
    index: PromisedIndex, photos: tuple[F32, F32], folder: Path
) -> None:
    flat = FlatIndex(folder / INDEX_FILE)
    probe = PrunedIndex(folder, flat.file, flat, OPTIONS).probe
    assert probe is not None
    allowed = np.arange(7, ROWS, 90)
    proposed = probe.propose(probe.encode(photos[1])[0], 32, probe.select(allowed))
    assert np.isin(proposed, allowed).all()
    assert all(len({*rows}) == 32 for rows in proposed.tolist())
    flat.close()


def test_fewer_rows_than_are_asked_for_are_all_found(
    index: PromisedIndex, photos: tuple[F32, F32]
) -> None:
    allowed = np.array([5, 17, 3000])
    found = index.search(photos[1][:4], 9, allowed)
    assert [sorted(rows) for rows in found.rows.tolist()] == [[5, 17, 3000]] * 4
    assert index.search(photos[1][:2], 9, np.array([], np.int64)).rows.shape == (2, 0)
    assert index.search(photos[1][:0], 9).rows.shape == (0, 9)


def test_a_query_unlike_all_that_is_indexed_is_answered_exactly(
    index: PromisedIndex, photos: tuple[F32, F32]
) -> None:
    xb = photos[0]
    far = (50 * photos[1][:20]).astype(np.float32)
    assert recall(index, xb, far, 10)[0].mean == 1


def test_a_promise_that_cannot_be_shown_is_kept_by_exact_answers(
    photos: tuple[F32, F32], tmp_path: Path
) -> None:
    index = written(tmp_path, photos[0][:400], 0.99999)
    assert not index.probing.levels
    assert index.probing.measured is None
    assert recall(index, photos[0][:400], photos[1][:20], 5)[0].mean == 1


def test_too_little_effort_does_not_keep_the_promise(
    index: PromisedIndex, photos: tuple[F32, F32]
) -> None:
    """So that it is the levels that keep it, and the tests above could fail."""
    kept = index.probing
    index.probing = replace(kept, levels=[Level(np.inf, 0.0, 0.0)])
    try:
        assert recall(index, *photos, 10)[0].high < PROMISE
    finally:
        index.probing = kept


def test_it_is_written_the_same_after_a_crash(
    index: PromisedIndex,
    folder: Path,
    photos: tuple[F32, F32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A segment appears under its name only when it is whole; what a crash leaves goes."""

    segment = tmp_path / "segment"

    def publish_segment() -> None:
        with publish(segment, {}) as aside:
            written(aside, photos[0]).close()

    with monkeypatch.context() as patched:
        crash = Mock(side_effect=KeyboardInterrupt)  # after the codes are written
        patched.setattr(tuning, "choose_levels", crash)
        with pytest.raises(KeyboardInterrupt):
            publish_segment()
    assert not segment.exists()
    publish_segment()
    assert [path.name for path in tmp_path.iterdir()] == ["segment"]
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in segment.iterdir()} - {MANIFEST}
    for name in names:
        assert (segment / name).read_bytes() == (folder / name).read_bytes()


def test_an_index_without_a_promise_is_exact(photos: tuple[F32, F32], tmp_path: Path) -> None:
    xb = photos[0][:300]
    write_index("pruned", tmp_path, *xb.shape, [(np.arange(300), xb)])
    assert not (tmp_path / PROBING_FILE).exists()
    with pytest.raises(DamagedArtifactError, match=PROBING_FILE):
        open_index("pruned", tmp_path, exact=False)


@pytest.mark.parametrize("change", [{"levels": 3}, {"promise": "x"}, {"levels": [{"effort": 1}]}])
def test_a_file_that_says_something_else_is_damaged(tmp_path: Path, change: object) -> None:
    Probing(0.9, [Level(3.0, 100, 2.5)]).save(tmp_path)
    file = tmp_path / PROBING_FILE
    content = json.loads(file.read_text())
    assert Probing.parse(file, file.read_bytes()) == Probing(0.9, [Level(3.0, 100, 2.5)])
    with pytest.raises(DamagedArtifactError, match="how far to look"):
        Probing.parse(file, json.dumps({**content, **change}).encode())  # type: ignore[dict-item]


def test_effort_grows_with_the_distance(index: PromisedIndex) -> None:
    levels = index.probing.levels
    assert len(levels) > 1
    assert [*levels] == sorted(levels, key=lambda level: (level.distance, level.effort))
    for at, level in enumerate(levels):
        assert index.probing.level(level.distance) == level
        assert index.probing.level(level.distance * 1.0001) == (*levels, level)[at + 1]


def test_wilsons_interval() -> None:
    """Against the roots of |p̂ − p| = z·√(p(1 − p)/n), from which the interval comes."""
    for mean, count in ((0.0, 30), (1.0, 30), (1.0, 500), (0.5, 200), (0.93, 81)):
        low, high = wilson(mean, count)
        assert 0 <= low <= mean <= high <= 1
        assert mean - low == pytest.approx(1.96 * (low * (1 - low) / count) ** 0.5, abs=1e-12)
        assert high - mean == pytest.approx(1.96 * (high * (1 - high) / count) ** 0.5, abs=1e-12)


def test_an_interval_covers_what_queries_vary_by() -> None:
    """Queries lose neighbors together: the true mean is within in about 95 of 100 draws."""
    rng = np.random.default_rng(3)
    true, covered = 0.95, 0
    for _ in range(300):
        shares = np.where(rng.random(400) < 0.1, rng.integers(0, 11, 400) / 10, 1.0)
        estimate = Recall.of(shares, 10)
        covered += estimate.low <= true <= estimate.high
    assert 0.9 < covered / 300 < 0.99


def test_segments_are_weighed_by_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Part:
        def __init__(self, rows: int, measured: Recall | None) -> None:
            self.rows, self.measured = rows, measured

    monkeypatch.setattr(probing, "_measured", lambda part: part.measured)
    parts = [Part(300, Recall(0.96, 0.94, 0.98, 50)), Part(100, None)]
    overall = probing.overall_recall(parts, 0.9)  # type: ignore[arg-type]
    assert overall.promise == 0.9
    assert overall.measured.queries == 50
    assert overall.measured.mean == pytest.approx(0.97)
    assert overall.measured.low == pytest.approx(0.955)
