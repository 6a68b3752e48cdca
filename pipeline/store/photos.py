"""From the ledger's photos to pixels, in parallel: what training and embedding both read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import images
from pipeline.concurrency import ordered_map
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, U8Image
from pipeline.store.catalogue import Photo

MISSING = "photo missing"
CHANGED = "photo changed since it was ingested"
UNREADABLE = "photo cannot be read"

Prepare = Callable[[Image.Image], U8Image]
Prepared = tuple[Photo, U8Image | RejectedImage]


def read(photo: Photo, limits: ImageLimits) -> Image.Image:
    """Decode a photo of the ledger, making sure that it is still the one that was ingested.

    Raises:
        RejectedImage: it is gone, has changed, or is no acceptable photo.
    """
    try:
        data = images.read_bytes(photo.path, limits)
    except FileNotFoundError as error:
        raise RejectedImage(MISSING, str(photo.path)) from error
    except OSError as error:
        raise RejectedImage(UNREADABLE, str(error)) from error
    if hashlib.sha256(data).digest() != photo.sha256:
        raise RejectedImage(CHANGED, str(photo.path))
    return images.decode(data, limits)


def prepare_all(
    photos: Iterable[Photo], prepare: Prepare, limits: ImageLimits, decoders: int, ahead: int
) -> Iterator[Prepared]:
    """Yield each photo with its prepared pixels, or with why it has none, in their order.

    `decoders` threads work at most `ahead` photos ahead of the consumer.
    """

    def work(photo: Photo) -> Prepared:
        try:
            return photo, prepare(read(photo, limits))
        except RejectedImage as rejected:
            return photo, rejected

    return ordered_map(work, photos, decoders, ahead)


class PixelFile:
    """Prepared photos of one size in a file, so that each epoch need not decode them again.

    `<part>.pixels` holds the rows, `<part>.npy` their SHA-256; the latter is written last.
    """

    def __init__(self, folder: Path, part: str, size: tuple[int, int]) -> None:
        self.rows_file = folder / f"{part}.pixels"
        self.photos_file = folder / f"{part}.npy"
        self.size = size

    def is_complete(self) -> bool:
        """Whether `fill` ran to its end."""
        return self.photos_file.is_file()

    def fill(self, prepared: Iterable[Prepared]) -> list[tuple[Photo, RejectedImage]]:
        """Write the rows of all photos that have pixels; return the others."""
        self.rows_file.parent.mkdir(parents=True, exist_ok=True)
        good: list[bytes] = []
        bad: list[tuple[Photo, RejectedImage]] = []
        with self.rows_file.open("wb") as file:
            for photo, pixels in prepared:
                if isinstance(pixels, RejectedImage):
                    bad.append((photo, pixels))
                else:
                    file.write(pixels.data)
                    good.append(photo.sha256)
        hashes = np.frombuffer(b"".join(good), np.uint8).reshape(-1, 32)
        aside = self.photos_file.with_suffix(".tmp.npy")
        np.save(aside, hashes, allow_pickle=False)
        aside.replace(self.photos_file)
        return bad

    @property
    def photos(self) -> npt.NDArray[np.uint8]:
        """(n, 32) uint8: SHA-256 of each row's photo."""
        photos: npt.NDArray[np.uint8] = np.load(self.photos_file, allow_pickle=False)
        return photos

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """(n, height, width, 3) uint8, mapped from the disk."""
        shape = (len(self.photos), *self.size, 3)
        if not shape[0]:
            return np.empty(shape, np.uint8)
        return np.memmap(self.rows_file, np.uint8, "r", shape=shape)
