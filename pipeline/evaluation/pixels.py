"""Photos of one size, decoded once: what PCA and reconstruction errors are computed from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import images
from pipeline.artifacts import READ_ONLY
from pipeline.catalog.catalog import Photo
from pipeline.catalog.photos import prepare_all
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, U8Image
from pipeline.index.base import F32Matrix, Ids
from pipeline.progress import SILENT, Progress

U8Photos = npt.NDArray[np.uint8]

BLOCK_BYTES = 1 << 25  # of a block of photos, in float32
_DECODED_AHEAD = 64  # photos


@dataclass(frozen=True)
class Preprocessing:
    """What a photo becomes before anything is computed from it."""

    size: tuple[int, int]
    """(height, width) in pixels."""
    resize: str
    """The method, as `images.resize` names it."""

    def apply(self, image: Image.Image) -> U8Image:
        """RGB image → (height, width, 3) uint8."""
        return images.resize(image, self.size, self.resize)


@dataclass(frozen=True)
class Pixels:
    """Decoded photos."""

    photos: list[Photo]
    rows: U8Photos
    """(n, height, width, 3) uint8, mapped from a file that no one else sees."""

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

    Where this process may only read there, the file is where the system keeps temporary files.

    Memory holds a few photos. Those that cannot be decoded are left out.

    Raises:
        OSError: the disk is bad or full.
    """
    accepted: list[Photo] = []
    with (
        _nameless_file(folder) as file,
        progress.task("evaluate: decoding", len(photos), "photos") as advance,
    ):
        prepared = prepare_all(photos, preprocessing.apply, limits, decoders, _DECODED_AHEAD)
        for photo, pixels in prepared:
            if not isinstance(pixels, RejectedImage):
                file.write(pixels.data)
                accepted.append(photo)
            advance(1)
        file.flush()
        shape = (len(accepted), *preprocessing.size, 3)
        rows = (
            np.memmap(file, np.uint8, "r", shape=shape) if accepted else np.empty(shape, np.uint8)
        )
    return Pixels(accepted, rows)


def _nameless_file(folder: Path) -> IO[bytes]:
    """A file of which a killed run leaves nothing behind."""
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        return tempfile.TemporaryFile()


def pixel_vectors(
    photos: U8Photos, rows: Ids | None = None, block_bytes: int = BLOCK_BYTES
) -> Iterator[F32Matrix]:
    """Yield photos as vectors, in blocks: (n, h·w·3) float32, pixels 0..1.

    `photos` are (m, h, w, 3) uint8, of which some `rows` are taken, or all of them.
    """
    rows = np.arange(len(photos)) if rows is None else rows
    step = max(1, block_bytes // (4 * int(np.prod(photos.shape[1:]))))
    for start in range(0, len(rows), step):
        block = photos[rows[start : start + step]].astype(np.float32)
        yield block.reshape(len(block), -1) / np.float32(255)
