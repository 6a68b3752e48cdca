"""What an engine costs: the time to embed a photo and to answer a query, and bytes of a vector.

Times are of this machine and this moment; medians of single calls, after one that is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TypeVar

import numpy as np

from pipeline.catalog.catalog import Photo
from pipeline.catalog.photos import prepare_all
from pipeline.config import EmbeddingSettings
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, U8Image
from pipeline.index.base import F32Matrix, Ids, VectorIndex
from pipeline.index.rounding import expanded_square_error
from pipeline.models.base import EmbeddingModel
from pipeline.search.engine_searcher import EngineSearcher

T = TypeVar("T")

K = 10  # neighbors searched for
MAX_EMBEDDED = 64  # photos
MIN_EMBEDDED = 8  # photos
MAX_ENCODE_SECONDS = 3.0  # for those photos: a slow network gets fewer of them
QUERY_PHOTOS = 20  # of these photos, from the file to the hits
LOOKUP_ROWS = 100
RECALL_ROWS = 200  # compared with brute force
ROW_BLOCK = 2048  # rows of the index, compared at a time


@dataclass(frozen=True)
class Speed:
    """Photos a second to embed."""

    photos_per_second: float
    """From files, as `embed` does it: decoded on other threads while the network runs."""
    decoded_per_second: float
    """From pixels: the network alone."""


@dataclass(frozen=True)
class Cost:
    """What one engine costs, and whether its index finds what there is to find."""

    engine: str
    embedding: Speed
    vector_bytes: int
    """As it is searched."""
    build_bytes: int
    """All files of the index, on the disk."""
    lookup_ms: float
    """The index alone, for 10 neighbors."""
    query_ms: float
    """From a photo's file to 10 neighbors with all that the catalog knows of them."""
    recall_at_10: float
    """Of the 10 nearest rows, the share that the index finds: 1 for an exact one."""


def measure(
    searcher: EngineSearcher,
    photos: Sequence[Photo],
    limits: ImageLimits,
    embedding: EmbeddingSettings,
    seed: int,
) -> Cost:
    """Measure one engine on a random sample of photos and rows.

    Raises:
        RejectedImage: a photo can no longer be read.
    """
    random = np.random.default_rng(seed)
    model, index = searcher.model, searcher.index

    def choose(total: int, limit: int) -> Ids:
        return random.choice(total, min(limit, total), replace=False)

    sample = [photos[i] for i in choose(len(photos), MAX_EMBEDDED)]
    blank = np.zeros((1, *model.input_size, 3), np.uint8)
    seconds = median_ms(model.encode, [blank]) / 1000  # networks are compiled at their first photo
    sample = sample[: max(MIN_EMBEDDED, int(MAX_ENCODE_SECONDS / seconds))]
    paths = [photo.path for photo in sample[:QUERY_PHOTOS]]
    lookups = list(index.vectors(choose(index.rows, LOOKUP_ROWS))[:, np.newaxis])
    return Cost(
        searcher.name,
        _embedding_speed(model, sample, limits, embedding),
        index.dim * 4,
        sum(file.stat().st_size for folder in searcher.build.folders for file in folder.iterdir()),
        median_ms(lambda query: index.search(query, K), lookups),
        median_ms(lambda path: searcher.search(path, K), paths),
        recall(index, index.vectors(choose(index.rows, RECALL_ROWS))),
    )


def _embedding_speed(
    model: EmbeddingModel, photos: Sequence[Photo], limits: ImageLimits, settings: EmbeddingSettings
) -> Speed:
    """Embed photos once from pixels and once from files; the model has been called before."""

    def pixels() -> Iterator[U8Image]:
        decoders, ahead = settings.decoders, 2 * settings.batch_size
        for _, prepared in prepare_all(photos, model.prepare, limits, decoders, ahead):
            if isinstance(prepared, RejectedImage):
                raise prepared
            yield prepared

    def photos_per_second(source: Iterator[U8Image]) -> float:
        began = time.perf_counter()
        while batch := list(islice(source, settings.batch_size)):
            model.encode(np.stack(batch))
        return len(photos) / (time.perf_counter() - began)

    decoded = list(pixels())
    return Speed(photos_per_second(pixels()), photos_per_second(iter(decoded)))


def median_ms(function: Callable[[T], object], arguments: Sequence[T]) -> float:
    """Return the median milliseconds of a call, after one that is not counted."""
    function(arguments[0])
    times = []
    for argument in arguments:
        began = time.perf_counter()
        function(argument)
        times.append(time.perf_counter() - began)
    return 1000 * median(times)


def recall(index: VectorIndex, queries: F32Matrix, k: int = K, row_block: int = ROW_BLOCK) -> float:
    """Compare an index with brute force: the share of the k nearest rows of queries that it finds.

    A row as near as the k-th nearest, but for rounding, is one of them: ties do not count against
    an index. The error of squared distances, matrix products in float64, counts twice, as two are
    compared, and twice again for the rounding of the index's own distances.
    """
    k = min(k, index.rows)
    rows_found = index.search(queries, k).rows
    xq = queries.astype(np.float64)
    norms = np.einsum("ij,ij->i", xq, xq)
    squared = np.empty((len(xq), index.rows))
    max_square = 0.0
    for start in range(0, index.rows, row_block):
        rows = np.arange(start, min(start + row_block, index.rows))
        xb = index.vectors(rows).astype(np.float64)
        squares = np.einsum("ij,ij->i", xb, xb)
        squared[:, rows] = squares + norms[:, np.newaxis] - 2 * xq @ xb.T
        max_square = max(max_square, float(squares.max()))
    max_norms = np.sqrt(max_square) + np.sqrt(norms)
    tolerance = 4 * expanded_square_error(index.dim, max_norms, np.float64)
    limit = np.partition(squared, k - 1, axis=1)[:, k - 1] + tolerance
    is_near = np.take_along_axis(squared, rows_found, axis=1) <= limit[:, np.newaxis]
    return float(is_near.sum() / (k * len(xq)))
