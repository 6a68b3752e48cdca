"""Perceptual hashes → clusters of near-identical photos, exactly, without comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.audit.measures import Measures

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
_BLOCK = 1 << 16  # pairs compared at a time
# An odd number's multiples spread over all 64 bits; which one does not matter.
_ODD = 0x9E3779B97F4A7C15


def clusters(measures: Measures, distance: int, colour: int) -> list[I64]:
    """Link photos whose hashes and colours are near; return the rows of each cluster of several.

    The largest cluster comes first, and rows are ascending. Two photos of a cluster are linked by
    a chain of photos: they need not be near each other themselves.
    """
    # Equal ones are near: one of them stands for all in the search, however many there are.
    looks = np.hstack((measures["hash"].view(np.uint8), measures["colour"]))
    rows = looks.view(f"V{looks.shape[1]}").ravel()
    _, firsts, kind = np.unique(rows, return_index=True, return_inverse=True)
    kinds = measures[firsts]
    root = list(range(len(kinds)))

    def find(one: int) -> int:
        while root[one] != one:
            root[one] = one = root[root[one]]
        return one

    colours = kinds["colour"].astype(np.int16)
    for a, b in near_pairs(kinds["hash"], distance):
        alike = np.abs(colours[a] - colours[b]).max(axis=1, initial=0) <= colour
        for one, other in zip(a[alike].tolist(), b[alike].tolist(), strict=True):
            root[find(one)] = find(other)
    label = np.array([find(one) for one in root], np.int64)[kind]
    several = np.flatnonzero(np.bincount(label)[label] > 1)
    order = several[np.argsort(label[several], kind="stable")]
    found = np.split(order, np.flatnonzero(np.diff(label[order])) + 1) if len(order) else []
    return sorted(found, key=lambda rows: (-len(rows), rows[0]))


def near_pairs(hashes: U64, distance: int) -> Iterator[tuple[I64, I64]]:
    """Yield blocks of all pairs a < b of rows that differ in at most `distance` bits.

    `hashes` are (n, words); a pair may come more than once. Of `distance` + 1 bands of bits at
    least one is equal in such a pair, so only rows that have a band in common are compared.
    Memory is that of a few numbers a row.
    """
    width = hashes.shape[1] * 64
    weights = np.uint64(_ODD) * np.arange(1, 2 * hashes.shape[1], 2, dtype=np.uint64)
    for band in range(distance + 1):
        # Every so-manyth bit: neighbouring bits of a hash say much the same.
        mask = np.packbits(np.arange(width) % (distance + 1) == band).view(np.uint64)
        # Unequal bands may meet in one sum, which costs a comparison; equal ones always do.
        keys = (hashes & mask) @ weights
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        step, at = 1, np.arange(len(keys))
        while True:
            at = at[at + step < len(keys)]
            at = at[keys[at] == keys[at + step]]
            if not len(at):
                break
            for start in range(0, len(at), _BLOCK):
                block = at[start : start + _BLOCK]
                a, b = order[block], order[block + step]
                near = np.bitwise_count(hashes[a] ^ hashes[b]).sum(axis=1) <= distance
                yield a[near], b[near]
            step += 1
