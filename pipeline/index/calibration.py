"""Calibration: how far from its nearest neighbor a photo of the catalog usually is.

A distance means nothing by itself: engines differ in scale by orders of magnitude. So the index is
queried with photos of the catalog, each as if it were new, and the distances to their nearest
neighbors are kept with the build. A distance is then stated as the percentage of these that are
smaller (a conformal p-value, inverted: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random
World, §2.3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.artifacts import damaged, parse_json, write_json
from pipeline.embeddings.arrays import Hashes, find_rows, sort_keys, to_hashes
from pipeline.index.base import F64Vector, Ids, Mask
from pipeline.index.builds import CALIBRATION_FILE, Build
from pipeline.index.photo_search import PhotoSearch

MAX_QUERIES = 1000  # photos: their 99th percentile is then known to about 0.3
MIN_CATEGORY_PHOTOS = 50
"""With fewer photos a category is judged by the distances of all categories together."""
MIN_HELD_OUT = 30  # photos; with fewer, photos that the model was trained on are queries too
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

    @classmethod
    def of(cls, queries: Iterable[NearestOther]) -> Calibration:
        """Sort the distances by category."""
        distances: dict[str, list[float]] = defaultdict(list)
        for query in queries:
            distances[query.category].append(query.distance)
        return cls({name: np.sort(values) for name, values in sorted(distances.items())})


class NearestOther(NamedTuple):
    """A photo of the catalog that was searched with, and what it found."""

    photo: str
    """Its SHA-256, in hexadecimal digits."""
    category: str
    """What it is filed under: the category of the first item that shows it."""
    distance: float
    """From the nearest photo that none of its items shows."""
    neighbor: str
    """SHA-256 of that one."""


def write_calibration(folder: Path, queries: Sequence[NearestOther]) -> None:
    """Write into a build's folder what its photos found."""
    write_json(folder / CALIBRATION_FILE, {"queries": queries})


def read_calibration(build: Build) -> Calibration:
    """Read the calibration of a build; raises as `read_queries` does."""
    return Calibration.of(read_queries(build))


def read_queries(build: Build) -> list[NearestOther]:
    """Read what `write_calibration` wrote into a build's folder.

    Raises:
        DamagedArtifactError: the file is missing or has changed.
    """
    file = build.path / CALIBRATION_FILE
    content = parse_json(file, build.read_file(CALIBRATION_FILE))
    try:
        return [
            NearestOther(str(photo), str(category), float(distance), str(neighbor))
            for photo, category, distance, neighbor in content["queries"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(file, "it holds no distances") from error


def choose_queries(
    photos: Hashes,
    trained_on: Hashes,
    *,
    max_queries: int = MAX_QUERIES,
    min_held_out: int = MIN_HELD_OUT,
) -> Ids:
    """(rows, 32) hashes of a build's photos → the rows to search with, ascending.

    Photos that the model was trained on, (n, 32) `trained_on`, are no queries if enough others
    are there: they may lie nearer to each other than new photos do.
    """
    is_held_out = np.ones(len(photos), np.bool_)
    trained = find_rows(photos, trained_on)
    is_held_out[trained[trained >= 0]] = False
    is_enough = np.count_nonzero(is_held_out) >= min_held_out
    rows = np.flatnonzero(is_held_out) if is_enough else np.arange(len(photos))
    # Of the lowest hashes: a sample that stays nearly the same when photos come and go.
    if len(rows) > max_queries:
        keys = sort_keys(photos[rows])
        rows = rows[keys <= np.partition(keys, max_queries - 1)[max_queries - 1]]
        rows = np.array(sorted(rows.tolist(), key=lambda row: photos[row].tobytes()))
    return np.sort(rows[:max_queries])


def calibrate(
    search: PhotoSearch,
    photos: Hashes,
    rows: Ids,
    categories: Sequence[str],
    known: Iterable[NearestOther] = (),
    is_changed: Mask | None = None,
) -> list[NearestOther]:
    """Search with some photos of a build, and return what each finds, if there is anything.

    `rows` are those photos' rows, `categories` what each is filed under, `photos` the (n, 32)
    hashes of all rows. What photos of an earlier build found is `known`: it still holds where
    neither the photo's row nor its neighbor's are among the (n,) rows that have changed since, and
    no row that has changed is nearer.
    """
    changed = np.arange(len(photos)) if is_changed is None else np.flatnonzero(is_changed)
    found = {
        row: (distance, neighbor)
        for row, distance, neighbor in _still_near(photos, list(known), changed)
    }
    still = np.array([row for row in rows.tolist() if row in found], np.int64)
    for row, nearer in search.nearest(still, changed).items():
        found[row] = min(found[row], nearer)
    found |= search.nearest(np.array([row for row in rows.tolist() if row not in found], np.int64))
    return [
        NearestOther(_hex(photos, row), category, found[row][0], _hex(photos, found[row][1]))
        for row, category in zip(rows.tolist(), categories, strict=True)
        if row in found
    ]


def _still_near(
    photos: Hashes, known: Sequence[NearestOther], changed: Ids
) -> Iterator[tuple[int, float, int]]:
    """Yield (row, distance, neighbor's row) of what is known of rows that have not changed."""
    is_changed = np.zeros(len(photos), np.bool_)
    is_changed[changed] = True
    at = find_rows(photos, _hashes([query.photo for query in known]))
    neighbors = find_rows(photos, _hashes([query.neighbor for query in known]))
    for query, row, neighbor in zip(known, at.tolist(), neighbors.tolist(), strict=True):
        if min(row, neighbor) >= 0 and not (is_changed[row] or is_changed[neighbor]):
            yield row, query.distance, neighbor


def _hashes(photos: Sequence[str]) -> Hashes:
    return to_hashes(bytes.fromhex("".join(photos)))


def _hex(photos: Hashes, row: int) -> str:
    return bytes(photos[row]).hex()
