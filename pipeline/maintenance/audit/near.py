"""Perceptual hashes → clusters of near-identical photos, exactly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.index.vectors import import_faiss
from pipeline.maintenance.audit.measures import Measures

Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

BLOCK = 64  # rows searched at a time: their pairs fit into memory though all rows be near
MAX_PAIRS = 1 << 16  # pairs whose colors are compared at a time


def clusters(
    measures: Measures, distance: int, color: int, max_pairs: int = MAX_PAIRS
) -> list[Rows]:
    """Return the rows of each cluster of several near-identical photos, the largest first.

        clusters(measures, distance=12, color=8)

    Photos are linked if their hashes differ in at most `distance` bits and their colors in at most
    `color` levels; a cluster is a connected component of these links, so two of its photos need not
    be near each other themselves. Rows are ascending.
    """
    # Photos with equal measures are near: one of them stands for all in the search.
    content = np.hstack((measures["hash"].view(np.uint8), measures["color"]))
    keys = content.view(f"V{content.shape[1]}").ravel()
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    distinct = measures[first]
    colors = distinct["color"].astype(np.int16)
    label = np.arange(len(distinct))
    for a, b in near_pairs(distinct["hash"], distance, label, max_pairs):
        is_near = np.abs(colors[a] - colors[b]).max(axis=1, initial=0) <= color
        if is_near.any():
            _link(label, a[is_near], b[is_near])
    label = label[group]
    rows = np.flatnonzero(np.bincount(label)[label] > 1)
    rows = rows[np.argsort(label[rows], kind="stable")]
    found = np.split(rows, np.flatnonzero(np.diff(label[rows])) + 1) if len(rows) else []
    return sorted(found, key=lambda rows: (-len(rows), rows[0]))


def near_pairs(
    hashes: Hashes, distance: int, label: Rows | None = None, max_pairs: int = MAX_PAIRS
) -> Iterator[tuple[Rows, Rows]]:
    """Yield all pairs of rows a < b that differ in at most `distance` bits, in arrays.

    `hashes` are (n, words) uint64; an array holds at most `max_pairs` pairs. Pairs of equal `label`
    are left out; labels may be changed between two arrays.

    All pairs are compared, whatever the hashes are: 100,000 photos take 13 seconds on one core and
    a million 22 minutes, which is less than it takes to decode them.
    """
    faiss = import_faiss()
    codes = hashes.view(np.uint8)
    label = np.arange(len(codes)) if label is None else label
    for start in range(0, len(codes), BLOCK):
        index = faiss.IndexBinaryFlat(8 * codes.shape[1])
        index.add(codes[start:])
        block = codes[start : start + BLOCK]
        ends, _, found = index.range_search(block, distance + 1)  # FAISS: nearer than the radius
        a = np.repeat(np.arange(len(block)), np.diff(ends.astype(np.int64)))
        a, b = a[found > a] + start, found[found > a] + start
        for first in range(0, len(a), max_pairs):
            part = slice(first, first + max_pairs)
            is_apart = label[a[part]] != label[b[part]]
            yield a[part][is_apart], b[part][is_apart]


def _link(label: Rows, a: Rows, b: Rows) -> None:
    """Give the rows of each pair, and all that are linked to them, one label; in place."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(a), bool), (label[a], label[b])), (len(label), len(label)))
    label[:] = connected_components(links, directed=False)[1][label]
