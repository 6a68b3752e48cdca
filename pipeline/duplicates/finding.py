"""New photos → links to the near-duplicates among all photos.

Links join photos into groups, and are as few as can do that: of a thousand copies of one picture a
thousand links are kept, not half a million. So whether two photos of a group are near-duplicates
of each other, or only by others between them, is told by `similarity`, when it is asked.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.duplicates.hamming import Rows, near_hashes
from pipeline.duplicates.links import link
from pipeline.duplicates.signature import Codes, Signatures, mirrored_codes
from pipeline.duplicates.similarity import (
    COMPARISONS,
    MAX_BITS,
    MIN_SIMILARITY,
    similarity,
)

BLOCK = 64  # photos whose candidates are looked for at a time
MAX_COMPARED = 64  # photos that a new one is laid on at most: those whose windows are most alike


def find_links(
    signatures: Signatures, first: int, label: Rows, advance: Callable[[int], object]
) -> Rows:
    """Compare the photos from row `first` on with all before them; return links (m, 2), a < b.

    `label` tells which rows hang together, (n,); it is brought up to date. Chains count: three
    photos of which the middle one is like both others hang together. All windows of all photos are
    compared, so what is found does not depend on when a photo came; unless more than `MAX_COMPARED`
    are so alike that hashes do not tell them apart.
    """
    found = [np.empty((0, 2), np.int64)]
    for start in range(first, len(label), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(label)))
        found.extend(_linked(signatures, _candidates(signatures, rows), label))
        advance(len(rows))
    return np.concatenate(found)


def _linked(signatures: Signatures, pairs: Rows, label: Rows) -> list[Rows]:
    """Link the near-duplicates among candidate pairs, the likeliest pair first.

    In each round a photo is compared with one of each group that it is no part of yet.
    """
    found = []
    pairs = _likeliest(pairs, label)
    while len(pairs := pairs[label[pairs[:, 0]] != label[pairs[:, 1]]]):
        chosen = np.unique(_with_group(pairs, label), return_index=True)[1]
        a, b = pairs[chosen].T
        scores = similarity(signatures.take(a), signatures.take(b))
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


def _candidates(signatures: Signatures, rows: Rows) -> Rows:
    """(m, 2): (an earlier row, one of `rows`), whose windows look alike; the most alike first."""
    codes = signatures.codes[: rows[-1] + 1]
    asked = np.stack([codes[rows], mirrored_codes(codes[rows])])
    by_window: dict[int, list[int]] = {}
    for of_a, of_b in COMPARISONS:
        by_window.setdefault(of_b, []).append(of_a)
    parts = [_near(asked[:, :, of_a], codes[:, of_b], rows) for of_b, of_a in by_window.items()]
    earlier, later, bits = np.concatenate(parts, axis=1)
    order = np.lexsort((later, earlier, bits))
    pairs = np.column_stack([earlier, later])[order]
    _, chosen = np.unique(earlier[order] * len(codes) + later[order], return_index=True)
    return pairs[np.sort(chosen)]


def _near(asked: Codes, codes: Codes, rows: Rows) -> Rows:
    """(2, rows, windows), (n,) → (3, m): earlier row, later row, bits in which windows differ."""
    near = near_hashes(asked.reshape(-1, 1), codes[:, np.newaxis], MAX_BITS)
    later = np.tile(np.repeat(rows, asked.shape[2]), 2)[near.queries]
    return np.stack([near.rows, later, near.bits])[:, near.rows < later]
