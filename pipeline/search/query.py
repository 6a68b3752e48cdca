"""What can be searched with: a photo, an item of the catalog, words, or a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline import images
from pipeline.errors import QueryError, RejectedImage
from pipeline.images import Auto, ImageLimits, Region
from pipeline.publish.tuning import Refining
from pipeline.search.ranking import QueryVectors

F32Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Item:
    """An item of the catalog as a query: `search(Item(7))` finds what looks like item 7."""

    id: int

    def __post_init__(self) -> None:
        if isinstance(self.id, bool) or not isinstance(self.id, int | np.integer):
            raise QueryError(f"Item({self.id!r}): an item's id is a whole number")

    def __str__(self) -> str:
        return str(self.id)


@dataclass(frozen=True)
class Text:
    """Words as a query: `search(Text("red shirt"))` finds items whose text has them.

    See `catalog/words.py` for what may be written.
    """

    words: str

    def __post_init__(self) -> None:
        if not isinstance(self.words, str):
            raise QueryError(f"Text({self.words!r}): words are a str")

    def __str__(self) -> str:
        return self.words


class EncodedQuery(NamedTuple):
    """A query as vectors, and how far out of distribution its photo is."""

    vectors: QueryVectors
    ood_percentile: float | None = None
    rounding: float = 0.0
    """A distance up to which its photo may be one of the catalog, embedded by another runtime."""
    region: Region | None = None
    """The part of its photo that is searched with; None if that is the whole."""
    is_calibrated: bool = True
    """Whether its distances compare with those between photos; those of a text do not."""


@dataclass(frozen=True)
class EncodedPhoto:
    """A photo that has been encoded for each engine; `Searcher.encode` makes them."""

    queries: Mapping[str, EncodedQuery]


Photo = Image.Image | Path | str | bytes
Query = Photo | EncodedPhoto | Item | Text | F32Vector
"""A photo (Pillow image, path, encoded bytes, or already encoded by `Searcher.encode`), an item,
words, or a vector of one engine: (dim,)."""
RegionOf = str | Sequence[float]
"""The part of a photo to search with: (x, y, w, h) as fractions of the upright photo, their text
`x,y,w,h`, or `auto`, which finds what stands out from a plain background."""


Examples = Sequence[int | Item]
"""Items of the catalog, or their ids."""


class Filters(TypedDict, total=False):
    """Which items a search may find; left out, every item."""

    where: str | None
    """A condition on the catalog's columns, such as `category = 'Watches' and price < 2000` (see
    `catalog/conditions.py`)."""
    min_distance: float
    """Euclidean; an item at this distance is found."""
    max_distance: float
    group_by: str | None
    """A column, of each value of which only the nearest item is found."""
    text: str | None
    """Words that items must have: all of them, or as many as k items have (`catalog/words.py`)."""
    collapse: bool | None
    """Whether near-duplicates of what is found are hidden behind it; None: as `search.collapse`."""


class Options(Filters, total=False):
    """How a search goes about its query; left out, as it is."""

    look: bool
    """Search with what the items look like whose text has the words of a `Text`."""
    like: Examples
    """Items toward which the query is moved."""
    unlike: Examples
    """Items away from which it is moved."""
    refine: Refining | None
    """How the order is refined; None: as `search.refine`."""


def read_photo(
    query: Photo, limits: ImageLimits, region: Region | Auto | None = None
) -> tuple[Image.Image, Region | None]:
    """Decode a photo that is searched with → upright RGB, and the region of it that this is.

    Raises:
        QueryError: there is no such file, it cannot be read, or the region is too small.
        RejectedImage: it is not an acceptable photo.
    """
    photo = _decode(query, limits)
    if region is None:
        return photo, None
    where = query if isinstance(query, str | Path) else ""
    return images.take_region(photo, region, limits, where=where)


def _decode(query: Photo, limits: ImageLimits) -> Image.Image:
    if isinstance(query, Image.Image):
        return images.to_rgb(query)
    if isinstance(query, bytes):
        return images.decode(query, limits)
    try:
        return images.decode(images.read_bytes(Path(query), limits), limits)
    except OSError as error:
        raise QueryError(f"cannot read the photo: {error.strerror}", where=query) from error
    except RejectedImage as rejected:
        raise RejectedImage(rejected.reason, rejected.detail, where=query) from rejected


def describe(query: Query) -> str:
    """Return a short text that names a query in results and messages."""
    if isinstance(query, str | Path):
        return str(query)
    if isinstance(query, Item):
        return f"item {query.id}"
    if isinstance(query, Text):
        return f"text {query.words!r}"
    return {bytes: "photo", np.ndarray: "vector"}.get(type(query), "photo")
