"""Perceptual hashes → clusters of near-identical photos, exactly, without comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.maintenance.audit.measures import Measures

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
_BLOCK = 1 << 16  # pairs compared at a time
# An odd number's multiples spread over all 64 bits; which one does not matter.
_ODD = 0x9E3779B97F4A7C15


def clusters(measures: Measures, distance: int, color: int) -> list[I64]:
    """Link photos whose hashes and colors are near; return the rows of each cluster of several.

    The largest cluster comes first, and rows are ascending. Two photos of a cluster are linked by
    a chain of photos: they need not be near each other themselves.
    """
    # Equal ones are near: one of them stands for all in the search, however many there are.
    looks = np.hstack((measures["hash"].view(np.uint8), measures["color"]))
    rows = looks.view(f"V{looks.shape[1]}").ravel()
    _, firsts, kind = np.unique(rows, return_index=True, return_inverse=True)
    kinds = measures[firsts]
    colors = kinds["color"].astype(np.int16)
    root = np.arange(len(kinds))
    for a, b in near_pairs(kinds["hash"], distance, root):
        alike = np.abs(colors[a] - colors[b]).max(axis=1, initial=0) <= color
        _link(root, a[alike], b[alike])
    label = root[kind]
    several = np.flatnonzero(np.bincount(label)[label] > 1)
    order = several[np.argsort(label[several], kind="stable")]
    found = np.split(order, np.flatnonzero(np.diff(label[order])) + 1) if len(order) else []
    return sorted(found, key=lambda rows: (-len(rows), rows[0]))


def near_pairs(hashes: U64, distance: int, root: I64 | None = None) -> Iterator[tuple[I64, I64]]:
    """Yield blocks of all pairs a < b of rows that differ in at most `distance` bits.

    `hashes` are (n, words); a pair may come more than once. `root` names the cluster of each row:
    pairs within one are left out, and whoever takes the blocks may join clusters between them. Of
    `distance` + 1 bands of bits at least one is equal in a near pair, so only rows that have a
    band in common are compared. Memory is that of a few numbers a row.
    """
    root = np.arange(len(hashes)) if root is None else root
    width = hashes.shape[1] * 64
    weights = np.uint64(_ODD) * np.arange(1, 2 * hashes.shape[1], 2, dtype=np.uint64)
    for band in range(distance + 1):
        # Every so-manyth bit: neighboring bits of a hash say much the same.
        mask = np.packbits(np.arange(width) % (distance + 1) == band).view(np.uint64)
        # Unequal bands may meet in one sum, which costs a comparison; equal ones always do.
        for a, b in _pairs_apart((hashes & mask) @ weights, root):
            near = np.bitwise_count(hashes[a] ^ hashes[b]).sum(axis=1) <= distance
            yield np.minimum(a, b)[near], np.maximum(a, b)[near]


def _pairs_apart(keys: U64, root: I64) -> Iterator[tuple[I64, I64]]:
    """Yield blocks of all pairs of rows of equal keys whose clusters are not one yet.

    Every so many pairs the rows that have met all others of their key are dropped, and the rest is
    sorted anew by what are clusters then: rows that were all joined meet no more.
    """
    rows = np.arange(len(keys))
    while len(rows):
        rows = rows[np.lexsort((root[rows], keys[rows]))]
        new_key = np.diff(keys[rows]) != 0
        # A row meets those of its key that come after its own cluster.
        after = _ends(new_key | (np.diff(root[rows]) != 0))
        met = _ends(new_key) - after
        total = np.cumsum(met)
        done = int(np.searchsorted(total, max(_BLOCK, len(rows)))) + 1
        for start in range(0, total[:done][-1], _BLOCK):
            pair = np.arange(start, min(start + _BLOCK, total[:done][-1]))
            one = np.searchsorted(total, pair, side="right")
            a, b = rows[one], rows[after[one] + pair - (total - met)[one]]
            apart = root[a] != root[b]
            yield a[apart], b[apart]
        rows = rows[done:]


def _ends(changes: npt.NDArray[np.bool_]) -> I64:
    """Where a row's run of equal ones ends; `changes` are where the next row is another."""
    ends = np.append(np.flatnonzero(changes) + 1, len(changes) + 1)
    return np.repeat(ends, np.diff(ends, prepend=0))


def _link(root: I64, a: I64, b: I64) -> None:
    """Join the clusters of each pair; a cluster's root is the first of its rows."""
    while (apart := root[a] != root[b]).any():
        a, b = a[apart], b[apart]
        np.minimum.at(root, np.maximum(root[a], root[b]), np.minimum(root[a], root[b]))
        while (root != root[root]).any():
            root[:] = root[root]
