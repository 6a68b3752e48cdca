"""Find items by words: in their name, category, metadata and key.

Items that have only some of the words come behind those that have all. Case, accents and English
plurals do not matter. `"red shirt"` in double quotes is a phrase, word for word; `shirt*` is any
word that begins so, and so is a word that no item has. Whatever else is in a text is ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.word_index import COLUMNS, VERSION_BITS, words_in
from pipeline.errors import QueryError

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
F64Array = npt.NDArray[np.float64]

MAX_WORDS = 20  # that are searched for; the rest of a text is ignored
WEIGHTS = {"name": 4.0, "category": 2.0, "metadata": 1.0, "key": 1.0}
"""What a word counts by the column that has it; in several columns, their sum."""
_MIN_LETTERS = 3  # of a word that has a plural, or is a beginning
_PART = re.compile(r'"([^"]*)"?|([^\s",;:/|()<>{}\[\]!?=]+)')
_VERSION = (1 << VERSION_BITS) - 1
# A row of the index is of a generation if the row of its item is, which has not ended before.
_ROWS = f"""
SELECT json_group_array(rowid >> {VERSION_BITS}) FROM words
WHERE words MATCH :{{column}} AND rowid & {_VERSION} <= :generation AND NOT EXISTS (
    SELECT 1 FROM main.items_history WHERE id = words.rowid >> {VERSION_BITS}
    AND since = words.rowid & {_VERSION} AND until <= :generation
)
"""  # noqa: S608
_BY_COLUMN = f"SELECT {', '.join(f'({_ROWS.format(column=column)})' for column in COLUMNS)}"


@dataclass(frozen=True)
class Term:
    """A word or phrase that is searched for."""

    text: str
    """As it was written."""
    match: str
    """In the language of FTS5, whose every word is in double quotes."""
    prefix: str | None = None
    """The same, of words that begin so; None if it must be as it is."""


class ItemCondition(Protocol):
    """What must hold for items: a `Condition` on columns, or on words."""

    @property
    def items(self) -> Ids:
        """Ids of the items that meet it: (n,) int64, ascending."""

    def holds(self, items: Ids) -> Mask:
        """(n,) ids of items → (n,) whether each of them meets it."""


@dataclass(frozen=True)
class WordCondition:
    """Items that have the words, as a condition on what a search finds."""

    items: Ids
    """(n,) int64, ascending."""

    def holds(self, items: Ids) -> Mask:
        """(n,) ids of items → (n,) whether each of them has the words."""
        return np.isin(items, self.items)


@dataclass(frozen=True)
class WordMatches:
    """The items that have any of the words, best first."""

    items: Ids
    """(n,) int64: with all words first, then by score, then by id."""
    scores: F64Array
    """(n,) float64 in 0..1: how much of the text an item has, rare words and its name counting
    most."""
    counts: Ids
    """(n,) int64: how many of the words each has."""
    terms: tuple[str, ...]
    """The words that were searched for."""
    unknown: tuple[str, ...]
    """Those that no item has."""

    @property
    def complete(self) -> int:
        """How many items have all of the words: the first ones."""
        return int(np.count_nonzero(self.counts == len(self.terms)))

    @property
    def best(self) -> Ids:
        """The items that have all of the words, or if none has, most of them: best first."""
        best: Ids = self.items[self.counts == self.counts.max(initial=0)]
        return best

    def tiers(self) -> Iterator[WordCondition]:
        """Yield the items that have all words, then those that have one less, and so on."""
        for count in np.unique(self.counts)[::-1].tolist():
            yield WordCondition(np.sort(self.items[self.counts == count]))

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know beside an answer: which words no item has, or that none has all."""
        unknown = tuple(f"no item has the word {word!r}" for word in self.unknown)
        if unknown or self.complete:
            return unknown
        return ("no item that may be found has all of the words",)


