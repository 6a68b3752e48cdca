"""A region of a photo, against pixels that are cut out with NumPy."""

from __future__ import annotations

import random
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.errors import QueryError
from pipeline.images import AUTO, ImageLimits, Region, as_region, take_region

LIMITS = ImageLimits()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    random_ = np.random.default_rng(seed)
    return Image.fromarray(random_.integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("given", ["0.5,0,0.5,1", " 0.5, 0, .5, 1 ", (0.5, 0, 0.5, 1)])
def test_text_and_numbers_are_the_same_region(given: Any) -> None:
    assert as_region(given) == Region(0.5, 0, 0.5, 1) == (0.5, 0, 0.5, 1)
    assert as_region(as_region(given)) == as_region(str(as_region(given)))
    assert as_region(np.array([0.5, 0, 0.5, 1])) == (0.5, 0, 0.5, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "it is not x,y,w,h"),
        ("left", "it is not x,y,w,h"),
        ("0,0,1", "it is not x,y,w,h"),
        ("0,0,1,1,1", "it is not x,y,w,h"),
        ((0, 0, 1), "it is not x,y,w,h"),
        ((0, 0, 1, None), "it is not x,y,w,h"),
        (7, "it is not x,y,w,h"),
        ((10**400, 0, 1, 1), "it is not x,y,w,h"),
        ((nan, 0, 1, 1), "these are not four finite numbers"),
        ("0,0,nan,1", "these are not four finite numbers"),
        ((0, 0, inf, 1), "these are not four finite numbers"),
        ((0.2, 0.2, 0, 0.5), "there is nothing in it"),
        ((0.2, 0.2, 0.5, -0.1), "there is nothing in it"),
        ((-0.1, 0, 0.5, 0.5), "it is not within 0 to 1"),
        ((0.6, 0, 0.5, 0.5), "it is not within 0 to 1"),
        ((10, 20, 100, 200), "it is not within 0 to 1"),
    ],
)
def test_what_is_no_region_is_refused_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(QueryError) as error:
        as_region(given)
    assert said in str(error.value)
    assert "give x,y,w,h" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_region_is_the_pixels_between_the_nearest_edges() -> None:
    chance = random.Random(0)
    for seed in range(100):
        width, height = chance.randint(1, 60), chance.randint(1, 60)
        image = noise(width, height, seed)
        left, top = chance.randrange(width), chance.randrange(height)
        right, bottom = chance.randint(left + 1, width), chance.randint(top + 1, height)
        region = Region(left / width, top / height, (right - left) / width, (bottom - top) / height)
        part, used = take_region(image, region, LIMITS)
        np.testing.assert_array_equal(part, np.asarray(image)[top:bottom, left:right])
        assert used == region


def test_a_region_of_too_few_pixels_is_refused_with_their_number() -> None:
    image = noise(100, 50)
    with pytest.raises(QueryError, match=r"^a\.png: region 0\.5,0\.5,0\.001,0\.5 is 0x25 pixels"):
        take_region(image, Region(0.5, 0.5, 0.001, 0.5), LIMITS, where="a.png")
    half = Region(0, 0, 1, 0.5)
    assert take_region(image, half, ImageLimits(min_side=25))[0].size == (100, 25)
    with pytest.raises(QueryError, match=r"100x25 pixels, the shorter side must be 26"):
        take_region(image, half, ImageLimits(min_side=26))


def thing_on(background: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Draw something of many colors; its box is exactly `box`."""
    left, top, right, bottom = box
    background.paste(noise(right - left, bottom - top), box)
    return background


def within(found: Region | None, box: tuple[int, int, int, int], size: tuple[int, int]) -> bool:
    """Whether a region encloses a box, and has at most a twentieth of a side more around it."""
    assert found is not None
    edges = (found.x, found.y, found.x + found.w, found.y + found.h)
    apart = [edge - at / side for edge, at, side in zip(edges, box, (*size, *size), strict=True)]
    tolerance = 0.001
    return all(-0.05 <= more <= tolerance for more in apart[:2]) and all(
        -tolerance <= more <= 0.05 for more in apart[2:]
    )


@pytest.mark.parametrize("color", ["white", "#20262b", "#d9c8a0"])
@pytest.mark.parametrize("size", [(400, 300), (240, 640), (64, 64), (3000, 2000)])
def test_auto_finds_what_lies_on_a_plain_background(color: str, size: tuple[int, int]) -> None:
    width, height = size
    box = (width // 4, height // 8, width // 2, height // 2)
    image = thing_on(Image.new("RGB", size, color), box)
    part, found = take_region(image, AUTO, LIMITS)
    assert within(found, box, size)
    assert found is not None
    again, _ = take_region(image, as_region(str(found)), LIMITS)  # as it is printed
    np.testing.assert_array_equal(part, again)


def test_auto_finds_it_though_light_and_compression_change_the_background() -> None:
    shade = np.linspace(190, 250, 400, dtype=np.uint8)[np.newaxis, :, np.newaxis]
    speckle = np.random.default_rng(1).integers(-4, 5, (300, 400, 3))
    background = Image.fromarray((np.tile(shade, (300, 1, 3)) + speckle).astype(np.uint8))
    image = Image.new("RGB", (400, 300), "white")
    box = (120, 60, 300, 260)
    image.paste(background.crop((0, 0, 40, 300)).resize((400, 300)))
    ImageDraw.Draw(image).ellipse((120, 60, 299, 259), fill="#803020")
    assert within(take_region(image, AUTO, LIMITS)[1], box, image.size)


def test_auto_finds_a_photo_with_a_plain_background_within_a_cluttered_picture() -> None:
    squares = noise(40, 40).resize((600, 600), Image.Resampling.NEAREST)
    picture = squares.rotate(30).crop((100, 150, 500, 450))
    picture.paste("white", (160, 60, 360, 240))
    box = (200, 80, 320, 220)
    _, found = take_region(thing_on(picture, box), AUTO, LIMITS)
    assert found is not None
    left, top = 400 * found.x, 300 * found.y
    right, bottom = left + 400 * found.w, top + 300 * found.h
    cell = 400 / 64  # the frame is found on a grid
    assert 160 - cell <= left <= 200
    assert 60 - cell <= top <= 80
    assert 320 <= right <= 360 + cell
    assert 220 <= bottom <= 240 + cell


@pytest.mark.parametrize(
    "image",
    [
        noise(300, 300).resize((30, 30)).resize((300, 300), Image.Resampling.NEAREST),
        Image.new("RGB", (300, 200), "white"),
        Image.new("RGB", (1, 1)),
        Image.new("RGB", (5000, 1), "red"),
    ],
    ids=["clutter", "nothing on it", "a pixel", "a line"],
)
def test_auto_takes_the_whole_where_nothing_lies_on_a_plain_background(image: Image.Image) -> None:
    part, found = take_region(image, AUTO, LIMITS)
    assert found is None
    assert part is image


def test_auto_proposes_nothing_that_is_smaller_than_a_photo_may_be() -> None:
    image = thing_on(Image.new("RGB", (64, 64), "white"), (20, 20, 30, 30))
    assert take_region(image, AUTO, ImageLimits(min_side=10))[1] is not None
    assert take_region(image, AUTO, ImageLimits(min_side=32)) == (image, None)
