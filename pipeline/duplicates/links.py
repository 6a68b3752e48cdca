"""Links between rows → the rows that hang together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def link(label: Rows, a: Rows, b: Rows) -> None:
    """Give the rows of each pair, and all that are linked to them, one label; in place.

    label = np.arange(4); link(label, np.array([0]), np.array([3]))  # [0, 1, 2, 0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(a), bool), (label[a], label[b])), (len(label), len(label)))
    label[:] = connected_components(links, directed=False)[1][label]


def groups(label: Rows) -> list[Rows]:
    """Return the rows of each label that several have, ascending; the largest group first."""
    rows = np.flatnonzero(np.bincount(label)[label] > 1)
    rows = rows[np.argsort(label[rows], kind="stable")]
    found = np.split(rows, np.flatnonzero(np.diff(label[rows])) + 1) if len(rows) else []
    return sorted(found, key=lambda rows: (-len(rows), rows[0]))