def find_words(catalog: Catalog, text: str, condition: ItemCondition | None = None) -> WordMatches:
    """Return the available items that have words of a text, and meet a condition.

        find_words(catalog, 'red "t-shirt"').items  # ids, best first

    Items are those of the generation that the catalog was opened at.

    Raises:
        QueryError: there is no word in the text.
        NotBuiltError: the catalog has no index of words, or this Python cannot read it.
    """
    terms = list(parse(text))
    if not terms:
        raise QueryError(f"there is no word in {text!r}", hint="search for letters or numbers")
    catalog.check_words()
    found = [_columns_of(catalog, term) for term in terms]
    items = np.unique(np.concatenate([ids for columns in found for ids in columns.values()]))
    scores, counts = _scores(items, found)
    order = np.lexsort((items, -scores, -counts))
    if condition is not None:
        order = order[condition.holds(items[order])]
    unknown = [t.text for t, columns in zip(terms, found, strict=True) if not _size(columns)]
    texts = tuple(term.text for term in terms)
    return WordMatches(items[order], scores[order], counts[order], texts, tuple(unknown))


def parse(text: str) -> Iterator[Term]:
    """Yield the words and phrases of a text, each once: `parse('red "t-shirt" lea*')`."""
    matches: set[str] = set()
    for phrase, word in _PART.findall(text):
        term = _phrase(phrase) if phrase else _word(word)
        if term is not None and term.match not in matches:
            matches.add(term.match)
            yield term
        if len(matches) == MAX_WORDS:
            return


def _phrase(text: str) -> Term | None:
    words = words_in(text)[:MAX_WORDS]
    return Term(text, _quoted(words)) if words else None


def _word(text: str) -> Term | None:
    words = words_in(text)[:MAX_WORDS]
    if not words:
        return None
    begins = f"{_quoted(words)} *"
    if text.endswith("*"):
        return Term(text, begins)
    forms = [_quoted([*words[:-1], form]) for form in _forms(words[-1])]
    joined = [_quoted(["".join(words)])] if len(words) > 1 else []  # tshirt, for t-shirt
    is_long = len("".join(words)) >= _MIN_LETTERS
    return Term(text, " OR ".join([*forms, *joined]), begins if is_long else None)


def _forms(word: str) -> list[str]:
    """A word, and what may be its plural or its singular in English."""
    if len(word) < _MIN_LETTERS or not word.isalpha():
        return [word]
    forms = [word, f"{word}s", f"{word}es"]
    if word.endswith("y"):
        forms.append(f"{word[:-1]}ies")
    if word.endswith("s") and not word.endswith("ss"):
        forms.append(word[:-1])
    if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        forms.append(word[:-2])
    if word.endswith("ies"):
        forms.append(f"{word[:-3]}y")
    return forms


def _quoted(words: Sequence[str]) -> str:
    return f'"{" ".join(words)}"'


def _columns_of(catalog: Catalog, term: Term) -> dict[str, Ids]:
    """Column → the items that have a word there; as a beginning, if none has it as it is."""
    found = _items(catalog, term.match)
    return found if term.prefix is None or _size(found) else _items(catalog, term.prefix)


def _items(catalog: Catalog, match: str) -> dict[str, Ids]:
    values = {column: f"{column} : ({match})" for column in COLUMNS}
    (lists,) = catalog.select(_BY_COLUMN, {**values, "generation": catalog.generation})
    items = (np.array(json.loads(text), np.int64) for text in lists)
    return dict(zip(COLUMNS, items, strict=True))


def _size(columns: dict[str, Ids]) -> int:
    return sum(map(len, columns.values()))


def _scores(items: Ids, found: Sequence[dict[str, Ids]]) -> tuple[F64Array, Ids]:
    """Scores of n items, ascending by id, and how many of the words each has: (n,) each."""
    scores, counts, highest = np.zeros(len(items)), np.zeros(len(items), np.int64), 0.0
    for columns in found:
        weights = np.zeros(len(items))
        for column, having in columns.items():
            weights[np.searchsorted(items, having)] += WEIGHTS[column]
        has = weights > 0
        # Not of how many: the number of all items would have to be counted for each search.
        rarity = 1 / np.log2(2 + np.count_nonzero(has))
        scores += rarity * weights
        counts += has
        highest += rarity * sum(WEIGHTS.values())
    return (scores / highest).round(12), counts
