"""What is ranked and what is asked: labeled items, and queries of one of two kinds."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline import images
from pipeline.catalog.catalog import Catalog, Photo
from pipeline.catalog.photos import MISSING, PHOTOS_FAULT, UNREADABLE, prepare_all
from pipeline.errors import QueryError, RejectedImage
from pipeline.evaluation.labels import LabeledPhoto
from pipeline.evaluation.retriever import F32Matrix, VectorSet
from pipeline.images import ImageLimits
from pipeline.models.base import EmbeddingModel

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Gallery:
    """The labeled items that can be ranked by every engine and baseline."""

    items: Ids
    """(n,) int64: ids, ascending."""
    labels: list[str]
    """Of each item."""
    photos: list[list[bytes]]
    """SHA-256 of each item's available photos."""
    products: list[list[str]]
    """What product each item is, if that is known."""

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        labels: Mapping[int, str],
        products: Mapping[int, str],
        indexed: Sequence[Ids],
        readable: Sequence[Collection[bytes]],
    ) -> Gallery:
        """Take the items that have a label, are indexed everywhere, and have a readable photo.

        `indexed` are ids of items, for each engine; `readable` SHA-256 of photos, for each way of
        looking at them.
        """
        photos: dict[int, list[bytes]] = defaultdict(list)
        for photo, item in catalog.photo_item_pairs():
            photos[item].append(photo)
        known = labels.keys() & photos.keys()
        known = known.intersection(*(ids.tolist() for ids in indexed))
        items = sorted(item for item in known if all(map(set(photos[item]).intersection, readable)))
        return cls(
            np.array(items, np.int64),
            [labels[item] for item in items],
            [photos[item] for item in items],
            [[products[item]] if item in products else [] for item in items],
        )

    def shown(self, read: Callable[[Ids], F32Matrix], rows: Mapping[bytes, int]) -> VectorSet:
        """Who shows which of the photos, of which each has a row of vectors."""
        pairs = {
            (owner, rows[photo])
            for owner, photos in enumerate(self.photos)
            for photo in photos
            if photo in rows
        }
        return VectorSet(read, np.array(sorted(pairs), np.int64))


@dataclass(frozen=True)
class QuerySet:
    """What is asked."""

    labels: list[str]
    photos: list[list[bytes]]
    """SHA-256 of the photos of each query."""
    products: list[list[str]]
    """What product each query is, if that is known."""
    itself: Ids | None
    """(queries,) int64: the place in the gallery of the item that asks; None for a query set."""
    asked: Sequence[Photo] = ()
    """The photos of a query set, one a query."""

    def shown(
        self, gallery: VectorSet, vectors: Callable[[Sequence[Photo]], F32Matrix]
    ) -> VectorSet:
        """Return the vectors to ask with: the gallery's own, or those of the photos asked with."""
        if self.itself is not None:
            return gallery.only(self.itself)
        return VectorSet.one_each(vectors(self.asked))


def leave_one_out(gallery: Gallery, count: int | None, seed: int) -> QuerySet:
    """Let every item ask, or `count` of them chosen at random."""
    chosen = np.arange(len(gallery.items))
    if count is not None and count < len(chosen):
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, count, replace=False))
    return QuerySet(
        [gallery.labels[at] for at in chosen],
        [gallery.photos[at] for at in chosen],
        [gallery.products[at] for at in chosen],
        chosen,
    )


def ask_with(photos: Sequence[Photo], labels: Sequence[str]) -> QuerySet:
    """Let photos ask, of which each has a label."""
    hashes = [[photo.sha256] for photo in photos]
    return QuerySet(list(labels), hashes, [[] for _ in photos], None, photos)


def find_photos(
    labeled: Sequence[LabeledPhoto], limits: ImageLimits
) -> tuple[list[Photo], Counter[str]]:
    """Read the files of a query set: those there, with ids that count from 0, and why others not.

    A bad disk raises OSError.
    """
    found: list[Photo] = []
    rejected: Counter[str] = Counter()
    for at, one in enumerate(labeled):
        try:
            data = images.read_bytes(one.path, limits)
        except FileNotFoundError:
            rejected[MISSING] += 1
        except OSError as error:
            if error.errno not in PHOTOS_FAULT:
                raise
            rejected[UNREADABLE] += 1
        except RejectedImage as error:
            rejected[error.reason] += 1
        else:
            found.append(Photo(at, hashlib.sha256(data).digest(), one.path))
    return found, rejected


def encode(
    model: EmbeddingModel,
    photos: Sequence[Photo],
    limits: ImageLimits,
    batch_size: int,
    decoders: int,
) -> F32Matrix:
    """Photos → (n, dim) float32, as the catalog's are made.

    Raises:
        QueryError: one of them can no longer be read.
    """
    vectors = [np.empty((0, model.dim), np.float32)]
    for start in range(0, len(photos), batch_size):
        batch = photos[start : start + batch_size]
        pixels = []
        for photo, prepared in prepare_all(batch, model.prepare, limits, decoders, batch_size):
            if isinstance(prepared, RejectedImage):
                raise QueryError(f"{photo.path}: {prepared}")
            pixels.append(prepared)
        vectors.append(model.encode(np.stack(pixels)))
    return np.concatenate(vectors)
