"""images/pixels.py: the bytes that are stored, against the article's own two calls."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pipeline import images
from pipeline.images import ImageLimits


def photo(width: int, height: int) -> Image.Image:
    """A picture with detail at every scale."""
    random = np.random.default_rng(width * height)
    coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), np.uint8))
    noise = Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
    return Image.blend(coarse.resize((width, height)), noise, 0.2)


def encoded(image: Image.Image, format_: str) -> bytes:
    file = io.BytesIO()
    image.save(file, format_)
    return file.getvalue()


@pytest.mark.parametrize("size", [(640, 480), (250, 250), (31, 200), (1, 1)])
def test_a_square_is_saved_as_in_the_article(size: tuple[int, int]) -> None:
    source = encoded(photo(*size), "PNG")
    file = io.BytesIO()
    Image.open(io.BytesIO(source)).resize((250, 250), Image.Resampling.LANCZOS).save(file, "JPEG")
    image = images.decode(source, ImageLimits())
    assert images.encode_jpeg(image, 250, quality=75) == file.getvalue()


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ((1024, 512), (512, 256)),
        ((300, 2000), (77, 512)),
        ((512, 100), (512, 100)),
        ((40, 30), (40, 30)),
        ((5000, 1), (512, 1)),
    ],
)
def test_fit_only_shrinks_and_keeps_the_aspect_ratio(
    size: tuple[int, int], kept: tuple[int, int]
) -> None:
    data = images.encode_jpeg(photo(*size), "fit 512", quality=90)
    assert Image.open(io.BytesIO(data)).size == kept


def test_quality_is_passed_to_the_encoder() -> None:
    image = photo(100, 100)
    sizes = [len(images.encode_jpeg(image, 100, quality)) for quality in (20, 75, 95)]
    assert sizes == sorted(set(sizes))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=20)
    assert images.encode_jpeg(image, "fit 100", 20) == file.getvalue()


@pytest.mark.parametrize(
    ("format_", "suffix"),
    [
        ("JPEG", ".jpg"),
        ("PNG", ".png"),
        ("WEBP", ".webp"),
        ("GIF", ".gif"),
        ("TIFF", ".tif"),
        ("BMP", ".bmp"),
        ("AVIF", ".avif"),
        ("JPEG2000", ".jp2"),
    ],
)
def test_a_suffix_follows_from_the_content(format_: str, suffix: str) -> None:
    assert images.suffix(encoded(photo(8, 8), format_)) == suffix
    assert images.suffix(b"<html>") == ""
