"""Photos with the label of the items that show them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.labels import values_of
from pipeline.embeddings.arrays import Hashes, Ids, Mask, find_rows, sort_keys, to_hashes
from pipeline.errors import QueryError, TrainingError


@dataclass(frozen=True)
class Labeled:
    """Photos of labeled items, in the order of their hashes."""

    photos: Hashes
    """(n, 32) uint8."""
    labels: Ids
    """(n,) int64: the number of each one's label, from 0."""
    names: tuple[str, ...]
    """The labels, sorted."""
    leaders: Hashes
    """(n, 32) uint8: the lowest hash among the photos of the same item."""

    @property
    def groups(self) -> Ids:
        """(n,) int64: the same number for photos of the same item."""
        groups: Ids = np.unique(self.leaders, axis=0, return_inverse=True)[1].ravel()
        return groups

    @property
    def answerable(self) -> Mask:
        """(n,): whether another item has the label."""
        pairs = np.unique(np.column_stack([self.labels, self.groups]), axis=0)
        mask: Mask = np.bincount(pairs[:, 0])[self.labels] > 1
        return mask

    def subset(self, photos: Hashes) -> Labeled:
        """Return the labels of (m, 32) photos, all of which have one."""
        rows = find_rows(self.photos, photos)
        return Labeled(photos, self.labels[rows], self.names, self.leaders[rows])

    def examples(self, photos: Hashes) -> npt.NDArray[np.uint8]:
        """(m, 32) photos, all of which have a label → (m, 64): each with its label's SHA-256."""
        names = to_hashes(b"".join(sha256(name.encode()).digest() for name in self.names))
        return np.hstack([photos, names[self.subset(photos).labels]])

    def folds(self, share: float) -> list[Mask]:
        """Divide the photos: each fold holds out another `share` of the items, by content.

        So an item never changes its fold when others come and go.
        """
        place = sort_keys(self.leaders) / 2.0**64 / share
        return [place.astype(np.int64) == fold for fold in range(int(1 / share + 1e-9))]


def read_labels(name: str, catalog: Catalog, column: str) -> Labeled:
    """Read the values of a column; of a photo that items with several values show, there is none.

        read_labels("head", catalog, "category").labels

    Raises:
        TrainingError: there is no such column, or all items have the same value.
    """
    where = f"engines.{name}.label"
    try:
        values = values_of(catalog, column)
    except QueryError as error:
        raise TrainingError(error.message, where=where, hint=error.hint) from error
    if len(distinct := set(values.values())) < 2:
        one = f"all items have the same {column}" if distinct else f"no item has a {column}"
        raise TrainingError(one, where=where, hint="name a column that tells items apart")
    leaders: dict[int, bytes] = {}
    shown: dict[bytes, set[int]] = {}
    for photo, item in catalog.photo_item_pairs():
        if item in values:
            leaders[item] = min(photo, leaders.get(item, photo))
            shown.setdefault(photo, set()).add(item)
    label_of = {
        photo: labels.pop()
        for photo, items in sorted(shown.items())
        if len(labels := {values[item] for item in items}) == 1
    }
    names = sorted(set(label_of.values()))
    number = {label: i for i, label in enumerate(names)}
    return Labeled(
        to_hashes(b"".join(label_of)),
        np.array([number[label] for label in label_of.values()], np.int64),
        tuple(names),
        to_hashes(b"".join(min(leaders[item] for item in shown[photo]) for photo in label_of)),
    )
