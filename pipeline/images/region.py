"""A part of a photo to search with instead of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Literal, NamedTuple, Self

from PIL import Image

from pipeline.errors import QueryError
from pipeline.images.foreground import foreground_box
from pipeline.images.limits import ImageLimits

Auto = Literal["auto"]
AUTO: Auto = "auto"

_ROUNDING = 1e-9  # by which the sum of two decimal fractions may miss 1
_HINT = "give x,y,w,h: left, top, width and height as fractions of the upright photo, or auto"


class _Sides(NamedTuple):
    x: float
    y: float
    w: float
    h: float


class Region(_Sides):
    """A part of an upright photo: left, top, width, height, as fractions of its sides, in 0..1.

        Region(0.5, 0, 0.5, 1)   # the right half

    Raises:
        QueryError: it is empty, or not within the photo.
    """

    def __new__(cls, x: float, y: float, w: float, h: float) -> Self:
        """Check and keep the four fractions."""
        region = super().__new__(cls, x, y, w, h)
        if not all(map(isfinite, region)):
            raise QueryError(f"region {region}: these are not four finite numbers", hint=_HINT)
        if not (w > 0 and h > 0):
            raise QueryError(f"region {region}: there is nothing in it", hint=_HINT)
        if min(x, y) < 0 or max(x + w, y + h) > 1 + _ROUNDING:
            raise QueryError(f"region {region}: it is not within 0 to 1", hint=_HINT)
        return region

    def __str__(self) -> str:
        return ",".join(f"{fraction:.6g}" for fraction in self)


def as_region(value: str | Sequence[float]) -> Region | Auto:
    """Four fractions, or their text `x,y,w,h`, → a region; `auto` stays as it is.

        as_region("0.5,0,0.5,1")   # Region(x=0.5, y=0.0, w=0.5, h=1.0)

    Raises:
        QueryError: it is none, or not within a photo.
    """
    if isinstance(value, str) and value.strip() == AUTO:
        return AUTO
    try:
        x, y, w, h = map(float, value.split(",") if isinstance(value, str) else value)
    except (OverflowError, TypeError, ValueError) as error:
        raise QueryError(f"region {value!r}: it is not x,y,w,h", hint=_HINT) from error
    return Region(x, y, w, h)


def take_region(
    image: Image.Image, region: Region | Auto, limits: ImageLimits, *, where: str | Path = ""
) -> tuple[Image.Image, Region | None]:
    """Upright image → the part of it to search with, and which that is; None if it is the whole.

    `auto` takes what stands out from a plain background, and the whole where there is none. `where`
    names the photo in an error.

        part, region = take_region(decode(data, limits), "auto", limits)

    Raises:
        QueryError: the part has fewer pixels than a photo may have.
    """
    if region != AUTO:
        return _crop(image, region, limits, where), region
    box = foreground_box(image)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < limits.min_side:
        return image, None
    left, top, right, bottom = (
        round(edge / side, 4) for edge, side in zip(box, (*image.size, *image.size), strict=True)
    )
    found = Region(left, top, round(right - left, 4), round(bottom - top, 4))
    return _crop(image, found, limits, where), found


def _crop(
    image: Image.Image, region: Region, limits: ImageLimits, where: str | Path
) -> Image.Image:
    """Cut a region out, along the edges of pixels that are nearest to its own."""
    (width, height), (x, y, w, h) = image.size, region
    box = round(x * width), round(y * height), round((x + w) * width), round((y + h) * height)
    size = box[2] - box[0], box[3] - box[1]
    if min(size) < limits.min_side:
        raise QueryError(
            f"region {region} is {size[0]}x{size[1]} pixels, the shorter side must be"
            f" {limits.min_side}",
            where=where,
            hint="choose a larger part",
        )
    return image.crop(box)
