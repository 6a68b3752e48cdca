"""A picture in any mode → RGB, transparency laid on white, samples cut to 8 bits."""

from __future__ import annotations

import numpy as np
from PIL import Image

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags


def flatten(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB, with transparency laid on white."""
    if image.mode.startswith("I;16"):
        image = _gray16(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(rgba, mask=rgba)
    return white


def _gray16(image: Image.Image) -> Image.Image:
    """16-bit (TIFF also 12-bit) gray → L, by the high byte as Pillow does for 16-bit colors."""
    samples, tags = np.asarray(image), getattr(image, "tag_v2", {})
    gray = (samples >> (tags.get(_BITS_PER_SAMPLE, (16,))[0] - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow handles that at 8 bits only
        gray = 255 - gray
    gray[samples == image.info.get("transparency", -1)] = 255
    return Image.fromarray(gray)
