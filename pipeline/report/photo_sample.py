"""Photos that several engines have, who shows them, and their thumbnails in one sprite."""

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

Rows = npt.NDArray[np.int64]

GRAY = 128  # of a tile whose photo cannot be read
DECODE_AHEAD = 64  # photos


class SampledPhoto(NamedTuple):
    """A photo, the first item that shows it, and how many do."""

    photo: Photo
    item: int
    record: ItemRecord | None  # None if the ledger was made anew since the build, without the item
    items: int


@dataclass(frozen=True)
class PhotoSample:
    """Photos that all of several engines have."""

    photos: Sequence[SampledPhoto]
    rows: Sequence[Rows]
    """For each engine (photos,) int64: the rows of its index that hold them."""
    common: int  # photos that all engines have; if that is more than `photos`, those are a sample


def sample_photos(searchers: Sequence[EngineSearcher], limit: int, seed: int) -> PhotoSample:
    """Return the photos that are in all indexes, in the first one's order; at most `limit`."""
    row_of = [{photo.tobytes(): row for row, photo in enumerate(s.build.photos)} for s in searchers]
    common = [photo for photo in row_of[0] if all(photo in others for others in row_of[1:])]
    chosen = np.arange(len(common))
    if len(common) > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(len(common), limit, replace=False))
    sampled = [common[i] for i in chosen.tolist()]
    rows = [np.array([row[photo] for photo in sampled], np.int64) for row in row_of]
    return PhotoSample(_describe(searchers[0], rows[0]), rows, len(common))


def _describe(searcher: EngineSearcher, rows: Rows) -> list[SampledPhoto]:
    """(n,) rows of an index → the items that show their photos, and where those can be read."""
    build, catalog = searcher.build, searcher.catalog
    entries, counts = build.expand_rows(rows)
    first = entries[np.cumsum(counts) - counts]  # of each row: `ids` is sorted
    photos = []
    for row, item, count in zip(rows, build.ids[first, 1].tolist(), counts.tolist(), strict=True):
        sha256 = build.photos[row].tobytes()
        path = catalog.photo_path(sha256, item) or ""  # "" cannot be read, as a missing file
        photos.append(SampledPhoto(Photo(0, sha256, path), item, catalog.item(item), count))
    return photos


def grid_side(count: int) -> int:
    """Return how many tiles a sprite of `count` photos has in a row, which is how many rows."""
    return math.isqrt(count - 1) + 1


def sprite(
    photos: Sequence[SampledPhoto],
    tile_side: int,
    limits: ImageLimits,
    decoders: int,
    progress: Progress = SILENT,
) -> tuple[Image.Image, int]:
    """Draw a square of tiles, row by row; return it and how many photos can no longer be read.

    Each photo is whole, on white; the tile of a photo that cannot be read is gray.
    """

    def tile(photo: Image.Image) -> U8Image:
        size = (tile_side, tile_side)
        return np.asarray(ImageOps.pad(photo, size, Image.Resampling.LANCZOS, color="white"))

    columns, unreadable = grid_side(len(photos)), 0
    pixels = np.full((columns * tile_side, columns * tile_side, 3), 255, np.uint8)
    with progress.task("drawing thumbnails", len(photos), "photos") as advance:
        files = (photo.photo for photo in photos)
        for i, (_, drawn) in enumerate(prepare_all(files, tile, limits, decoders, DECODE_AHEAD)):
            top, left = (tile_side * number for number in divmod(i, columns))
            place = pixels[top : top + tile_side, left : left + tile_side]
            place[:] = GRAY if isinstance(drawn, RejectedImage) else drawn
            unreadable += isinstance(drawn, RejectedImage)
            advance(1)
    return Image.fromarray(pixels), unreadable
