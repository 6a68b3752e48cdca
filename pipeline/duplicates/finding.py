"""New photos → links to the near-duplicates among all photos.

Links join photos into groups, and are as few as can do that: of a thousand copies of one picture a
thousand links are kept, not half a million. So whether two photos of a group are near-duplicates
of each other, or only by others between them, is told by `similarity`, when it is asked.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.duplicates.hamming import HashIndex, Rows
from pipeline.duplicates.links import link
from pipeline.duplicates.signature import Codes, mirrored_codes
from pipeline.duplicates.similarity import (
    COMPARISONS,
    MAX_BITS,
    MIN_SIMILARITY,
    similarity,
)
from pipeline.duplicates.store import KnownPhotos

BLOCK = 64  # photos whose candidates are looked for at a time
MAX_COMPARED = 64  # photos that a new one is laid on at most: those whose windows are most alike


def find_links(photos: KnownPhotos, first: int, advance: Callable[[int], object]) -> Rows:
    """Compare the photos from row `first` on with all before them; return links (m, 2), a < b.

    Their labels are brought up to date. Chains count: three photos of which the middle one is like
    both others hang together. All windows of all photos are compared, so what is found does not
    depend on when a photo came; unless more than `MAX_COMPARED` are so alike that hashes do not
    tell them apart.

    Raises:
        DamagedArtifactError: a thumbnail is not what was written.
    """
    found = [np.empty((0, 2), np.int64)]
    codes = photos.signatures.codes
    windows = _Windows(codes[:first])
    for start in range(first, len(codes), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(codes)))
        found.extend(_linked(photos, windows.add(rows, codes[rows])))
        advance(len(rows))
    return np.concatenate(found)


def _linked(photos: KnownPhotos, pairs: Rows) -> list[Rows]:
    """Link the near-duplicates among candidate pairs, the likeliest pair first.

    In each round a photo is compared with one of each group that it is no part of yet.
    """
    found = []
    label = photos.label
    pairs = _likeliest(pairs, label)
    while len(pairs := pairs[label[pairs[:, 0]] != label[pairs[:, 1]]]):
        chosen = np.unique(_with_group(pairs, label), return_index=True)[1]
        a, b = pairs[chosen].T
        scores = similarity(photos.take(a), photos.take(b))
        near = pairs[chosen[scores >= MIN_SIMILARITY]]
        if len(near):
            link(label, *near.T)
            found.append(near)
        pairs = np.delete(pairs, chosen, axis=0)
    return found


def _likeliest(pairs: Rows, label: Rows) -> Rows:
    """The first `MAX_COMPARED` of each later photo, one of each group before a second of any."""
    turns = _turns(_with_group(pairs, label))
    pairs = pairs[np.argsort(turns, kind="stable")]
    return pairs[_turns(pairs[:, 1]) < MAX_COMPARED]


def _with_group(pairs: Rows, label: Rows) -> Rows:
    """(m,): a number for each later photo and group of an earlier one."""
    return pairs[:, 1] * len(label) + label[pairs[:, 0]]


def _turns(numbers: Rows) -> Rows:
    """(m,) → (m,): how many equal numbers are before each."""
    order = np.argsort(numbers, kind="stable")
    is_first = np.append(True, np.diff(numbers[order]) != 0)[: len(order)]
    place = np.arange(len(order))
    turns = np.empty_like(order)
    turns[order] = place - np.maximum.accumulate(np.where(is_first, place, 0))
    return turns


class _Windows:
    """The hashes of all photos so far, window by window."""

    def __init__(self, codes: Codes) -> None:
        self._asked: dict[int, list[int]] = {}
        for of_a, of_b in COMPARISONS:
            self._asked.setdefault(of_b, []).append(of_a)
        self._indexes = {window: HashIndex(1) for window in self._asked}
        self._add(codes)

    def add(self, rows: Rows, codes: Codes) -> Rows:
        """Add the next rows' (n, windows); return those that look like one of them or one before.

        (m, 2): an earlier row and one of `rows`, the most alike first.
        """
        self._add(codes)
        either = np.stack([codes, mirrored_codes(codes)])
        parts = [
            _near(self._indexes[of_b], either[:, :, of_a], rows)
            for of_b, of_a in self._asked.items()
        ]
        earlier, later, bits = np.concatenate(parts, axis=1)
        order = np.lexsort((later, earlier, bits))
        earlier, later = earlier[order], later[order]
        _, chosen = np.unique(earlier * (rows[-1] + 1) + later, return_index=True)
        return np.column_stack([earlier, later])[np.sort(chosen)]

    def _add(self, codes: Codes) -> None:
        by_window = np.ascontiguousarray(codes.T)
        for window, index in self._indexes.items():
            index.add(by_window[window, :, np.newaxis])


def _near(index: HashIndex, asked: Codes, rows: Rows) -> Rows:
    """(2, rows, windows) → (3, m): earlier row, later row, bits in which windows differ."""
    near = index.near(asked.reshape(-1, 1), MAX_BITS)
    later = np.tile(np.repeat(rows, asked.shape[2]), 2)[near.queries]
    return np.stack([near.rows, later, near.bits])[:, near.rows < later]
