"""The photos of a query set → vectors by every retriever: each photo is read and decoded once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import numpy as np

from pipeline import images
from pipeline.catalog.photos import MISSING, PHOTOS_FAULT, UNREADABLE
from pipeline.concurrency import ordered_map
from pipeline.config import EmbeddingSettings
from pipeline.errors import RejectedImage
from pipeline.evaluation.gallery import QuerySet
from pipeline.evaluation.labels import LabeledPhoto
from pipeline.evaluation.retriever import PhotoEncoder
from pipeline.images import ImageLimits, U8Image
from pipeline.index.base import F32Matrix
from pipeline.progress import SILENT, Progress

_Prepared = tuple[LabeledPhoto, bytes, list[U8Image]]
"""A photo, its SHA-256, and its pixels as each encoder takes them."""


def encode_query_set(
    photos: Sequence[LabeledPhoto],
    encoders: Mapping[str, PhotoEncoder],
    limits: ImageLimits,
    settings: EmbeddingSettings,
    progress: Progress = SILENT,
) -> tuple[QuerySet, dict[str, int]]:
    """Encode labeled photos by all encoders; memory holds a batch of them.

    Returns:
        The queries, and why other photos are none → how many.

    Raises:
        OSError: the disk is bad.
    """
    hashes: list[list[bytes]] = []
    labels: list[str] = []
    vectors: dict[str, list[F32Matrix]] = {name: [] for name in encoders}
    rejected: Counter[str] = Counter()

    def accepted() -> Iterator[_Prepared]:
        prepare = partial(_prepare, encoders=list(encoders.values()), limits=limits)
        for photo in ordered_map(prepare, photos, settings.decoders, ahead=settings.batch_size):
            if isinstance(photo, str):
                rejected[photo] += 1
            else:
                yield photo
            advance(1)

    with progress.task("evaluate: encoding queries", len(photos), "photos") as advance:
        queries = accepted()
        while batch := list(islice(queries, settings.batch_size)):
            hashes += [[sha256] for _, sha256, _ in batch]
            labels += [photo.label for photo, _, _ in batch]
            for i, (name, encoder) in enumerate(encoders.items()):
                vectors[name].append(encoder.encode(np.stack([pixels[i] for *_, pixels in batch])))
    encoded = {name: np.concatenate(blocks) for name, blocks in vectors.items() if blocks}
    return QuerySet(labels, hashes, [[] for _ in labels], None, encoded), dict(rejected)


def _prepare(
    photo: LabeledPhoto, encoders: Sequence[PhotoEncoder], limits: ImageLimits
) -> _Prepared | str:
    """Read, decode and prepare a photo, or say why it is no query."""
    try:
        data = images.read_bytes(photo.path, limits)
        image = images.decode(data, limits.for_stored())
        pixels = [encoder.prepare(image) for encoder in encoders]
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        if error.errno not in PHOTOS_FAULT:
            raise  # a bad disk stops the run
        return UNREADABLE
    except RejectedImage as rejected:
        return rejected.reason
    return photo, hashlib.sha256(data).digest(), pixels
