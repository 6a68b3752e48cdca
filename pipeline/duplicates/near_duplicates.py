"""Which photos are near-duplicates of each other, for those who search and those who list them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pipeline.duplicates.links import groups
from pipeline.duplicates.similarity import MIN_SIMILARITY, similarity
from pipeline.duplicates.store import KnownPhotos
from pipeline.embeddings.arrays import PhotoIndex, to_hashes

CACHED_PAIRS = 1 << 16


class NearDuplicates:
    """Tells near-duplicates by the SHA-256 of photos; it may serve several threads.

    duplicates.first_like(photo, shown)  # the position among `shown`, or None
    """

    def __init__(self, known: KnownPhotos) -> None:
        self._known = known
        label = known.label
        self._grouped = np.flatnonzero(np.bincount(label)[label] > 1) if len(label) else label
        self._index = PhotoIndex(known.signatures.photos[self._grouped])
        self._is_near_row = lru_cache(CACHED_PAIRS)(self._compare)

    def first_like(self, photo: bytes, others: Sequence[bytes]) -> int | None:
        """Return the position of the first of these photos that is the same or a near-duplicate.

        A near-duplicate of a near-duplicate is none. Photos are given by their SHA-256.

        Raises:
            DamagedArtifactError: what is known of them is not what was written.
        """
        if photo in others:
            return others.index(photo)
        row, *rows = self._rows([photo, *others])
        for position, other in enumerate(rows):
            if self._are_near(row, other):
                return position
        return None

    def groups(self) -> list[list[bytes]]:
        """Return the photos of each group, the first of which the others are near-duplicates of.

        The largest group first; each photo is in one group. Within what hangs together the photo
        that has been there longest and is in no group yet begins one.
        """
        photos = self._known.signatures.photos
        found = [
            group for rows in groups(self._known.label) for group in self._split(rows.tolist())
        ]
        found.sort(key=lambda rows: (-len(rows), rows[0]))
        return [[photos[row].tobytes() for row in rows] for rows in found]

    def same_pixels(self, photo: bytes, other: bytes) -> bool:
        """Whether two photos, which are in groups, are files of one picture."""
        a, b = self._rows([photo, other])
        pixels = self._known.signatures.pixels
        return bool((pixels[a] == pixels[b]).all())

    def _split(self, rows: list[int]) -> list[list[int]]:
        found = []
        while rows:
            first, rest = rows[0], np.array(rows[1:], np.int64)
            one = self._known.take(np.full(len(rest), first))
            is_near = similarity(one, self._known.take(rest)) >= MIN_SIMILARITY
            rows = rest[~is_near].tolist()
            if is_near.any():
                found.append([first, *rest[is_near].tolist()])
        return found

    def _rows(self, photos: Sequence[bytes]) -> list[int]:
        """The row of each photo that is in a group, else -1."""
        rows = self._index.rows(to_hashes(b"".join(photos)))
        return [int(row) for row in np.append(self._grouped, -1)[rows]]

    def _are_near(self, a: int, b: int) -> bool:
        label = self._known.label
        if min(a, b) < 0 or label[a] != label[b]:
            return False
        return self._is_near_row(min(a, b), max(a, b))

    def _compare(self, a: int, b: int) -> bool:
        one, other = (self._known.take(np.array([row])) for row in (a, b))
        return bool(similarity(one, other)[0] >= MIN_SIMILARITY)
