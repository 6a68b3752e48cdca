"""Maps: each engine's vectors in the plane; what is near in space is near on the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.index import pca
from pipeline.progress import SILENT, Progress
from pipeline.report.photo_sample import SampledPhoto, sample_photos
from pipeline.search.engine_searcher import EngineSearcher

F64Matrix = npt.NDArray[np.float64]

MAX_PHOTOS = 1000  # on a map: more cannot be told apart, and take their time
MAX_COMPONENTS = 50  # of a vector that t-SNE looks at
PERPLEXITY = 30
MIN_VECTORS = 10  # distinct ones; of fewer, t-SNE has no structure to show


@dataclass(frozen=True)
class Maps:
    """The same photos, as each engine arranges them."""

    photos: Sequence[SampledPhoto]
    labels: Sequence[str | None]  # of each photo's item
    positions: Mapping[str, F64Matrix]  # engine → (photos, 2) float64 in 0..1
    common: int  # photos that all engines have; if that is more than `photos`, those are a sample


def draw_maps(
    searchers: Sequence[EngineSearcher],
    labels: Mapping[int, str],
    seed: int,
    progress: Progress = SILENT,
    max_photos: int = MAX_PHOTOS,
) -> Maps:
    """Arrange photos that all engines have; of more than `max_photos`, a random sample."""
    sample = sample_photos(searchers, max_photos, seed)
    count = len(sample.photos)
    positions = {}
    for searcher, rows in zip(searchers, sample.rows, strict=True):
        with progress.task(f"{searcher.name}: drawing a map", count, "photos") as advance:
            if count:
                positions[searcher.name] = arrange(searcher.index.vectors(rows), seed)
            advance(count)
    item_labels = [labels.get(photo.item) for photo in sample.photos]
    return Maps(sample.photos, item_labels, positions, sample.common)


def arrange(vectors: npt.NDArray[np.float32], seed: int) -> F64Matrix:
    """(n, dim) float32 → (n, 2) float64 in 0..1: near in space, near in the plane.

    By t-SNE (van der Maaten and Hinton, Visualizing data using t-SNE, JMLR 9, 2008) of the first 50
    principal components; with fewer than 10 distinct vectors the first two components are the map.
    """
    distinct, place = np.unique(vectors, axis=0, return_inverse=True)
    components = _components(distinct.astype(np.float64))
    if len(distinct) < MIN_VECTORS:
        plane = components[:, :2]
    else:
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, (len(distinct) - 1) / 3)
        # One thread: several would add numbers up in another order each time.
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
        plane = tsne.fit_transform(components).astype(np.float64)
    low, high = plane.min(axis=0), plane.max(axis=0)
    span = float((high - low).max())
    middle = (low + high) / 2
    scaled: F64Matrix = 0.5 + (plane - middle) / (span if span > 0 else 1.0)
    return scaled[place.ravel()]


def _components(vectors: F64Matrix) -> F64Matrix:
    """(n, dim) → (n, 2 to 50): the principal components, scaled so that the first varies by 1."""
    fitted = pca.fit(lambda: [vectors], min(MAX_COMPONENTS, len(vectors)))
    spread = np.sqrt(fitted.variances)
    count = max(2, int((spread > 1e-7 * spread[0]).sum()))
    components = fitted.project(vectors)[:, :count] / (spread[0] if spread[0] > 0 else 1.0)
    return np.pad(components, ((0, 0), (0, count - components.shape[1])))
