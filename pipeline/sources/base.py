"""What a source is: where items come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Metadata = Mapping[str, str | int | float | None]


@dataclass(frozen=True)
class Photo:
    """One image of an item, where the source found it: in a file, or as encoded bytes."""

    uri: str
    """What to show a person: a path, a URL, or a name such as `shirts/0003.jpg`."""
    path: Path | None = None
    """A file on this machine, which stays where it is."""
    data: bytes | None = None
    """The encoded image itself, which ingest stores in the catalogue."""


@dataclass(frozen=True)
class Item:
    """One product as its source describes it."""

    key: str
    """The source's own identifier, unique in the catalogue."""
    name: str
    category: str
    photos: tuple[Photo, ...]
    metadata: Metadata = field(default_factory=dict)


class Source(Protocol):
    """Yields the items of a catalogue, in an order that does not differ between machines."""

    @property
    def version(self) -> str | None:
        """Names the items completely, if that can be done without reading them; else None."""
        ...

    @property
    def total(self) -> int | None:
        """How many items there are, if that is known before they are read.

        Raises:
            SourceError: the source cannot be read.
        """
        ...

    def items(self) -> Iterator[Item]:
        """Yield every item once."""
        ...
