"""A decoded picture → upright RGB pixels of 8 bits, in another size, or as a JPEG file."""

from __future__ import annotations

import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.errors import RejectedImage
from pipeline.images.limits import Reject

Box = tuple[float, float, float, float]  # left, top, right, bottom
U8Image = npt.NDArray[np.uint8]  # (height, width, 3) RGB

_RESAMPLING = {
    name: Image.Resampling[name.upper()]
    for name in ("nearest", "box", "bilinear", "bicubic", "lanczos")
}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274  # TIFF tags
_TO_UPRIGHT = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image → an upright picture in mode RGB without metadata, transparency on white.

    Its pixels are those of `image`, not a copy, where there is nothing to be done.
    """
    rgb = _flatten(image)
    if (orientation := _orientation(image.info.get("exif") or b"")) in _TO_UPRIGHT:
        rgb = rgb.transpose(_TO_UPRIGHT[orientation])
    rgb.info = {}  # an orientation left in it would be applied a second time
    return rgb


def resize(
    image: Image.Image, size: tuple[int, int], method: str, *, crop: float | None = None
) -> U8Image:
    """RGB image → (height, width, 3) uint8, C-contiguous; `size` is (height, width) in pixels.

    `method` is one of nearest, box, bilinear, bicubic, lanczos; the pixels are exactly those of
    Pillow's `Image.resize`. With `crop`, the photo keeps its shape: it is scaled until it just
    covers `size / crop`, and `size` is cut out of the middle.

        pixels = resize(image, (224, 224), "bilinear")

    Raises:
        ValueError: there is no such method.
        RejectedImage: the picture is too large for the memory.
    """
    if method not in _RESAMPLING:
        raise ValueError(f"unknown resampling {method!r}; choose from {', '.join(_RESAMPLING)}")
    height, width = size
    box = None if crop is None else _middle(image.size, size, crop)
    resized = _resized(image, (width, height), _RESAMPLING[method], box)
    return np.ascontiguousarray(resized, dtype=np.uint8)


def _middle(sides: tuple[int, int], size: tuple[int, int], crop: float) -> Box:
    """The part of an image of `sides`, (width, height), that `resize` cuts out, as a Pillow box.

    Only that part is scaled: of a photo of 10,000×1 pixels the whole would not fit into memory.
    Sides of the scaled image are whole pixels, rounded down, as other libraries have them.
    """
    height, width = size
    scale = max(int(width / crop + 1e-6) / sides[0], int(height / crop + 1e-6) / sides[1])
    box = []
    for side, cut in zip(sides, (width, height), strict=True):
        scaled = max(cut, int(side * scale + 1e-6))
        start = (scaled - cut) // 2
        box.append((start * side / scaled, min(side, (start + cut) * side / scaled)))
    (left, right), (top, bottom) = box
    return left, top, right, bottom


def encode_jpeg(image: Image.Image, resize: int | str, quality: int) -> bytes:
    """Resize an RGB image with Lanczos resampling; encode it in a quality from 1 to 100.

    `resize` is the side of a square in pixels, 250 in the article, whatever the picture's shape;
    or `fit N`, which shrinks the longer side to N pixels if it is longer.

        data = encode_jpeg(image, "fit 512", quality=90)

    Raises:
        RejectedImage: the picture is too large for the memory.
    """
    if isinstance(resize, int):
        size = (resize, resize)
    else:
        shrink = min(1.0, int(resize.removeprefix("fit ")) / max(image.size))
        size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    file = io.BytesIO()
    _resized(image, size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _resized(
    image: Image.Image,
    size: tuple[int, int],
    resampling: Image.Resampling,
    box: Box | None = None,
) -> Image.Image:
    """Resize an image, or what `box` has of it, to (width, height).

    One photo that is too large must not end a run.
    """
    try:
        return image.resize(size, resampling, box)
    except MemoryError as error:
        message = f"no memory to resize {image.width}x{image.height}"
        raise RejectedImage(Reject.TOO_MANY_PIXELS, message) from error


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = _gray16(image)
    if not image.has_transparency_data:
        image.load()
        return image._new(image.im) if image.mode == "RGB" else image.convert("RGB")
    rgba = image.convert("LA") if image.mode == "La" else image
    rgba = rgba if rgba.mode == "RGBA" else rgba.convert("RGBA")
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


def _orientation(exif: bytes) -> int:
    """Read the EXIF orientation, 1 if absent or unreadable; Pillow turns TIFFs upright itself."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = ">" if tiff[:2] == b"MM" else "<"
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == _ORIENTATION:
                return int(struct.unpack_from(order + "HI"[kind == 4], tiff, entry + 8)[0])
    except struct.error:
        pass
    return 1
