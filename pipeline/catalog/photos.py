"""The ledger's photos → pixels, in parallel: what training and embedding both read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping
from errno import EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM
from itertools import islice

from PIL import Image

from pipeline import images
from pipeline.catalog.catalog import Photo
from pipeline.concurrency import ordered_map
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, U8Image

MISSING = "photo missing"
CHANGED = "photo changed since it was ingested"
UNREADABLE = "photo cannot be read"

# Errors of the system that concern one photo; any other error concerns all of them.
PHOTOS_FAULT = (ENOENT, EACCES, EPERM, EISDIR, ENOTDIR, ENAMETOOLONG, ELOOP)

Prepare = Callable[[Image.Image], U8Image]
Prepared = tuple[Photo, U8Image | RejectedImage]


def read(photo: Photo, limits: ImageLimits) -> Image.Image:
    """Decode a photo of the ledger, making sure that it is still the one that was ingested.

    Raises:
        RejectedImage: it is gone, has changed, or is no acceptable photo.
    """
    try:
        data = images.read_bytes(photo.path, limits.for_stored())
    except FileNotFoundError as error:
        raise RejectedImage(MISSING, str(photo.path)) from error
    except OSError as error:
        if error.errno not in PHOTOS_FAULT:
            raise  # a bad disk stops the run
        raise RejectedImage(UNREADABLE, str(error)) from error
    if hashlib.sha256(data).digest() != photo.sha256:
        raise RejectedImage(CHANGED, str(photo.path))
    return images.decode(data, limits.for_stored())


def prepare_all(
    photos: Iterable[Photo],
    prepare: Prepare,
    limits: ImageLimits,
    decoders: int,
    ahead: int,
    ready: Mapping[bytes, U8Image] | None = None,
    chunk_size: int = 8,
) -> Generator[Prepared, None, None]:
    """Yield each photo with its prepared pixels, or with why it has none, in their order.

    `decoders` threads, each taking `chunk_size` photos at a time, work at most `ahead` photos ahead
    of the consumer. Photos whose SHA-256 is in `ready` are not read: these are their prepared
    pixels.

        prepare_all(catalog.photos(), model.prepare, ImageLimits(), decoders=4, ahead=64)
    """

    def work(photo: Photo) -> Prepared:
        pixels = ready.get(photo.sha256) if ready else None
        if pixels is not None:
            return photo, pixels
        try:
            return photo, prepare(read(photo, limits))
        except RejectedImage as rejected:
            return photo, rejected

    photos = iter(photos)
    chunks = iter(lambda: list(islice(photos, chunk_size)), [])
    ahead = max(1, ahead // chunk_size)
    for prepared in ordered_map(lambda chunk: [*map(work, chunk)], chunks, decoders, ahead):
        yield from prepared
