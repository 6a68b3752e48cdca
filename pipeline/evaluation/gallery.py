"""What is ranked, and for which queries: labeled items, and queries of one of two kinds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.catalog.catalog import Catalog
from pipeline.evaluation.exclusions import SharedValues
from pipeline.evaluation.retriever import Retriever, VectorSet
from pipeline.index.base import F32Matrix, Ids


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
    """The product that each item is, if it says so."""

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

        `indexed` are ids of items, for each engine; `readable` SHA-256 of photos, for each
        preprocessing.
        """
        photos = SharedValues(catalog.photo_item_pairs())
        candidates = sorted(set(labels).intersection(*(ids.tolist() for ids in indexed)))

        def is_readable(item: int) -> bool:
            return all(any(photo in known for photo in photos.values(item)) for known in readable)

        items = list(filter(is_readable, candidates))
        return cls(
            np.array(items, np.int64),
            [labels[item] for item in items],
            [photos.values(item) for item in items],
            [[products[item]] if item in products else [] for item in items],
        )

    def vectors(self, vectors: F32Matrix, rows: Mapping[bytes, int]) -> VectorSet:
        """Return the items' vectors, from those of photos and SHA-256 → row; others have none."""
        owners = enumerate(self.photos)
        pairs = {(owner, rows[p]) for owner, photos in owners for p in photos if p in rows}
        return VectorSet(vectors.__getitem__, np.array(sorted(pairs), np.int64))


@dataclass(frozen=True)
class QuerySet:
    """The queries: items of the gallery, or other photos."""

    labels: list[str]
    photos: list[list[bytes]]
    """SHA-256 of the photos of each query."""
    products: list[list[str]]
    """The product that each query is, if it says so."""
    items: Ids | None = None
    """(queries,) int64: the query's own position in the gallery; None if queries are no items."""
    encoded: Mapping[str, F32Matrix] = field(default_factory=dict)
    """Retriever → (queries, dim) float32, where queries are no items."""

    def vectors(self, retriever: Retriever) -> VectorSet:
        """Return the queries' vectors, as the retriever ranks by them."""
        if self.items is not None:
            return retriever.gallery.subset(self.items)
        return VectorSet.one_each(self.encoded[retriever.name])

    def subset(self, chosen: Ids) -> QuerySet:
        """Keep the queries at some positions, ascending: `queries.subset(np.array([0, 2]))`."""
        return QuerySet(
            [self.labels[i] for i in chosen],
            [self.photos[i] for i in chosen],
            [self.products[i] for i in chosen],
            None if self.items is None else self.items[chosen],
            {name: vectors[chosen] for name, vectors in self.encoded.items()},
        )


def leave_one_out(gallery: Gallery, count: int | None, seed: int) -> QuerySet:
    """Make every item a query for the others, or `count` of them chosen at random."""
    items = np.arange(len(gallery.items))
    queries = QuerySet(gallery.labels, gallery.photos, gallery.products, items)
    return queries if count is None else queries.subset(sample(len(items), count, seed))


def sample(total: int, count: int, seed: int) -> Ids:
    """Choose `count` of some positions at random, ascending; all, if there are not more."""
    if count >= total:
        return np.arange(total)
    chosen: Ids = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    return chosen
