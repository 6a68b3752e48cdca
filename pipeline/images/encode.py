"""RGB picture → the bytes under which a catalog keeps it."""

from __future__ import annotations

import io

from PIL import Image

_FIT = "fit "


def encode_jpeg(image: Image.Image, resize: int | str, quality: int) -> bytes:
    """Resize with LANCZOS and encode as a JPEG file.

    `resize` is the side of a square in pixels, 250 in the article, whatever the picture's shape;
    or `fit N`, which brings the longer side down to N pixels if it is longer.
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
