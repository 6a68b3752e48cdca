"""Calibration: how far from its nearest neighbor a photo of the catalog usually is.

A distance means nothing by itself: engines differ in scale by orders of magnitude. So photos of the
catalog ask, each as if it were new, and what they find is kept with the build. A distance is then
told as the share of them that found something nearer (a conformal p-value, turned round: Vovk,
Gammerman, Shafer, Algorithmic Learning in a Random World, §2.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged, read_json, write_json
from pipeline.index.base import VectorIndex
from pipeline.index.builds import Build, Ids

Distances = npt.NDArray[np.float64]
FILE = "calibration.json"
_SAMPLE = 1000  # photos that ask: their 99th percentile is then known to about 0.3
MIN_CATEGORY_PHOTOS = 50  # photos of a category, for which it is judged by its own distances
_FEW = 30  # held-out photos, with fewer of which all photos ask
_BLOCK = 64  # photos that ask at a time
_NEAREST = 8  # rows that each asks for at first
_NONE = np.empty(0, np.float64)


@dataclass(frozen=True)
class Calibration:
    """Distances from photos of the catalog to the nearest photo of another item."""

    by_category: Mapping[str, Distances]
    """Category of the photo that asked → its distances, ascending."""

    def percentile(self, distance: float, category: str) -> float | None:
        """Return which percentage of the photos, of this category if there are enough, are nearer.

        None where nothing is known, because there was no other item to find.
        """
        known = self.reference(category)
        if not len(known):
            return None
        return 100.0 * float(np.searchsorted(known, distance, side="left")) / len(known)

    def reference(self, category: str) -> Distances:
        """Return what this category is judged by: its own distances if there are enough, or all."""
        own = self.by_category.get(category, _NONE)
        return own if len(own) >= MIN_CATEGORY_PHOTOS else self.distances

    @cached_property
    def distances(self) -> Distances:
        """All of them, ascending."""
        return np.sort(np.concatenate([_NONE, *self.by_category.values()]))

    def write(self, folder: Path) -> None:
        """Write it into a build's folder."""
        distances = {name: known.tolist() for name, known in self.by_category.items()}
        write_json(folder / FILE, {"distances": distances})


def read_calibration(folder: Path) -> Calibration:
    """Read what `Calibration.write` wrote.

    Raises:
        DamagedArtifactError: the file is missing or is something else.
    """
    content = read_json(folder / FILE)
    try:
        return Calibration(
            {name: np.array(known, np.float64) for name, known in content["distances"].items()}
        )
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise damaged(folder / FILE, "it holds no distances") from error


def choose(photos: npt.NDArray[np.uint8], seen: npt.NDArray[np.uint8]) -> list[int]:
    """(rows, 32) hashes of a build's photos → the rows of those that ask, ascending.

    Photos that the model was trained on, (n, 32) `seen`, do not ask: they may lie nearer to each
    other than what is new does.
    """
    hashes, trained_on = _texts(photos), set(_texts(seen))
    unseen = [row for row, photo in enumerate(hashes) if photo not in trained_on]
    rows = unseen if len(unseen) >= _FEW else range(len(hashes))
    # Of the lowest hashes: a sample that stays nearly the same when photos come and go.
    return sorted(sorted(rows, key=hashes.__getitem__)[:_SAMPLE])


def calibrate(
    index: VectorIndex, build: Build, asking: Sequence[int], categories: Sequence[str]
) -> Calibration:
    """Let photos of a build ask its index, each as if it were new: its own items are not found.

    `asking` are their rows, `categories` what each is filed under.
    """
    category = dict(zip(asking, categories, strict=True))
    distances: dict[str, list[float]] = {}
    for row, distance in _nearest(index, build, asking):
        distances.setdefault(category[row], []).append(distance)
    return Calibration({name: np.sort(found) for name, found in sorted(distances.items())})


def _texts(photos: npt.NDArray[np.uint8]) -> list[bytes]:
    return [row.tobytes() for row in photos]


def _nearest(
    index: VectorIndex, build: Build, asking: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """Yield each row with its distance to the nearest row that shows none of its items."""
    for start in range(0, len(asking), _BLOCK):
        rows = np.array(asking[start : start + _BLOCK])
        count = _NEAREST
        while len(rows):
            found = index.search(index.vectors(rows), count)
            left = []
            for row, distances, neighbors in zip(
                rows.tolist(), found.distances, found.rows, strict=True
            ):
                other = ~_shares_item(build, row, neighbors)
                if other.any():
                    yield row, float(distances[np.argmax(other)])
                elif count < index.rows:
                    left.append(row)
            rows, count = np.array(left, np.int64), 8 * count


def _shares_item(build: Build, row: int, others: Ids) -> npt.NDArray[np.bool_]:
    """(n,): whether each of these rows shows an item that `row` shows too."""
    own = build.ids[build.expand_rows(np.array([row]))[0], 1]
    entries, times = build.expand_rows(others)
    shared = np.isin(build.ids[entries, 1], own)
    ends = np.cumsum(times)
    counts = np.concatenate([[0], np.cumsum(shared)])
    result: npt.NDArray[np.bool_] = counts[ends] - counts[ends - times] > 0
    return result
