"""Perceptual hashes → clusters of near-identical photos, exactly."""

from __future__ import annotations

import numpy as np

from pipeline.duplicates.hamming import MAX_PAIRS, Rows, near_pairs
from pipeline.duplicates.links import groups, link
from pipeline.maintenance.audit.measures import Measures


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
            link(label, a[is_near], b[is_near])
    return groups(label[group])
