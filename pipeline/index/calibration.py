"""Calibration: how far from its nearest neighbor a photo of the catalog usually is.

A distance means nothing by itself: engines differ in scale by orders of magnitude. So the index is
queried with photos of the catalog, each as if it were new, and the distances to their nearest
neighbors are kept with the build. A distance is then stated as the percentage of these that are
smaller (a conformal p-value, inverted: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random
World, §2.3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged, parse_json, write_json
from pipeline.index.base import F64Vector, Ids, Mask, VectorIndex
from pipeline.index.builds import CALIBRATION_FILE, Build, RowItems

MAX_QUERIES = 1000  # photos: their 99th percentile is then known to about 0.3
MIN_CATEGORY_PHOTOS = 50
"""With fewer photos a category is judged by the distances of all categories together."""
MIN_HELD_OUT = 30  # photos; with fewer, photos that the model was trained on are queries too
QUERY_BLOCK = 64  # photos searched with at a time
FIRST_NEIGHBORS = 8  # rows searched for at first
_NO_DISTANCES = np.empty(0, np.float64)


@dataclass(frozen=True)
class Calibration:
    """Distances from photos of the catalog to the nearest photo of another item."""

    by_category: Mapping[str, F64Vector]
    """Category of the photo searched with → its distances, ascending."""

    def percentile(self, distance: float, category: str) -> float | None:
        """Return which percentage of the photos have a nearer neighbor than `distance`.

        Of the photos by which the neighbor's category is judged (`reference`). None where there
        was no other item to find.
        """
        distances = self.reference(category)
        below = float(np.searchsorted(distances, distance, side="left"))
        return 100.0 * below / len(distances) if len(distances) else None

    def limit(self, percentile: float, category: str | None = None) -> float | None:
        """Return the distance beyond which `self.percentile` is above `percentile`.

        So a neighbor of that category is no good match exactly if its distance is greater. With
        None, of a category that has too few photos of its own. None is returned where no distance
        is too far: `calibration.limit(99, "Watches")`.
        """
        distances = self.distances if category is None else self.reference(category)
        count = len(distances)
        is_beyond = 100.0 * np.arange(count + 1) / max(count, 1) > percentile
        return float(distances[np.argmax(is_beyond) - 1]) if is_beyond.any() else None

    def category_limits(self, percentile: float) -> dict[str, float | None]:
        """Return `limit` of each category that is judged by its own photos; others share one."""
        return {
            name: self.limit(percentile, name)
            for name, distances in self.by_category.items()
            if len(distances) >= MIN_CATEGORY_PHOTOS
        }

    @cached_property
    def distances(self) -> F64Vector:
        """Those of all categories, ascending."""
        return np.sort(np.concatenate([_NO_DISTANCES, *self.by_category.values()]))

    def reference(self, category: str) -> F64Vector:
        """Return the distances by which a neighbor of this category is judged, ascending.

        Those of its own photos if there are `MIN_CATEGORY_PHOTOS`, else those of all photos.
        """
        distances = self.by_category.get(category, _NO_DISTANCES)
        return distances if len(distances) >= MIN_CATEGORY_PHOTOS else self.distances

    def write(self, folder: Path) -> None:
        """Write it into a build's folder."""
        distances = {name: values.tolist() for name, values in self.by_category.items()}
        write_json(folder / CALIBRATION_FILE, {"distances": distances})


def read_calibration(build: Build) -> Calibration:
    """Read what `Calibration.write` wrote into a build's folder.

    Raises:
        DamagedArtifactError: the file is missing or has changed.
    """
    file = build.path / CALIBRATION_FILE
    content = parse_json(file, build.read_file(CALIBRATION_FILE))
    try:
        distances = content["distances"].items()
        return Calibration({name: np.array(values, np.float64) for name, values in distances})
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise damaged(file, "it holds no distances") from error


def choose_queries(
    photos: npt.NDArray[np.uint8],
    trained_on: npt.NDArray[np.uint8],
    *,
    max_queries: int = MAX_QUERIES,
    min_held_out: int = MIN_HELD_OUT,
) -> list[int]:
    """(rows, 32) hashes of a build's photos → the rows to search with, ascending.

    Photos that the model was trained on, (n, 32) `trained_on`, are no queries if enough others
    are there: they may lie nearer to each other than new photos do.
    """
    hashes = [photo.tobytes() for photo in photos]
    trained = {photo.tobytes() for photo in trained_on}
    held_out = [row for row, photo in enumerate(hashes) if photo not in trained]
    rows = held_out if len(held_out) >= min_held_out else range(len(hashes))
    # Of the lowest hashes: a sample that stays nearly the same when photos come and go.
    return sorted(sorted(rows, key=hashes.__getitem__)[:max_queries])


def calibrate(
    index: VectorIndex,
    row_items: RowItems,
    rows: Sequence[int],
    categories: Sequence[str],
    *,
    query_block: int = QUERY_BLOCK,
    first_neighbors: int = FIRST_NEIGHBORS,
) -> Calibration:
    """Search with photos of a build, each as if it were new: its own items are not found.

    `rows` are those photos' rows, `categories` what each is filed under.
    """
    category = dict(zip(rows, categories, strict=True))
    distances: dict[str, list[float]] = defaultdict(list)
    for start in range(0, len(rows), query_block):
        block = np.array(rows[start : start + query_block])
        for row, distance in _nearest(index, row_items, block, first_neighbors):
            distances[category[row]].append(distance)
    return Calibration({name: np.sort(values) for name, values in sorted(distances.items())})


def _nearest(
    index: VectorIndex, row_items: RowItems, rows: Ids, neighbors: int
) -> Iterator[tuple[int, float]]:
    """Yield each row with its distance to the nearest row that shows none of its items."""
    while len(rows):
        result = index.search(index.vectors(rows), neighbors)
        unanswered = []
        for i, row in enumerate(rows.tolist()):
            is_other = ~_share_item(row_items, row, result.rows[i])
            if is_other.any():
                yield row, float(result.distances[i, np.argmax(is_other)])
            elif neighbors < index.rows:
                unanswered.append(row)
        rows, neighbors = np.array(unanswered, np.int64), 8 * neighbors


def _share_item(row_items: RowItems, row: int, others: Ids) -> Mask:
    """(n,): whether each of these rows shows an item that `row` shows too."""
    items = row_items.ids[row_items.expand_rows(np.array([row]))[0], 1]
    entries, counts = row_items.expand_rows(others)
    is_shared = np.isin(row_items.ids[entries, 1], items)
    # Every row shows an item, so no segment is empty.
    return np.logical_or.reduceat(is_shared, np.cumsum(counts) - counts)
