"""A JPEG is accepted if each of its blocks is there, and refused if libjpeg would fill some."""

from __future__ import annotations

import io
from collections import Counter
from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, decode
from tests.images.damage import coded_runs, lost_anywhere, lost_intervals, whole
from tests.images.test_images import photo, pixels_of

RESTARTS: list[dict[str, int]] = [
    {}, {"restart_marker_blocks": 1}, {"restart_marker_blocks": 4}, {"restart_marker_rows": 1},
]  # fmt: skip
MODES: list[tuple[str, dict[str, Any]]] = [
    ("RGB", {}), ("RGB", {"subsampling": 0}), ("L", {"optimize": True}),
    ("CMYK", {"subsampling": 1}),
]  # fmt: skip
KINDS = list(product([{}, {"progressive": True}], RESTARTS, MODES))


def jpeg(mode: str, options: dict[str, Any], seed: int = 0) -> bytes:
    rng, out = Random(seed), io.BytesIO()
    pixels = photo(rng.randrange(90, 130), rng.randrange(90, 130), seed)
    Image.fromarray(pixels).convert(mode).save(
        out, "JPEG", quality=rng.randrange(40, 95), **options
    )
    return out.getvalue()


@pytest.mark.parametrize(("coding", "restarts", "color"), KINDS)
def test_what_does_not_belong_to_the_picture_changes_nothing(
    coding: dict[str, Any], restarts: dict[str, Any], color: tuple[str, dict[str, Any]]
) -> None:
    data = jpeg(color[0], coding | restarts | color[1])
    expected = pixels_of(data)
    for name, variant in whole(data):
        np.testing.assert_array_equal(pixels_of(variant), expected, err_msg=name)


def accepted_damages(count: int, seed: int) -> tuple[Counter[str], int]:
    """Damage `count` files in every way.

    Returns which ways were accepted with another picture, and how many files were tried.
    """
    rng, accepted, tried = Random(seed), Counter[str](), 0
    for _ in range(count):
        coding, restarts, (mode, options) = rng.choice(KINDS)
        data = jpeg(mode, coding | restarts | options, rng.randrange(2**32))
        expected = pixels_of(data).astype(int)
        damaged = [*lost_anywhere(data, rng)]
        if len(coded_runs(data)) > 3 and restarts:
            damaged += lost_intervals(data, rng)
        tried += len(damaged)
        for name, variant in damaged:
            try:
                got = np.asarray(decode(variant, ImageLimits()))
            except RejectedImage:
                continue
            accepted[name] += np.abs(got - expected).mean() > 0.5
    return +accepted, tried


@pytest.mark.soak
def test_a_jpeg_that_lacks_blocks_is_refused(soak: bool) -> None:
    accepted, tried = accepted_damages(1500 if soak else 40, seed=11)
    assert accepted.total() <= tried // 5_000, accepted  # a cut run of bits may read as a whole one


def test_zeros_in_place_of_data_are_refused_where_they_cannot_be_data() -> None:
    data = jpeg("RGB", {})
    (start, end) = coded_runs(data)[0]
    middle = (start + end) // 2
    for cut, hole in ((start, 200), (middle, 200), (middle, end - middle), (end - 300, 300)):
        with pytest.raises(RejectedImage, match="truncated"):
            decode(data[:cut] + bytes(hole) + data[cut + hole :], ImageLimits())


def test_flat_pictures_whose_data_are_zeros_are_whole() -> None:
    """With optimized tables a block of one color takes two bits, all zero."""
    for width in range(200, 300, 8):
        flat = np.full((200, width), 201, np.uint8)
        flat[:20, :20] = photo(20, 20)[..., 0]
        out = io.BytesIO()
        Image.fromarray(flat).save(out, "JPEG", optimize=True)
        data = out.getvalue()
        if data[:-2].endswith(bytes(40)):  # without bits that fill the last byte
            break
    else:
        pytest.fail("no such file")
    for name, variant in whole(data):
        np.testing.assert_array_equal(pixels_of(variant), pixels_of(data), err_msg=name)


def test_intervals_that_end_with_zeros_are_whole() -> None:
    """A flat block of chroma is four zeros in the usual tables."""
    found = 0
    for seed in range(60):
        data = jpeg("RGB", {"subsampling": 0, "restart_marker_blocks": 1}, seed)
        found += any(data[start:end].endswith(b"\0\0") for start, end in coded_runs(data))
        pixels_of(data)
    assert found >= 3


def test_a_refinement_without_the_scan_that_it_refines_is_refused() -> None:
    data = jpeg("RGB", {"progressive": True})
    first, second = (data.index(b"\xff\xda", at) for at in (0, data.index(b"\xff\xda") + 2))
    for kept in (data[:first] + data[second:], data[:second] + data[data.rindex(b"\xff\xda") :]):
        with pytest.raises(RejectedImage, match="scans are missing"):
            decode(kept, ImageLimits())
