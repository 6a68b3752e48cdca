"""What pages are made of, beside the answers of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_TITLES = {
    404: "Not found",
    413: "Too large",
    429: "Too many requests",
    503: "Busy just now",
    504: "Too slow",
}


@dataclass(frozen=True)
class Shop:
    """What every page says of the catalog."""

    name: str
    items: int
    engines: Sequence[str]
    columns: Sequence[Json]
    """Of `/api/catalog`."""
    side: int
    """Pixels of the longer side of a photo from which on the engines see no more."""
    keep_uploads: int = 0
    collapses: bool | None = None
    """Whether searches hide near-duplicates unless they say otherwise; None: none are known."""
    max_k: int = 1000
    publication: str = ""
    base: str = ""
    """Path below which the service is reached, without a slash at its end."""


@dataclass(frozen=True)
class ShownQuery:
    """What is searched with, as the page shows it."""

    kind: str
    """photo, url or item; "" of words alone."""
    key: str
    """What tells it from others: a photo's SHA-256, a URL, an item's id; "" if nothing came."""
    label: str
    title: str
    picture: str | None = None
    """Address of the photo; None where only the browser has it."""
    full: str = ""
    """Address of an item's whole photo."""
    item: int | None = None
    uploaded: bool = False
    """Whether only the browser has the photo, so that without JavaScript it must be sent again."""


@dataclass(frozen=True)
class ShownFailure:
    """Why there is no answer: `message` and `hint` are those of the API."""

    status: int
    message: str
    hint: str = ""

    @property
    def title(self) -> str:
        """What is above it."""
        return _TITLES.get(self.status, "That did not work")

    @property
    def again(self) -> bool:
        """Whether the same may work later."""
        return self.status in {429, 503, 504}
