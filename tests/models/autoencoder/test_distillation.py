"""Distillation: targets, pairs and the loss, compared with NumPy and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import logsumexp

from pipeline.config import DistillationSettings
from pipeline.models.autoencoder.descriptors import extract
from pipeline.models.autoencoder.distillation import TargetBuilder, pairs
from pipeline.models.autoencoder.losses import (
    DistillationLoss,
    PixelLoss,
    info_nce,
    squared_correlations,
)
from pipeline.models.keras_runtime import keras, tf
from tests.models.autoencoder.test_descriptors import drawn

PHOTOS = np.stack([drawn(seed, 32) for seed in range(40)])
ROWS = np.arange(40)
TEACHER = np.random.default_rng(3).standard_normal((40, 6)).astype(np.float32)
F32 = npt.NDArray[np.float32]


def settings(**more: Any) -> DistillationSettings:
    return DistillationSettings.model_validate(
        {"hog": 0, "foreground_mask": 0, "neighbors": 5, "components": 400, **more}
    )


def nearest(vectors: npt.NDArray[Any], count: int) -> list[set[int]]:
    apart = np.linalg.norm(vectors[:, np.newaxis] - vectors, axis=2)
    np.fill_diagonal(apart, np.inf)
    return [set(row[:count].tolist()) for row in apart.argsort(axis=1)]


# -- Targets ---------------------------------------------------------------------------------------


def test_the_neighbors_by_targets_are_those_by_the_weighted_parts() -> None:
    chosen = settings(hog=1, lab_histogram=0.5)
    built = TargetBuilder(PHOTOS, None, chosen, 7).build(PHOTOS, None)
    parts = extract(PHOTOS, ROWS, mirrored=True)
    whole = [
        weight * parts[name] / np.sqrt(parts[name].var(axis=0).sum())
        for name, weight in (("hog", 1), ("lab_histogram", 0.5))
    ]
    assert [set(row.tolist()) for row in built.neighbors] == nearest(np.hstack(whole), 5)
    assert built.targets.dtype == np.float32
    assert built.targets.mean(axis=0) == pytest.approx(0, abs=1e-4)
    assert built.targets.var(axis=0).sum() == pytest.approx(1, rel=0.05)


def test_a_teacher_alone_decides_by_the_roots_of_its_vectors() -> None:
    built = TargetBuilder(PHOTOS, TEACHER, settings(teacher="t"), 7).build(PHOTOS, TEACHER)
    roots = np.sign(TEACHER) * np.sqrt(np.abs(TEACHER))
    assert [set(row.tolist()) for row in built.neighbors] == nearest(roots, 5)
    centered = roots - roots.mean(axis=0)
    real = np.linalg.norm(centered[:, np.newaxis] - centered, axis=2)
    apart = np.linalg.norm(built.targets[:, np.newaxis] - built.targets, axis=2)
    assert apart / apart.max() == pytest.approx(real / real.max(), abs=1e-3)


def test_a_photo_and_its_mirror_image_have_one_target() -> None:
    targets = TargetBuilder(PHOTOS, None, settings(hog=1, foreground_mask=1, pixels=1), 7)
    mirrored = targets.build(np.ascontiguousarray(PHOTOS[:, :, ::-1]), None)
    np.testing.assert_allclose(mirrored.targets, targets.build(PHOTOS, None).targets, atol=1e-4)


def test_targets_of_other_photos_are_projected_like_those_fitted_to() -> None:
    targets = TargetBuilder(PHOTOS[:30], None, settings(hog=1, components=8), 7)
    whole = targets.build(PHOTOS, None).targets
    assert whole.shape == (40, 8)
    np.testing.assert_allclose(targets.build(PHOTOS[30:], None).targets, whole[30:], atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_or_equal_photos_have_targets(count: int) -> None:
    same = np.repeat(PHOTOS[:1], count, axis=0)
    zeros = np.zeros((count, 6), np.float32)
    built = TargetBuilder(same, zeros, settings(hog=1, teacher="t"), 7).build(same, zeros)
    assert np.isfinite(built.targets).all()
    assert built.neighbors.shape == (count, max(1, count - 1))
    for row, others in enumerate(built.neighbors.tolist()):
        assert set(others) == (set(range(count)) - {row} or {0})


# -- Pairs -----------------------------------------------------------------------------------------


def test_a_batch_is_photos_and_then_a_neighbor_of_each() -> None:
    neighbors = (ROWS[:10, np.newaxis] + [1, 2, 3]) % 10
    order = np.random.default_rng(1).permutation(10)
    nearest_ones = pairs(neighbors, order, 6, None)
    assert len(nearest_ones) == 20
    random = pairs(neighbors, order, 6, np.random.default_rng(2))
    steps = set()
    for arranged in (nearest_ones, random):
        for start in range(0, 20, 6):
            batch = arranged[start : start + 6]
            anchors, positives = np.split(batch, 2)
            assert anchors.tolist() == order[start // 2 : start // 2 + 3].tolist()
            steps.update(((positives - anchors) % 10).tolist())
    assert steps == {1, 2, 3}
    assert ((nearest_ones[3:6] - nearest_ones[:3]) % 10).tolist() == [1, 1, 1]
    assert (pairs(neighbors, order, 6, np.random.default_rng(2)) == random).all()


# -- The loss --------------------------------------------------------------------------------------


def test_info_nce_is_the_logarithm_of_the_neighbors_share() -> None:
    latents = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    found = float(info_nce(tf.constant(latents)))
    losses = []
    for at in range(6):
        near = -((latents[at] - latents) ** 2).sum(axis=1)
        others = [n for n in range(12) if n != at]
        losses.append(logsumexp(near[others]) - near[at + 6])
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_correlations_are_squared_and_added_up() -> None:
    latent = np.random.default_rng(0).standard_normal((50, 4)) @ np.array(
        [[1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 9, 1], [0, 0, 0, 1]]
    )
    matrix = np.corrcoef(latent.T)
    expected = (matrix**2).sum() - 4
    found = squared_correlations(tf.constant(latent, "float32"))
    assert float(found) == pytest.approx(expected, rel=1e-3)


def network() -> Any:
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 3))
    latent = keras.layers.Dense(3, name="latent_space")(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Reshape((8, 8, 3))(keras.layers.Dense(192)(latent)))


def test_the_loss_of_distillation_is_the_weighted_sum_of_its_parts() -> None:
    rng = np.random.default_rng(0)
    photos, inputs = rng.random((2, 10, 8, 8, 3)).astype(np.float32)
    wanted = rng.standard_normal((40, 5)).astype(np.float32)
    rows = rng.permutation(40)[:10]
    base = {"pixel_weight": 0, "target_weight": 0, "decorrelation_weight": 0}

    def loss(**weights: float) -> float:
        chosen = DistillationSettings.model_validate({**base, **weights})
        distill = DistillationLoss(network(), chosen, 5, variance=0.5)
        return float(
            distill(tf.constant(inputs), tf.constant(photos), rows, wanted, training=False)
        )

    distill = DistillationLoss(network(), DistillationSettings(), 5, variance=0.5)
    rebuilt, targets, latent, scaled = (output.numpy() for output in distill.model(inputs))
    contrast = loss()
    assert contrast == pytest.approx(float(info_nce(tf.constant(scaled))), rel=1e-5)
    assert latent == pytest.approx(scaled)  # the scale begins at 1
    pixels = ((rebuilt - photos) ** 2).mean() / 0.5
    assert loss(pixel_weight=2) == pytest.approx(contrast + 2 * pixels, rel=1e-5)
    off = ((targets - wanted[rows]) ** 2).sum(axis=1).mean()
    assert loss(target_weight=3) == pytest.approx(contrast + 3 * off, rel=1e-4)
    correlated = (np.corrcoef(latent.T) ** 2).sum() - 3
    assert loss(decorrelation_weight=4) == pytest.approx(contrast + 4 * correlated, rel=1e-3)


def test_without_distillation_the_loss_is_the_error_of_pixels() -> None:
    photos, inputs = np.random.default_rng(0).random((2, 10, 8, 8, 3)).astype(np.float32)
    plain = PixelLoss(network())
    rows = np.arange(10)
    found = plain(tf.constant(inputs), tf.constant(photos), rows, None, training=False)
    assert float(found) == pytest.approx(((plain.model(inputs).numpy() - photos) ** 2).mean())
