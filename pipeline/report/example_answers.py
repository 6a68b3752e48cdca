"""ExampleQueries: one query and what each engine answers, with what is right marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.evaluation.exclusions import SharedValues
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.query import Item
from pipeline.search.result import Hit

_NEIGHBORS = 6
_MORE = 20  # asked for, as some share a photo with the query and are not shown


@dataclass(frozen=True)
class JudgedHit:
    """A neighbor, and whether it has the query's label; None if the query has none."""

    neighbor: Hit
    right: bool | None


@dataclass(frozen=True)
class ExampleQuery:
    """One query."""

    why: str
    """Why this one is shown."""
    item: int
    name: str
    label: str | None
    photo: Path | None
    lists: Mapping[str, Sequence[JudgedHit]]
    """Engine → its nearest items, of those that do not share a photo with the query."""
    no_match: Sequence[str]
    """The engines that have no good match for it."""


class ExampleQueries:
    """Asks several engines with items of the catalog."""

    def __init__(self, searchers: Sequence[EngineSearcher], labels: Mapping[int, str]) -> None:
        self.searchers, self.labels = searchers, labels
        self.photos = SharedValues(searchers[0].catalog.photo_item_pairs())

    def ask(self, why: str, item: int) -> ExampleQuery:
        """Ask with one item."""
        catalog = self.searchers[0].catalog
        record = catalog.item(item)
        same = self.photos.sharing(item)
        label = self.labels.get(item)
        lists: dict[str, Sequence[JudgedHit]] = {}
        no_match = []
        for searcher in self.searchers:
            found = searcher.search(Item(item), _MORE).hits
            others = [hit for hit in found if hit.item.id not in same][:_NEIGHBORS]
            lists[searcher.name] = [
                JudgedHit(one, None if label is None else self.labels.get(one.item.id) == label)
                for one in others
            ]
            if searcher.is_no_match(others):
                no_match.append(searcher.name)
        photo = next(iter(sorted(self.photos.values(item))), None)
        return ExampleQuery(
            why,
            item,
            (record.name or record.key) if record else str(item),
            label,
            None if photo is None else catalog.photo_path(photo, item),
            lists,
            no_match,
        )
