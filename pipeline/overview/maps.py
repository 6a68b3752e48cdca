"""Maps: each engine's vectors in the plane, near what they are near in space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.progress import SILENT, Progress
from pipeline.search import Searcher

F32Matrix = npt.NDArray[np.float32]
F64Matrix = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

_MOST = 1000  # photos on a map: more cannot be told apart, and take their time
_COMPONENTS = 50  # of a vector that t-SNE looks at
_PERPLEXITY = 30
_FEW = 10  # distinct vectors, with fewer of which there is no structure to look for


@dataclass(frozen=True)
class Point:
    """A photo on the maps."""

    photo: Path | None
    name: str
    label: str | None


@dataclass(frozen=True)
class Maps:
    """The same photos, as each engine arranges them."""

    points: Sequence[Point]
    positions: Mapping[str, F64Matrix]
    """Engine → (photos, 2) float64 in 0..1."""
    photos: int
    """How many photos all engines have, of which the points are a sample."""


def draw_maps(
    searchers: Sequence[Searcher],
    labels: Mapping[int, str],
    seed: int,
    progress: Progress = SILENT,
) -> Maps:
    """Arrange photos that all engines have, up to 1,000 chosen at random."""
    catalogue = searchers[0].catalogue
    rows_of = [{row.tobytes(): at for at, row in enumerate(s.build.photos)} for s in searchers]
    common = [photo for photo in rows_of[0] if all(photo in rows for rows in rows_of)]
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(common), min(_MOST, len(common)), replace=False))
    photos = [common[at] for at in chosen.tolist()]
    points = []
    build = searchers[0].build
    first = np.searchsorted(build.ids[:, 0], [rows_of[0][photo] for photo in photos])
    for photo, item in zip(photos, build.ids[first, 1].tolist(), strict=True):
        record = catalogue.item(item)
        name = (record.name or record.key) if record else ""
        points.append(Point(catalogue.photo_path(photo, item), name, labels.get(item)))
    positions = {}
    for searcher, rows in zip(searchers, rows_of, strict=True):
        with progress.task(f"{searcher.engine}: drawing a map", len(photos), "photos") as advance:
            vectors = searcher.index.vectors(np.array([rows[photo] for photo in photos], np.int64))
            positions[searcher.engine] = arrange(vectors, seed)
            advance(len(photos))
    return Maps(points, positions, len(common))


def arrange(vectors: F32Matrix, seed: int) -> F64Matrix:
    """(n, dim) float32 → (n, 2) float64 in 0..1: near in space, near in the plane.

    By t-SNE (van der Maaten and Hinton, Visualizing data using t-SNE, JMLR 9, 2008) of the first 50
    principal components; with fewer than 10 distinct vectors the first two components are the map.
    """
    distinct, place = np.unique(vectors, axis=0, return_inverse=True)
    components = _components(distinct.astype(np.float64))
    if len(distinct) < _FEW:
        plane = components[:, :2]
    else:
        from sklearn.manifold import TSNE

        perplexity = min(_PERPLEXITY, (len(distinct) - 1) / 3)
        # One thread: sums over several come in another order each time.
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
        plane = tsne.fit_transform(components).astype(np.float64)
    low, high = plane.min(axis=0), plane.max(axis=0)
    span = float((high - low).max())
    middle = (low + high) / 2
    scaled: F64Matrix = 0.5 + (plane - middle) / (span if span > 0 else 1.0)
    return scaled[place.ravel()]


def _components(vectors: F64Matrix) -> F64Matrix:
    """(n, dim) → (n, 2 to 50): the principal components, scaled so that the first varies by 1."""
    centred = vectors - vectors.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    count = max(2, min(_COMPONENTS, int((sizes > 1e-7 * sizes[0]).sum())))
    spread = sizes[0] / np.sqrt(len(vectors))
    components = (left * sizes)[:, :count] / (spread if spread > 0 else 1.0)
    return np.pad(components, ((0, 0), (0, count - components.shape[1])))
