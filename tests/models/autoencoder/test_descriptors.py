"""Descriptors, compared with an implementation in NumPy that goes pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from pipeline.models.autoencoder import descriptors
from pipeline.models.autoencoder import network as autoencoder
from pipeline.models.autoencoder.descriptors import compute, extract

Photo = npt.NDArray[np.float64]


def drawn(seed: int, side: int = 64) -> npt.NDArray[np.uint8]:
    """A few shapes on white."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        corners = [tuple(one) for one in rng.integers(4, side - 4, (3, 2)).tolist()]
        draw.polygon(corners, fill=tuple(rng.integers(0, 256, 3).tolist()))
    return np.asarray(image)


PHOTOS = np.stack([drawn(seed) for seed in range(6)])


def hog_by_hand(photo: Photo) -> Photo:
    """Histograms of oriented gradients of an (s, s, 3) photo in 0..1."""
    side = len(photo)
    gray = photo.mean(axis=2)
    cells = np.zeros((8, 8, 9))
    for y in range(side):
        for x in range(side):
            dx = gray[y, x + 1] - gray[y, x - 1] if 0 < x < side - 1 else 0
            dy = gray[y + 1, x] - gray[y - 1, x] if 0 < y < side - 1 else 0
            length = math.hypot(dx, dy)
            if length < 1e-3:
                continue
            for at in range(9):
                angle = abs(math.remainder(math.atan2(dy, dx) - at * math.pi / 9, math.pi))
                if angle < math.pi / 9:
                    share = (math.cos(angle) - math.cos(math.pi / 9)) / (1 - math.cos(math.pi / 9))
                    cells[y * 8 // side, x * 8 // side, at] += length * share
    cells /= (side // 8) ** 2
    blocks = np.zeros((7, 7, 36))
    for y in range(7):
        for x in range(7):
            block = np.concatenate([cells[y + i, x + j] for i in (0, 1) for j in (0, 1)])
            block = block / math.sqrt((block**2).sum() + 1e-4)
            block = np.minimum(block, 0.4)
            blocks[y, x] = block / math.sqrt((block**2).sum() + 1e-4)
    return blocks.ravel()


def lab_histogram_by_hand(photo: Photo) -> Photo:
    """A histogram over L*a*b*, by Pillow-free formulas, of the photo at half its size."""
    side = len(photo) // 2
    small = photo.reshape(side, 2, side, 2, 3).mean(axis=(1, 3)).reshape(-1, 3)
    linear = np.where(small > 0.04045, ((small + 0.055) / 1.055) ** 2.4, small / 12.92)
    to_xyz = np.array(
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169],
         [0.019334, 0.119193, 0.950227]]
    )  # fmt: skip
    xyz = linear @ to_xyz.T / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
    counts = np.zeros((6, 6, 6))
    for pixel in lab:
        along = []
        for value, low, high in zip(pixel, (0, -60, -60), (100, 60, 60), strict=True):
            place = min(max((value - low) / (high - low), 0), 1) * 6 - 0.5
            place = min(max(place, 0), 5)
            share = np.zeros(6)
            share[int(place)] = 1 - place % 1
            if place % 1:
                share[int(place) + 1] = place % 1
            along.append(share)
        counts += np.einsum("i,j,k->ijk", *along)
    return np.sqrt(counts.ravel() / len(lab))


@pytest.mark.parametrize("side", [32, 64, 96])
def test_descriptors_equal_those_computed_pixel_by_pixel(side: int) -> None:
    photos = np.stack([drawn(seed, side) for seed in range(3)])
    found = {name: part.numpy() for name, part in compute(photos / np.float32(255)).items()}
    assert list(found) == ["hog", "foreground_mask", "lab_histogram", "pixels"]
    cell = side // 16
    for at, photo in enumerate(photos / 255.0):
        np.testing.assert_allclose(found["hog"][at], hog_by_hand(photo), atol=2e-3)
        np.testing.assert_allclose(
            found["lab_histogram"][at], lab_histogram_by_hand(photo), atol=3e-3
        )
        coarse = photo.reshape(16, cell, 16, cell, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(found["pixels"][at], coarse.ravel(), atol=1e-5)
        dark = 1 / (1 + np.exp(-40 * (0.93 - photo.min(axis=2))))
        coarse = dark.reshape(16, cell, 16, cell).mean(axis=(1, 3))
        np.testing.assert_allclose(found["foreground_mask"][at], coarse.ravel(), atol=1e-4)
    assert descriptors.dims(side) == {name: part.shape[1] for name, part in found.items()}


def test_mirrored_descriptors_are_the_mean_of_both_and_the_same_for_both() -> None:
    rows = np.array([4, 1, 5])
    plain = extract(PHOTOS, rows)
    both = extract(PHOTOS, rows, mirrored=True)
    other = extract(PHOTOS[:, :, ::-1].copy(), rows)
    again = extract(PHOTOS[:, :, ::-1].copy(), rows, mirrored=True)
    for name, part in both.items():
        assert part.dtype == np.float32
        np.testing.assert_allclose(part, (plain[name] + other[name]) / 2, atol=1e-6)
        np.testing.assert_allclose(part, again[name], atol=1e-6)
    assert np.abs(both["hog"] - plain["hog"]).max() > 0.05


def test_colors_do_not_depend_on_where_they_are() -> None:
    turned = extract(np.rot90(PHOTOS, axes=(1, 2)).copy(), np.arange(6))
    upright = extract(PHOTOS, np.arange(6))
    np.testing.assert_allclose(turned["lab_histogram"], upright["lab_histogram"], atol=1e-6)
    assert np.abs(turned["hog"] - upright["hog"]).max() > 0.1


def test_a_blank_photo_has_finite_descriptors() -> None:
    for level in (0, 128, 255):
        blank = np.full((1, 64, 64, 3), level, np.uint8)
        assert all(np.isfinite(part).all() for part in extract(blank, np.arange(1)).values())


def test_adapted_descriptors_are_centered_and_weigh_the_same() -> None:
    network = autoencoder.build("descriptor", 64, 16)
    autoencoder.adapt(network, PHOTOS)
    layer = network.get_layer(autoencoder.DESCRIPTORS)
    found = layer(PHOTOS / np.float32(255)).numpy()
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    variances = found.var(axis=0)
    begin = 0
    for size in descriptors.dims(64).values():
        part = variances[begin : begin + size].sum()
        assert part == pytest.approx(found.shape[1] / 4, rel=1e-3)
        begin += size
    assert begin == found.shape[1]
