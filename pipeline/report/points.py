"""Points: photos that several engines have, who shows them, and their thumbnails in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pipeline.catalog.catalog import ItemRecord, Photo
from pipeline.catalog.photos import prepare_all
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, U8Image
from pipeline.progress import SILENT, Progress
from pipeline.search.engine_searcher import EngineSearcher

Ids = npt.NDArray[np.int64]

_GRAY = 128  # where a photo should be
_AHEAD = 64  # photos decoded before they are needed


class Point(NamedTuple):
    """A photo, the first item that shows it, and how many do."""

    photo: Photo
    item: int
    record: ItemRecord | None
    """None if the ledger was made anew since, without the item."""
    items: int


@dataclass(frozen=True)
class Points:
    """Photos that all of some engines have."""

    points: Sequence[Point]
    rows: Sequence[Ids]
    """Of each engine: (points,) int64, the rows of its index that hold them."""
    photos: int
    """How many all of them have; if that is more, the points are a sample."""


def choose(searchers: Sequence[EngineSearcher], most: int, seed: int) -> Points:
    """Take the photos in all of the indexes, in the first one's order; of many, a random sample."""
    rows = [
        {photo.tobytes(): row for row, photo in enumerate(searcher.build.photos)}
        for searcher in searchers
    ]
    photos = [photo for photo in rows[0] if all(photo in others for others in rows[1:])]
    chosen = np.arange(len(photos))
    if len(photos) > most:
        chosen = np.sort(np.random.default_rng(seed).choice(len(photos), most, replace=False))
    numbers = [np.array([own[photos[at]] for at in chosen.tolist()], np.int64) for own in rows]
    return Points(_points(searchers[0], numbers[0]), numbers, len(photos))


def _points(searcher: EngineSearcher, rows: Ids) -> list[Point]:
    """(n,) rows of an index → who shows their photos, and where those can be read."""
    build, catalog = searcher.build, searcher.catalog
    entries, times = build.expand_rows(rows)
    first = entries[np.cumsum(times) - times]  # of each row: `ids` is sorted
    points = []
    for row, item, items in zip(rows, build.ids[first, 1].tolist(), times.tolist(), strict=True):
        photo = build.photos[row].tobytes()
        path = catalog.photo_path(photo, item)
        shown = Photo(0, photo, path or "")  # no file is no photo, when it comes to reading it
        points.append(Point(shown, item, catalog.item(item), items))
    return points


def grid(count: int) -> int:
    """How many tiles stand in a row of a sprite of `count`, and how many rows there are."""
    return math.isqrt(count - 1) + 1


def sprite(
    points: Sequence[Point],
    side: int,
    limits: ImageLimits,
    decoders: int,
    progress: Progress = SILENT,
) -> tuple[Image.Image, int]:
    """Draw a square of tiles, row by row; return it and how many photos cannot be read any more.

    Each photo is whole, on white; a tile whose photo is gone is gray.
    """

    def tile(photo: Image.Image) -> U8Image:
        padded = ImageOps.pad(photo, (side, side), Image.Resampling.LANCZOS, color="white")
        return np.asarray(padded)

    per_row, unreadable = grid(len(points)), 0
    pixels = np.full((per_row * side, per_row * side, 3), 255, np.uint8)
    with progress.task("drawing thumbnails", len(points), "photos") as advance:
        photos = (point.photo for point in points)
        for at, (_, drawn) in enumerate(prepare_all(photos, tile, limits, decoders, _AHEAD)):
            top, left = (side * number for number in divmod(at, per_row))
            place = pixels[top : top + side, left : left + side]
            if isinstance(drawn, RejectedImage):
                place[:] = _GRAY
                unreadable += 1
            else:
                place[:] = drawn
            advance(1)
    return Image.fromarray(pixels), unreadable
