"""What a search returns: for each engine its hits, and what is true of the query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.catalog.records import ItemRecord
from pipeline.images import Region
from pipeline.index.recall import PromisedRecall
from pipeline.publish.tuning import Refine
from pipeline.search.ranking import QueryVectors


@dataclass(frozen=True)
class Hit:
    """One item near a query."""

    rank: int
    """From 1, the nearest."""
    distance: float
    """Euclidean, from the query to the photo."""
    percentile: float | None
    """Percentage of the catalog's own photos that have a nearer neighbor than this distance; None
    if the catalog has nothing to compare with."""
    item: ItemRecord
    photo: Path | None
    """The item's photo that is nearest to the query, or to the expanded one if that was searched
    with; None if the ledger knows no file of it."""
    sha256: str
    """The SHA-256 of that photo's file, which names it: in hexadecimal."""
    similar: tuple[int, ...] = ()
    """Ids of near-duplicates that are hidden behind it, nearest first; none without `collapse`."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "rank": self.rank,
            "distance": self.distance,
            "percentile": self.percentile,
            **_item_and_photo(self.item, self.photo, self.sha256),
            **_similar(self.similar),
        }


@dataclass(frozen=True)
class FusedHit:
    """One item of the list that several engines' lists are fused into."""

    rank: int
    score: float
    """Higher is better; only the order of scores has a meaning. Where words say what may be found,
    items that have more of them go first, whatever their scores."""
    ranks: Mapping[str, int]
    """Engine → the item's rank in that engine's list; engines that do not list it are absent."""
    item: ItemRecord
    photo: Path | None
    """The photo by which the first engine that lists the item found it."""
    sha256: str
    """The SHA-256 of that photo's file."""
    similar: tuple[int, ...] = ()
    """Ids of near-duplicates that are hidden behind it; none without `collapse`."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "rank": self.rank,
            "score": self.score,
            "ranks": dict(self.ranks),
            **_item_and_photo(self.item, self.photo, self.sha256),
            **_similar(self.similar),
        }


@dataclass(frozen=True)
class TextHit:
    """One item whose text has words that were searched for."""

    rank: int
    score: float
    """From 0 to 1: how much of the words it has, in its name above all. 1: all in every column."""
    item: ItemRecord
    photo: Path | None
    """The item's first photo; None if the ledger knows no file of it."""
    sha256: str
    """The SHA-256 of that photo's file."""
    similar: tuple[int, ...] = ()
    """Items hidden behind it: none, as words show near-duplicates side by side."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            "rank": self.rank,
            "score": self.score,
            **_item_and_photo(self.item, self.photo, self.sha256),
        }


@dataclass(frozen=True)
class EngineResult:
    """One engine's answer to one query."""

    engine: str
    hits: tuple[Hit, ...]
    """Nearest first, ordered by (distance, item id), unless the order was `refined`; where words
    were given, those that have more of them go first."""
    no_match: bool
    """Whether nothing in the catalog is like the query: its nearest hit is unusually far, or the
    photo itself is out of distribution, beyond the percentile `search.no_match_percentile`."""
    ood_percentile: float | None
    """How far out of distribution the photo is: the percentage of the photos held out in training
    that an autoencoder reconstructs better. None for other queries and engines, or where
    `search.out_of_distribution` is off."""
    build: str
    """Identity of the index that answered."""
    fingerprint: str
    """Identity of the model that the index was built with."""
    warning: str | None
    """What to know before believing the answer."""
    region: Region | None = None
    """The part of the photo that was searched with, (x, y, w, h) as fractions of the upright photo;
    None if that was the whole, or no photo."""
    recall: PromisedRecall | None = None
    """Which share of the nearest the index finds; None if it finds them all."""
    refined: Refine | None = None
    """How the order was refined, `expand` or `rerank`; None: hits are in the order of distances."""
    searched: QueryVectors | None = field(default=None, repr=False, compare=False)
    """The vectors that the index was searched with."""

    def first(self, k: int) -> EngineResult:
        """Return the same answer with its k nearest hits."""
        return replace(self, hits=self.hits[:k])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; `refined` only where the order was."""
        return {
            **({"refined": self.refined} if self.refined else {}),
            "hits": [hit.to_dict() for hit in self.hits],
            "no_match": self.no_match,
            "ood_percentile": self.ood_percentile,
            "build": self.build,
            "fingerprint": self.fingerprint,
            "warning": self.warning,
            **({} if self.recall is None else {"recall": self.recall.to_dict()}),
        }


@dataclass(frozen=True)
class SearchResult(Mapping[str, EngineResult]):
    """The answers of all engines to one query: `result["vgg16"].hits[0].item.name`."""

    query: str
    """The photo's path, or a description of what was searched with."""
    publication: int
    """The number of the publication that everything in the answer comes from."""
    engines: Mapping[str, EngineResult]
    fused: tuple[FusedHit, ...] | None = None
    """All engines' lists as one; None unless the search asked for it."""
    notes: tuple[str, ...] = ()
    """What to know of the answer: which items a condition could not judge, and, where nothing meets
    it, the values that are nearest to those it asked for; which words no item has; which engines do
    not answer; and if no region was found for `auto`."""
    text: tuple[TextHit, ...] | None = None
    """The items whose text has the words, best first; None unless words were searched with."""

    def __getitem__(self, engine: str) -> EngineResult:
        return self.engines[engine]

    def __iter__(self) -> Iterator[str]:
        return iter(self.engines)

    def __len__(self) -> int:
        return len(self.engines)

    @property
    def region(self) -> Region | None:
        """The part of the photo that was searched with, (x, y, w, h) in 0..1; None if the whole."""
        return next((found.region for found in self.engines.values()), None)

    @property
    def warnings(self) -> dict[str, str]:
        """Engine → what to know before believing its answer, for the engines that have one."""
        return {name: found.warning for name, found in self.engines.items() if found.warning}

    @property
    def no_match(self) -> list[str]:
        """The engines that find nothing like the query."""
        return [name for name, found in self.engines.items() if found.no_match]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values; what `imgsearch query --json` prints."""
        content: dict[str, Any] = {
            "query": self.query,
            "publication": self.publication,
            "region": None if self.region is None else list(self.region),
            "engines": {name: found.to_dict() for name, found in self.engines.items()},
            "notes": list(self.notes),
        }
        if self.fused is not None:
            content["fused"] = [hit.to_dict() for hit in self.fused]
        if self.text is not None:
            content["text"] = [hit.to_dict() for hit in self.text]
        return content


def _item_and_photo(item: ItemRecord, photo: Path | None, sha256: str) -> dict[str, Any]:
    return {
        "item": item.to_dict(),
        "photo": None if photo is None else str(photo),
        "sha256": sha256,
    }


def _similar(items: tuple[int, ...]) -> dict[str, list[int]]:
    return {"similar": list(items)} if items else {}
