"""Words as a query: the items whose text has them, and what these look like."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.catalog.browse import first_files
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.columns import Groups
from pipeline.catalog.words import ItemCondition, WordCondition, WordMatches, find_words
from pipeline.search.query import Query, Text
from pipeline.search.result import TextHit

F32Vector = npt.NDArray[np.float32]
F32Matrix = npt.NDArray[np.float32]

TextHits = tuple[TextHit, ...]

TEXT = "text"
"""What the list of items that have the words is called, beside the engines' names."""
LOOK_ITEMS = 30
"""Of the items that have the words, so many of the best say what these look like."""
TRIMMED = 0.25
"""The share of them that is left out: those that look least like the others."""
_KEPT = 64  # texts whose items are remembered within a search
_BLOCK = 64  # items whose groups are looked up at a time


@dataclass(frozen=True)
class WordRanking:
    """Ranks the items of a catalog that a condition allows by words alone."""

    catalog: Catalog
    condition: ItemCondition | None = None
    group: Callable[[Sequence[int]], Sequence[Hashable]] | None = None
    """Ids of items → the group of each; only the best item of a group is found."""
    _last: dict[str, WordMatches] = field(default_factory=dict)

    def find(self, text: str) -> WordMatches:
        """Return the items that have any of the words; raises as `find_words` does.

        What was found last is kept: each engine asks for it, and the list of words.
        """
        matches = self._last.get(text)
        if matches is None:
            matches = find_words(self.catalog, text, self.condition)
            while len(self._last) >= _KEPT:
                self._last.popitem()
            self._last[text] = matches
        return matches

    def hits(self, matches: WordMatches, k: int, exclude: Sequence[int] = ()) -> TextHits:
        """Return the k best of these matches, without the items in `exclude`."""
        allowed = np.flatnonzero(~np.isin(matches.items, exclude))
        positions = allowed[self._first(matches.items[allowed], k)]
        items, scores = matches.items[positions].tolist(), matches.scores[positions].tolist()
        photos = first_files(self.catalog, items)
        hits = []
        for rank, (item, score) in enumerate(zip(items, scores, strict=True), 1):
            record = self.catalog.item(item)
            if record is None:
                raise self.catalog.damaged(f"it has no item {item}, whose words are indexed")
            sha256, photo = photos.get(item, ("", None))
            hits.append(TextHit(rank, score, record, photo, sha256))
        return tuple(hits)

    def _first(self, items: npt.NDArray[np.int64], k: int) -> list[int]:
        """Positions of the first k items, each the first of its group."""
        if self.group is None:
            return list(range(min(k, len(items))))
        first: dict[Hashable, int] = {}
        for start in range(0, len(items), _BLOCK):
            groups = self.group(items[start : start + _BLOCK].tolist())
            for position, group in enumerate(groups, start):
                first.setdefault(group, position)
            if len(first) >= k:
                break
        return list(first.values())[:k]


@dataclass(frozen=True)
class WordSearch:
    """The part that words have in a search: as queries, and as a filter of all of them."""

    ranking: WordRanking
    filter: WordMatches | None = None
    """The items that may be found; None if no words were given beside the query."""

    def answer(
        self, query: Query, k: int, exclude: Sequence[int] = ()
    ) -> tuple[TextHits | None, tuple[str, ...]]:
        """Return the k best items for a query by words, None for others; and what to know.

        Items in `exclude` are not found.

        Raises:
            QueryError: there is no word in it.
        """
        notes = self.filter.notes if self.filter else ()
        if not isinstance(query, Text):
            return None, notes
        matches = self.ranking.find(query.words)
        return self.ranking.hits(matches, k, exclude), (*matches.notes, *notes)


def words_of(
    catalog: Catalog, condition: ItemCondition | None, group: Groups | None, text: str | None
) -> WordSearch:
    """Return what a search does with words, of which its items must have `text`, if any.

    Raises as `find_words` does.
    """
    matches = None if text is None else find_words(catalog, text, condition)
    if matches is not None:
        condition = WordCondition(np.sort(matches.best))
    return WordSearch(WordRanking(catalog, condition, group), matches)


def look_items(matches: WordMatches) -> npt.NDArray[np.int64]:
    """Return the items that show what the words look like: the best of those that have most."""
    return matches.best[:LOOK_ITEMS]


def trimmed_mean(vectors: F32Matrix) -> F32Vector:
    """(n, dim) float32 → (dim,): the mean without the quarter that is furthest from that of all.

    trimmed_mean(np.stack([shirt, another_shirt, mislabeled]))
    """
    distances = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
    kept = np.argsort(distances, kind="stable")[: len(vectors) - int(TRIMMED * len(vectors))]
    mean: F32Vector = vectors[np.sort(kept)].mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean
