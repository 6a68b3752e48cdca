"""Searching with a region of a photo is searching with a file of that part alone."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import models
from pipeline.errors import QueryError
from pipeline.images import Region
from pipeline.models.store import ModelFolder
from pipeline.search import searcher as search
from pipeline.search.query import Item, Query
from pipeline.search.result import EngineResult
from tests.conftest import Color, ColorModel, Shop
from tests.engines import Opener, Thing, open_fair

__all__ = ["open_fair"]

COLORS: list[Color] = [(10 * n, 250 - 10 * n, 7 * n % 90) for n in range(25)]


class MeanColor(ColorModel):
    """A photo's vector is its mean color, and it is rebuilt the worse, the redder it is."""

    def prepare(self, image: Image.Image) -> np.ndarray:  # type: ignore[type-arg]
        return np.asarray(image.resize(self.input_size, Image.Resampling.BOX))

    def reconstruction_errors(self, pixels: np.ndarray) -> np.ndarray:  # type: ignore
        return pixels[:, :, :, :2].mean(axis=(1, 2))


@pytest.fixture
def mean_colors(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A catalog of one color a photo, searched by mean colors."""

    def load(name: str, folder: ModelFolder, **_: object) -> MeanColor:
        return MeanColor(name, fingerprint=folder.fingerprint)

    monkeypatch.setattr(models, "load", load)
    shop.build({f"item {n}": [color] for n, color in enumerate(COLORS)})
    errors = np.stack([np.arange(100), np.arange(100)], axis=1).astype(np.float32)
    monkeypatch.setattr(ModelFolder, "reconstruction_errors", lambda _: errors)
    return shop


def noise(seed: int, width: int = 40, height: int = 30) -> Image.Image:
    """Squares of many colors."""
    random_ = np.random.default_rng(seed)
    small = random_.integers(0, 256, (height // 5, width // 5, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, orientation: int = 1) -> bytes:
    """A PNG file with an EXIF orientation."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    image.save(file, "PNG", exif=exif)
    return file.getvalue()


def upright(image: Image.Image, orientation: int) -> np.ndarray:  # type: ignore[type-arg]
    """What is shown of stored pixels: where their row 0 and column 0 are, by the EXIF standard."""
    pixels = np.asarray(image)
    if orientation >= 5:  # row 0 is at a side
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):  # the upright photo begins with the last row
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):  # ... with the last column
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_answers_as_a_file_of_that_part_of_the_upright_photo(
    mean_colors: Shop, orientation: int, tmp_path: Path
) -> None:
    chance = random.Random(orientation)
    image = noise(orientation)
    whole = upright(image, orientation)
    height, width = whole.shape[:2]
    photo = tmp_path / "photo.png"
    photo.write_bytes(encoded(image, orientation))
    with mean_colors.searcher() as searcher:
        for _ in range(8):
            left, top = chance.randrange(width), chance.randrange(height)
            right, bottom = chance.randint(left + 1, width), chance.randint(top + 1, height)
            part = encoded(Image.fromarray(whole[top:bottom, left:right]))
            region = (left / width, top / height, (right - left) / width, (bottom - top) / height)
            found = searcher.search(photo, 5, region=region)
            alone = searcher.search(part, 5)
            assert found.hits == alone.hits
            assert found.ood_percentile == alone.ood_percentile is not None
            assert (found.no_match, found.region) == (alone.no_match, region)
            assert alone.region is None


def test_a_region_holds_for_every_photo_of_a_batch_and_in_every_form(
    mean_colors: Shop, tmp_path: Path
) -> None:
    photos = [noise(seed) for seed in range(6)]
    files = [tmp_path / f"{seed}.png" for seed in range(6)]
    for file, photo in zip(files, photos, strict=True):
        photo.save(file)
    forms: list[Query] = [files[0], str(files[1]), files[2].read_bytes(), *photos[3:]]
    mixed = [*forms, Item(1), np.zeros(3, np.float32), b"bad"]
    with mean_colors.searcher() as searcher:
        found = list(searcher.search_all(mixed, 3, region="0.5,0,0.5,0.5"))
        for photo, result in zip(photos, found, strict=False):
            assert isinstance(result, EngineResult)
            assert result.hits == searcher.search(photo.crop((20, 0, 40, 15)), 3).hits
        assert "a region is a part of a photo, and item 1 is none" in str(found[6])
        assert "a region is a part of a photo, and vector is none" in str(found[7])
        assert "not an image" in str(found[8])
        assert [result.hits for result in searcher.search_all(photos, 3, region=(0, 0, 1, 1))] == [
            result.hits for result in searcher.search_all(photos, 3)
        ]


def test_every_engine_takes_the_same_region_and_the_result_says_which(open_fair: Opener) -> None:
    fair = open_fair("color", "mixed")
    fair.build({f"item {n}": Thing([color]) for n, color in enumerate(COLORS)})
    photo = Image.new("RGB", (100, 100), COLORS[3])
    photo.paste(COLORS[8], (50, 0, 100, 100))
    with search.open(fair.config) as searcher:
        result = searcher.search(photo, 1, region=(0.5, 0, 0.5, 1), fuse=True)
        assert {hits.hits[0].item.key for hits in result.values()} == {"item 8"}
        assert result.fused
        assert result.fused[0].item.key == "item 8"
        assert result.region == Region(0.5, 0, 0.5, 1)
        assert result.to_dict()["region"] == [0.5, 0, 0.5, 1]
        assert searcher.search(photo, 1).to_dict()["region"] is None
        with pytest.raises(QueryError, match="item 1 is none; search with a photo, or without"):
            searcher.search(Item(1), region=(0, 0, 1, 1))
        with pytest.raises(QueryError, match=r"region 0\.5,0,0\.6,1: it is not within 0 to 1"):
            searcher.search_all([photo], region=(0.5, 0, 0.6, 1))  # before the first result


def test_auto_searches_with_what_lies_on_the_background(open_fair: Opener) -> None:
    fair = open_fair("color")
    fair.build({f"item {n}": Thing([color]) for n, color in enumerate(COLORS)})
    photo = Image.new("RGB", (200, 100), "white")
    photo.paste(COLORS[8], (100, 20, 160, 80))
    with search.open(fair.config) as searcher:
        result = searcher.search(photo, 1, region="auto")
        assert result.region is not None
        given = searcher.search(photo, 1, region=result.region)
        assert (given.engines, given.region) == (result.engines, result.region)
        assert (
            result["color"].hits
            == searcher.search(
                photo.crop(tuple(round(edge) for edge in edges(result.region, 200, 100))), 1
            )["color"].hits
        )
        plain = Image.new("RGB", (200, 100), COLORS[8])
        whole = searcher.search(plain, 1, region="auto")
        assert (whole.region, whole["color"].hits) == (
            None,
            searcher.search(plain, 1)["color"].hits,
        )
        assert whole.notes == (
            "no plain background was found, so the whole photo was searched with",
        )


def edges(region: Region, width: int, height: int) -> tuple[float, float, float, float]:
    x, y, w, h = region
    return x * width, y * height, (x + w) * width, (y + h) * height
