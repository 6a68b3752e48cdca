"""How photos are laid out and changed for training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.config import AugmentSettings
from pipeline.models.autoencoder.batches import batches_of, transforms_of

PHOTOS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
ORDER = np.random.default_rng(1).permutation(12)


def only(**augment: Any) -> AugmentSettings:
    """These changes and no others."""
    return AugmentSettings(**{"flip": False, "shift": 0, "zoom": 0, "noise": 0, **augment})


def laid_out(augment: AugmentSettings, size: int = 5) -> tuple[np.ndarray, np.ndarray | None]:
    transforms = transforms_of(np.random.default_rng(2), len(PHOTOS), 8, augment)
    batches = list(batches_of(PHOTOS, ORDER, size, transforms))
    for shown, photos, _ in batches:
        assert (shown.numpy() == photos.numpy()).all()
    return np.concatenate([shown for shown, *_ in batches]), transforms


def test_batches_are_the_photos_in_the_order_given() -> None:
    batches = list(batches_of(PHOTOS, ORDER, 5))
    assert [len(rows) for *_, rows in batches] == [5, 5, 2]
    for shown, photos, rows in batches:
        np.testing.assert_allclose(shown, PHOTOS[rows.numpy()] / np.float32(255))
        np.testing.assert_allclose(photos, shown)
    assert np.concatenate([rows for *_, rows in batches]).tolist() == ORDER.tolist()
    assert [len(b) for *_, b in batches_of(PHOTOS, ORDER, 5, drop_remainder=True)] == [5, 5]


def test_what_is_rebuilt_can_be_the_photo_as_it_was() -> None:
    transforms = transforms_of(np.random.default_rng(2), len(PHOTOS), 8, only(flip=True))
    assert transforms is not None
    ((shown, photos, rows),) = batches_of(PHOTOS, ORDER, 12, transforms, clean=True)
    np.testing.assert_allclose(photos, PHOTOS[rows.numpy()] / np.float32(255))
    moved, _ = laid_out(only(flip=True), 12)
    np.testing.assert_allclose(shown, moved)
    assert (shown.numpy() != photos.numpy()).any()


def test_nothing_asked_for_is_nothing_done() -> None:
    assert transforms_of(np.random.default_rng(0), 3, 8, only(noise=0.5)) is None


def test_a_mirrored_photo_is_exactly_the_photo_from_right_to_left() -> None:
    found, transforms = laid_out(only(flip=True))
    assert transforms is not None
    mirrored = transforms[ORDER, 0] < 0
    assert 0 < mirrored.sum() < len(ORDER)
    expected = PHOTOS[ORDER] / np.float32(255)
    expected[mirrored] = expected[mirrored, :, ::-1]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_moved_photo_shows_what_bilinear_interpolation_gives() -> None:
    found, transforms = laid_out(only(shift=0.3, zoom=0.2, flip=True))
    assert transforms is not None
    for photo, row in zip(found, ORDER, strict=True):
        a, _, c, _, e, f, *_ = transforms[row].astype(np.float64)
        # What lies beyond the border is the nearest pixel.
        x = np.clip(a * np.arange(8) + c, 0, 7)
        y = np.clip(e * np.arange(8) + f, 0, 7)
        x0, y0 = np.minimum(x.astype(int), 6), np.minimum(y.astype(int), 6)
        u, v = (x - x0)[None, :, None], (y - y0)[:, None, None]
        p = PHOTOS[row] / 255.0
        top = p[y0][:, x0] * (1 - u) + p[y0][:, x0 + 1] * u
        bottom = p[y0 + 1][:, x0] * (1 - u) + p[y0 + 1][:, x0 + 1] * u
        np.testing.assert_allclose(photo, top * (1 - v) + bottom * v, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_moves_and_scales_stay_within_what_was_asked(seed: int) -> None:
    random = np.random.default_rng(seed)
    transforms = transforms_of(random, 500, 64, only(shift=0.1, zoom=0.2))
    assert transforms is not None
    for scale, offset in (
        (transforms[:, 0], transforms[:, 2]),
        (transforms[:, 4], transforms[:, 5]),
    ):
        assert (np.abs(np.log(scale)) <= 0.2 + 1e-6).all()
        middle = scale * 31.5 + offset  # where the photo's middle is read from
        assert (np.abs(middle - 31.5) <= 6.4 + 1e-4).all()
        assert np.ptp(middle) > 6
        assert np.ptp(scale) > 0.2
