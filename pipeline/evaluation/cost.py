"""What an engine costs: the time to embed a photo and to answer a query, and the room of a vector.

Times are of this machine and this moment; medians of single calls, after one that is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Photo
from pipeline.catalog.photos import prepare_all
from pipeline.config import EmbeddingSettings
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, U8Image
from pipeline.index.base import VectorIndex
from pipeline.index.builds import Build
from pipeline.models.base import EmbeddingModel

T = TypeVar("T")
F32Matrix = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

K = 10  # neighbors looked up
_EMBEDDED = 64  # photos
_SECONDS = 3.0  # that their network may take, if it is so slow: then they are fewer
_FEWEST = 8
_ASKED = 20  # of them, end to end
_LOOKED_UP = 100  # rows
_COMPARED = 200  # rows, with brute force
_ROWS = 2048  # of the index, compared at a time


@dataclass(frozen=True)
class Speed:
    """Photos a second to embed."""

    photos_per_second: float
    """From files, as `embed` does it: decoded on other threads while the network runs."""
    decoded_per_second: float
    """From pixels: the network alone."""


@dataclass(frozen=True)
class Cost:
    """One engine's, and whether its index finds what there is to find."""

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
    engine: str,
    model: EmbeddingModel,
    index: VectorIndex,
    build: Build,
    ask: Callable[[Path], object],
    photos: Sequence[Photo],
    limits: ImageLimits,
    embedding: EmbeddingSettings,
    seed: int,
) -> Cost:
    """Measure one engine on a random sample of photos and rows; `ask` answers a photo's file.

    Raises:
        RejectedImage: a photo can no longer be read.
    """
    random = np.random.default_rng(seed)

    def chosen(total: int, most: int) -> Ids:
        return random.choice(total, min(most, total), replace=False)

    sample = [photos[at] for at in chosen(len(photos), _EMBEDDED)]
    sample = sample[: max(_FEWEST, int(_SECONDS / _seconds_a_photo(model)))]
    return Cost(
        engine,
        embedding_speed(model, sample, limits, embedding.batch_size, embedding.decoders),
        index.dim * 4,
        sum(file.stat().st_size for file in build.path.iterdir()),
        lookup_ms(index, chosen(index.rows, _LOOKED_UP)),
        median_ms(ask, [photo.path for photo in sample[:_ASKED]]),
        recall(index, index.vectors(chosen(index.rows, _COMPARED))),
    )


def _seconds_a_photo(model: EmbeddingModel) -> float:
    """The network's time for one photo, after one more: networks are compiled at their first."""
    blank = np.zeros((1, *model.input_size, 3), np.uint8)
    return median_ms(model.encode, [blank]) / 1000


def embedding_speed(
    model: EmbeddingModel,
    photos: Sequence[Photo],
    limits: ImageLimits,
    batch_size: int,
    decoders: int,
) -> Speed:
    """Embed photos once from pixels and once from their files, as `embed` does.

    The model has been called before.

    Raises:
        RejectedImage: one cannot be read.
    """

    def pixels() -> Iterator[U8Image]:
        ahead = 2 * batch_size
        for _, prepared in prepare_all(photos, model.prepare, limits, decoders, ahead):
            if isinstance(prepared, RejectedImage):
                raise prepared
            yield prepared

    def photos_per_second(source: Iterator[U8Image]) -> float:
        began = time.perf_counter()
        while batch := list(islice(source, batch_size)):
            model.encode(np.stack(batch))
        return len(photos) / (time.perf_counter() - began)

    known = list(pixels())
    return Speed(photos_per_second(pixels()), photos_per_second(iter(known)))


def lookup_ms(index: VectorIndex, rows: Ids) -> float:
    """Median milliseconds in which the index alone finds the 10 nearest rows of one query."""
    queries = index.vectors(rows)
    return median_ms(lambda query: index.search(query[np.newaxis], K), list(queries))


def median_ms(function: Callable[[T], object], arguments: Sequence[T]) -> float:
    """Median milliseconds of a call, over several arguments, after one more that is not counted."""
    function(arguments[0])
    times = []
    for argument in arguments:
        began = time.perf_counter()
        function(argument)
        times.append(time.perf_counter() - began)
    return 1000 * median(times)


def recall(index: VectorIndex, queries: F32Matrix, k: int = K) -> float:
    """Compare an index with brute force: the share of the k nearest rows of queries that it finds.

    A row as near as the k-th nearest, but for rounding, is one of them: ties do not count against
    an index. Distances come from matrix products in float64, whose error is bounded as in `order`.
    """
    k = min(k, index.rows)
    found = index.search(queries, k).rows
    xq = queries.astype(np.float64)
    norms = np.einsum("ij,ij->i", xq, xq)
    squared = np.empty((len(xq), index.rows))
    longest = 0.0
    for start in range(0, index.rows, _ROWS):
        rows = np.arange(start, min(start + _ROWS, index.rows))
        xb = index.vectors(rows).astype(np.float64)
        squares = np.einsum("ij,ij->i", xb, xb)
        squared[:, rows] = squares + norms[:, np.newaxis] - 2 * xq @ xb.T
        longest = max(longest, float(squares.max()))
    wide = 4 * (index.dim + 8) * 2.0**-53 * (np.sqrt(longest) + np.sqrt(norms)) ** 2
    last = np.partition(squared, k - 1, axis=1)[:, k - 1]
    near = np.take_along_axis(squared, found, axis=1) <= (last + wide)[:, np.newaxis]
    return float(near.sum() / (k * len(xq)))
