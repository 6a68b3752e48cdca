"""Arrays that belong to photos: the row of a photo by its SHA-256, and matrices read from files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged

F32Matrix = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint8]
"""(n, 32) uint8: the SHA-256 of n photos."""


def parse_matrix(path: Path, data: bytes, dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Return the matrix of that type in what was read from a `.npy` file, without a copy of it.

    Raises:
        DamagedArtifactError: the file holds something else.
    """
    head = io.BytesIO(data)
    try:
        np.lib.format.read_magic(head)
        shape, is_fortran, stored = np.lib.format.read_array_header_1_0(head)
    except (ValueError, EOFError) as error:
        raise damaged(path, "it is not an array") from error
    if stored != dtype or len(shape) != 2:
        raise damaged(path, "it has another shape or type")
    try:
        return np.ndarray(shape, stored, data, head.tell(), order="F" if is_fortran else "C")
    except TypeError as error:
        raise damaged(path, "it is truncated") from error


def to_hashes(photos: bytes) -> Hashes:
    """SHA-256 of photos, one after another → (n, 32) uint8: `to_hashes(b"".join(photos))`."""
    return np.frombuffer(photos, np.uint8).reshape(-1, 32)


def sort_keys(photos: Hashes) -> npt.NDArray[np.uint64]:
    """(n, 32) → (n,): the first 8 bytes of each hash, in the order of hashes."""
    return np.ascontiguousarray(photos[:, :8]).view(">u8").ravel().astype(np.uint64)


class PhotoIndex:
    """Finds photos by their SHA-256 among many."""

    def __init__(self, photos: Hashes) -> None:
        """Take (n, 32) hashes, each of another photo."""
        self._photos = photos
        keys = sort_keys(photos)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def rows(self, wanted: Hashes) -> Ids:
        """(m, 32) → (m,): the row of each wanted photo; -1 where it is not there."""
        found = np.full(len(wanted), -1, np.int64)
        keys = sort_keys(wanted)
        places = np.searchsorted(self._keys, keys)
        pending = np.arange(len(wanted))
        while True:  # a second round is for hashes that begin alike
            pending = pending[places[pending] < len(self._order)]
            pending = pending[self._keys[places[pending]] == keys[pending]]
            if not len(pending):
                return found
            rows = self._order[places[pending]]
            is_same = (self._photos[rows] == wanted[pending]).all(axis=1)
            found[pending[is_same]] = rows[is_same]
            pending = pending[~is_same]
            places[pending] += 1


def find_rows(photos: Hashes, wanted: Hashes) -> Ids:
    """Return the row of each of (m, 32) `wanted` among (n, 32) `photos`; -1 where it is not there.

    find_rows(photos, photos[[4, 2]])  # [4, 2]
    """
    if len(wanted) >= len(photos):
        return PhotoIndex(photos).rows(wanted)
    if not len(wanted):
        return np.empty(0, np.int64)
    # Only those that begin alike are worth sorting; `np.isin` would sort all, which takes long.
    keys, wanted_keys = sort_keys(photos), np.sort(sort_keys(wanted))
    places = np.minimum(np.searchsorted(wanted_keys, keys), len(wanted_keys) - 1)
    near = np.flatnonzero(wanted_keys[places] == keys)
    rows = PhotoIndex(photos[near]).rows(wanted)
    return np.append(near, -1)[rows]
