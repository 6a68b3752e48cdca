"""What is right where no label says so: a changed photo is to find the item it was made from.

The changes are those of contrastive learning (Chen et al., A simple framework for contrastive
learning of visual representations, ICML 2020, §3): a part is cut out, mirrored and recolored, and
that strongly, as any engine finds a photo again of which only a few pixels differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from pipeline import images
from pipeline.errors import RejectedImage
from pipeline.evaluation.candidates import Candidates, gather
from pipeline.evaluation.exclusions import SharedValues
from pipeline.evaluation.gate import read_indexed_photo, sample_rows
from pipeline.search.encoding import PreparedPhoto
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.query import EncodedQuery
from pipeline.search.ranking import QueryVectors

MAX_PHOTOS = 150
SIDE = (0.5, 0.8)
"""From what to what share of a photo's sides is cut out."""
STRENGTH = (0.5, 1.5)
"""Factors of brightness, contrast and saturation."""
SEED = 7


def view_candidates(
    searchers: Mapping[str, EngineSearcher], max_photos: int = MAX_PHOTOS
) -> Candidates:
    """Search with views of the catalog's own photos; items that show the photo are right.

    Photos that can no longer be read, and views in which an engine sees nothing, are left out.
    """
    first = next(iter(searchers.values()))
    rows = sample_rows(len(first.build.photos), max_photos)
    items = first.build.row_items.first[rows]
    random = np.random.default_rng(SEED)
    views = [
        view_of(photo, random) if photo else None
        for photo in _photos(first, rows.tolist(), items.tolist())
    ]
    encoded = {name: _encode(searcher, views) for name, searcher in searchers.items()}
    kept = [i for i in range(len(rows)) if all(of_engine[i] for of_engine in encoded.values())]
    vectors = {
        name: [query for i in kept if (query := of_engine[i])]
        for name, of_engine in encoded.items()
    }
    photos = SharedValues(first.catalog.photo_item_pairs())

    def judge(query: int, found: Sequence[int]) -> list[bool | None]:
        same = photos.sharing(query)
        return [item in same for item in found]

    return gather(searchers, items[kept], vectors, judge)


def view_of(photo: Image.Image, random: np.random.Generator) -> Image.Image:
    """Cut out a part of an RGB photo, mirror it half of the time, and change its colors.

    The same generator makes the same view: `view_of(photo, np.random.default_rng(7))`.
    """
    size = np.maximum(1, np.array(photo.size) * random.uniform(*SIDE, 2)).astype(np.int64)
    left, top = (random.random(2) * (np.array(photo.size) - size)).astype(np.int64).tolist()
    width, height = size.tolist()
    view = photo.crop((left, top, left + width, top + height))
    if random.random() < 0.5:
        view = ImageOps.mirror(view)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        view = change(view).enhance(random.uniform(*STRENGTH))
    return view


def _photos(
    searcher: EngineSearcher, rows: Sequence[int], items: Sequence[int]
) -> Iterator[Image.Image | None]:
    """The photos of some rows; None for those that are no longer there as they were."""
    for row, item in zip(rows, items, strict=True):
        data = read_indexed_photo(searcher, row, item)
        try:
            yield images.decode(data, searcher.limits.for_stored()) if data else None
        except RejectedImage:
            yield None


def _encode(
    searcher: EngineSearcher, views: Sequence[Image.Image | None]
) -> list[QueryVectors | None]:
    """The views' vectors; None where there is no view, or the engine sees nothing in it."""
    prepared = [PreparedPhoto(searcher.model.prepare(view)) for view in views if view]
    encoded = iter(searcher.encoder.encode(prepared))
    queries = [next(encoded) if view else None for view in views]
    return [query.vectors if isinstance(query, EncodedQuery) else None for query in queries]
