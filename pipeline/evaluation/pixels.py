"""Photos of one size, decoded once: what PCA and reconstruction errors are computed from."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline import images
from pipeline.catalog.catalog import Photo
from pipeline.catalog.photos import prepare_all
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.progress import SILENT, Progress

U8Photos = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Preprocessing:
    """How photos are looked at: (height, width) in pixels, and the way of resizing."""

    size: tuple[int, int]
    resize: str


@dataclass(frozen=True)
class Pixels:
    """Decoded photos."""

    photos: list[Photo]
    rows: U8Photos
    """(n, height, width, 3) uint8, mapped from a file that no one else sees."""
    rejected: Counter[str]
    """Why others could not be decoded → how many."""

    def row_of(self) -> dict[bytes, int]:
        """SHA-256 of a photo → its row."""
        return {photo.sha256: row for row, photo in enumerate(self.photos)}


def decode(
    photos: Sequence[Photo],
    preprocessing: Preprocessing,
    limits: ImageLimits,
    decoders: int,
    folder: Path,
    progress: Progress = SILENT,
) -> Pixels:
    """Decode photos into a file in `folder`, which vanishes with the last use of it.

    Memory holds a few photos. Those that cannot be decoded are counted; a bad disk raises OSError.
    """
    prepare = partial(images.resize, size=preprocessing.size, method=preprocessing.resize)
    good: list[Photo] = []
    rejected: Counter[str] = Counter()
    # Nameless: a killed run leaves nothing behind.
    with (
        tempfile.TemporaryFile(dir=folder) as file,
        progress.task("evaluate: decoding", len(photos), "photos") as advance,
    ):
        for photo, pixels in prepare_all(photos, prepare, limits, decoders, ahead=64):
            if isinstance(pixels, RejectedImage):
                rejected[pixels.reason] += 1
            else:
                file.write(pixels.data)
                good.append(photo)
            advance(1)
        file.flush()
        shape = (len(good), *preprocessing.size, 3)
        rows = np.memmap(file, np.uint8, "r", shape=shape) if good else np.empty(shape, np.uint8)
    return Pixels(good, rows, rejected)
