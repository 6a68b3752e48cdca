"""Principal components of photos and of vectors, against scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.decomposition import PCA

from pipeline.evaluation.pixels import BLOCK_BYTES, pixel_vectors
from pipeline.index import pca


def photos(rng: np.random.Generator, count: int) -> npt.NDArray[np.uint8]:
    """Smooth random pictures, 16 × 12 pixels, in which few directions say most."""
    coarse = rng.integers(0, 256, (count, 4, 3, 3)).astype(np.float64)
    smooth = coarse.repeat(4, axis=1).repeat(4, axis=2)
    noise = rng.normal(0, 6, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("block", [5_000, BLOCK_BYTES])
def test_components_are_scikit_learns(block: int) -> None:
    rng = np.random.default_rng(0)
    pixels = photos(rng, 150)
    train, held_out = np.arange(20, 150), np.arange(20)

    def vectors(rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.float32]]:
        return pixel_vectors(pixels, rows, block)

    flat = pixels.reshape(len(pixels), -1) / 255.0
    oracle = PCA(12, svd_solver="full").fit(flat[train])
    fitted = pca.fit(lambda: vectors(train), 12, seed=0)
    assert fitted.mean == pytest.approx(oracle.mean_, abs=1e-6)
    aligned = np.abs(np.sum(fitted.components * oracle.components_, axis=1))
    assert aligned == pytest.approx(np.ones(12), abs=1e-3)
    variances = oracle.explained_variance_ * (len(train) - 1) / len(train)
    assert fitted.variances == pytest.approx(variances, rel=1e-4)
    rest = flat[held_out] - oracle.inverse_transform(oracle.transform(flat[held_out]))
    assert fitted.reconstruction_error(vectors(held_out)) == pytest.approx(
        np.mean(rest**2), rel=1e-4
    )
    projected = np.concatenate([fitted.project(one) for one in vectors(held_out)])
    assert projected.dtype == np.float32
    wanted = oracle.transform(flat[held_out])
    assert np.abs(projected) == pytest.approx(np.abs(wanted), abs=2e-3)
    rebuilt = fitted.reconstruct(projected)
    assert rebuilt == pytest.approx(oracle.inverse_transform(wanted), abs=2e-3)


def test_as_many_components_as_photos_rebuild_them() -> None:
    pixels = photos(np.random.default_rng(1), 6)
    fitted = pca.fit(lambda: pixel_vectors(pixels), 6)
    assert fitted.components.shape[0] == 6
    assert fitted.reconstruction_error(pixel_vectors(pixels)) < 1e-9


@pytest.mark.parametrize("count", [1, 5])
def test_equal_photos_have_equal_projections(count: int) -> None:
    pixels = np.full((count, 4, 4, 3), 77, np.uint8)
    fitted = pca.fit(lambda: pixel_vectors(pixels), 16)
    assert np.isfinite(fitted.components).all()
    (vectors,) = pixel_vectors(pixels)
    assert np.ptp(fitted.project(vectors), axis=0) == pytest.approx(0)
    assert fitted.reconstruction_error(pixel_vectors(pixels)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("rows", "dim"), [(400, 30), (20, 50), (3, 5), (1, 4)])
def test_in_float64_few_vectors_and_many_give_the_components_of_a_singular_value_decomposition(
    rows: int, dim: int
) -> None:
    vectors = np.random.default_rng(rows).standard_normal((rows, dim)) / np.arange(1, dim + 1)
    fitted = pca.fit(lambda: [vectors[:7], vectors[7:]] if rows > 7 else [vectors], dim)
    centered = vectors - vectors.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centered, full_matrices=False)
    count = int((sizes > 1e-6 * max(sizes[0], 1e-9)).sum())
    assert fitted.components @ fitted.components.T == pytest.approx(np.eye(dim), abs=1e-12)
    assert fitted.variances[:count] == pytest.approx(sizes[:count] ** 2 / rows)
    assert fitted.variances[count:] == pytest.approx(0, abs=1e-12)
    aligned = np.abs((fitted.components[:count] * directions[:count]).sum(axis=1))
    assert aligned == pytest.approx(np.ones(count), abs=1e-6)
