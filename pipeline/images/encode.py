"""RGB picture → the JPEG file that a catalog stores."""

from __future__ import annotations

import io

from PIL import Image

_FIT = "fit "


def encode_jpeg(image: Image.Image, resize: int | str, quality: int) -> bytes:
    """Resize with Lanczos resampling and encode as a JPEG file of a quality from 1 to 100.

    `resize` is the side of a square in pixels, 250 in the article, whatever the picture's shape;
    or `fit N`, which shrinks the longer side to N pixels if it is longer.

        data = encode_jpeg(image, "fit 512", quality=90)
    """
    file = io.BytesIO()
    _resized(image, resize).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _resized(image: Image.Image, resize: int | str) -> Image.Image:
    if isinstance(resize, int):
        size = (resize, resize)
    else:
        shrink = min(1.0, int(resize.removeprefix(_FIT)) / max(image.size))
        size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    return image.resize(size, Image.Resampling.LANCZOS)
