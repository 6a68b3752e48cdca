"""A folder source as far as its files have settled."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.sources.base import LeftOut, Offer, PhotoFolder, SourceItem, SourcePhoto
from pipeline.watch.look import state_of
from pipeline.watch.settling import Settled

BEING_WRITTEN = "being written"


@dataclass(frozen=True)
class SettledSource:
    """What a folder offers, except for photos that are not as they were when they settled.

    These are left out as unread, so that items which the catalog has of them stay as they are: a
    photo that is being written, has just come, or is gone without having settled.
    """

    source: PhotoFolder
    settled: Settled
    version: None = None  # files may change at any time

    @property
    def path(self) -> Path:
        """The folder."""
        return self.source.path

    @property
    def total(self) -> int | None:
        """The number of items with those that are left out."""
        return self.source.total

    def with_rows(self, rows: Mapping[str, str]) -> SettledSource:
        """Return the same, told of rows whose photos were renamed: see `PhotoFolder`."""
        return replace(self, source=self.source.with_rows(rows))

    def rows_of(self, paths: Collection[str]) -> dict[str, str]:
        """Return, by path, the keys of rows that describe photos which are there no more."""
        return self.source.rows_of(paths)

    def items(self) -> Iterator[Offer]:
        """Yield what has settled, then what has not and is gone."""
        seen = set[str]()
        for offer in self.source.items():
            if isinstance(offer, SourceItem):
                seen.update(photo.uri for photo in offer.photos)
                is_settled = all(map(self._is_settled, offer.photos))
                yield offer if is_settled else _left_out(offer.key)
            else:
                seen.update([offer.path] if isinstance(offer, LeftOut) else [])
                yield offer
        gone = (path for path in self.settled.look if path not in seen)
        vanished = {path for path in gone if not (self.path / path).exists()}
        for path in sorted(vanished.union(self.settled.unsettled) - seen):
            yield _left_out(path)

    def _is_settled(self, photo: SourcePhoto) -> bool:
        if photo.path is None or photo.uri in self.settled.unsettled:
            return photo.path is None
        return self.settled.look.get(photo.uri) == state_of(photo.path)


def _left_out(path: str) -> LeftOut:
    return LeftOut(path, Path(path).suffix.lower() or "file", BEING_WRITTEN, is_unread=True)
