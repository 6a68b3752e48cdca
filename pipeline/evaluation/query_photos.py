"""The photos of a query set → vectors by every retriever: each photo is read and decoded once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from pipeline import images
from pipeline.catalog.photos import MISSING, PHOTOS_FAULT, UNREADABLE
from pipeline.concurrency import ordered_map
from pipeline.config import EmbeddingSettings
from pipeline.errors import RejectedImage
from pipeline.evaluation.gallery import QuerySet
from pipeline.evaluation.labels import LabeledPhoto
from pipeline.evaluation.retriever import F32Matrix, PhotoEncoder
from pipeline.images import ImageLimits, U8Image
from pipeline.progress import SILENT, Progress


class _Prepared(NamedTuple):
    """A photo, as each encoder takes it."""

    sha256: bytes
    label: str
    pixels: tuple[U8Image, ...]


def encode_query_set(
    photos: Sequence[LabeledPhoto],
    encoders: Mapping[str, PhotoEncoder],
    limits: ImageLimits,
    settings: EmbeddingSettings,
    progress: Progress = SILENT,
) -> tuple[QuerySet, Counter[str]]:
    """Encode labeled photos by all encoders; memory holds a batch of them.

    Returns:
        The queries, and why other photos are none → how many.

    Raises:
        OSError: the disk is bad.
    """
    names, used = list(encoders), list(encoders.values())
    hashes: list[list[bytes]] = []
    labels: list[str] = []
    vectors: dict[str, list[F32Matrix]] = {name: [] for name in names}
    rejected: Counter[str] = Counter()

    def prepare(photo: LabeledPhoto) -> _Prepared | str:
        return _prepare(photo, used, limits)

    def accepted() -> Iterator[_Prepared]:
        prepared = ordered_map(prepare, photos, settings.decoders, ahead=settings.batch_size)
        for photo in prepared:
            if isinstance(photo, str):
                rejected[photo] += 1
            else:
                yield photo
            advance(1)

    with progress.task("evaluate: encoding queries", len(photos), "photos") as advance:
        queries = accepted()
        while batch := list(islice(queries, settings.batch_size)):
            hashes += [[photo.sha256] for photo in batch]
            labels += [photo.label for photo in batch]
            for i, name in enumerate(names):
                pixels = np.stack([photo.pixels[i] for photo in batch])
                vectors[name].append(used[i].encode(pixels))
    encoded = {name: np.concatenate(blocks) for name, blocks in vectors.items() if blocks}
    return QuerySet(labels, hashes, [[] for _ in labels], None, encoded), rejected


def _prepare(
    photo: LabeledPhoto, encoders: Sequence[PhotoEncoder], limits: ImageLimits
) -> _Prepared | str:
    """Read, decode and prepare a photo, or say why it is no query."""
    try:
        data = images.read_bytes(photo.path, limits)
        image = images.decode(data, limits.for_stored())
        pixels = tuple(encoder.prepare(image) for encoder in encoders)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        if error.errno not in PHOTOS_FAULT:
            raise  # a bad disk stops the run
        return UNREADABLE
    except RejectedImage as rejected:
        return rejected.reason
    return _Prepared(hashlib.sha256(data).digest(), photo.label, pixels)
