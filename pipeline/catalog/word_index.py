"""The words of items: SQLite's full-text index (FTS5) over what sealed generations have.

A row of an item is indexed once, when the first generation that has it is sealed, and stays as long
as one is kept that has it. Its number in the index says which version of which item it is, so that
each generation is searched by itself, and sealing costs by what has changed.
"""

from __future__ import annotations

import json
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import NotBuiltError

COLUMNS = ("name", "category", "metadata", "key")
"""Of the index; `metadata` has the texts and numbers of all of its columns, without their names."""
VERSION_BITS = 24  # of a number in the index, for the generation; the others are for the item
_TABLE = "words"
# The words are found by `words_in`: SQLite's own tokenizers know Unicode as it was in 2012. What
# has been indexed is not kept a second time.
_CREATE = f"""
CREATE VIRTUAL TABLE {_TABLE} USING fts5
({", ".join(COLUMNS)}, content = '', tokenize = 'ascii')
"""
_VALUES = f"(id << {VERSION_BITS}) | since, indexed_words(name), indexed_words(category)," + (
    " indexed_metadata(metadata), indexed_words(key)"
)
_ADD = f"INSERT INTO {_TABLE} (rowid, {', '.join(COLUMNS)}) SELECT {_VALUES}"
# Of an index without content, a row is deleted by telling what is in it.
_DELETE = f"INSERT INTO {_TABLE} ({_TABLE}, rowid, {', '.join(COLUMNS)}) SELECT 'delete', {_VALUES}"
_AVAILABLE = "WHERE state = 'available'"
_MADE_BY = f"1, Unicode {unicodedata.unidata_version}"  # another way to find words: another number

_WORD = re.compile(r"[^\W_]+")
# Of scripts that are written without spaces each character is a word.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)
_ADDRESS = re.compile(r"\w+://\S*")  # of a photo or a page: what is in it are no words for people
_BETWEEN = " • "  # values: a word that no query has, so that no phrase reaches across them
_APOSTROPHES = re.compile(r"(?<=\w)['’](?=\w)")
_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe"}
)


def words_in(text: str) -> list[str]:
    """Return the words of a text, without case and accents, in their order.

    words_in("Women's T-Shirts, Größe 42")  # ["womens", "t", "shirts", "grosse", "42"]
    """
    folded = text.lower() if text.isascii() else _folded(text)
    return _WORD.findall(_APOSTROPHES.sub("", folded))


def _folded(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(part for part in parts if not _is_accent(part))
    spaced = _UNSPACED.sub(r" \g<0> ", unicodedata.normalize("NFKC", plain))
    return spaced.casefold().translate(_LETTERS)


def _is_accent(character: str) -> bool:
    """Whether it is an accent, or a vowel point of Hebrew or Arabic, that stands on another one."""
    kind = unicodedata.combining(character)
    return kind >= 200 or 10 <= kind <= 35  # https://www.unicode.org/reports/tr44/, table 15


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text and number of a structure, without the names of its columns."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from texts_of(part)
    elif value is not None:
        yield str(value)


def _indexed(text: str) -> str:
    return " ".join(words_in(text))


def _indexed_metadata(metadata: str) -> str:
    values = (_ADDRESS.sub(" ", text) for text in texts_of(json.loads(metadata)))
    return _BETWEEN.join(map(_indexed, values))


WORD_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "indexed_words": (1, _indexed),
    "indexed_metadata": (1, _indexed_metadata),
}
"""Name in SQL → number of arguments and function; all of them are pure."""


def check_words(database: sqlite3.Connection, file: Path) -> None:
    """Check that the words of the ledger in a file can be searched for.

    Raises:
        NotBuiltError: they are not indexed, or this Python's SQLite has no full-text search.
    """
    if not _has_fts5(database):
        raise _no_fts5()
    if not _has_index(database):
        hint = "run `imgsearch build`"
        raise NotBuiltError("its words are not indexed yet", where=file, hint=hint)


def make_index(database: sqlite3.Connection) -> None:
    """Index all that sealed generations have, within a transaction, unless that has been done.

    An index whose words were found in another way is made anew. Nothing is done where SQLite cannot
    make one.
    """
    if not _has_fts5(database):
        return
    made_by = database.execute("SELECT value FROM meta WHERE name = ?", (_TABLE,)).fetchone()
    if made_by is not None and made_by[0] == _MADE_BY:
        return
    database.execute(f"DROP TABLE IF EXISTS {_TABLE}")
    database.execute(_CREATE)
    sealed = "since <= (SELECT MAX(number) FROM generations)"
    for table in ("items", "items_history"):
        database.execute(f"{_ADD} FROM main.{table} {_AVAILABLE} AND {sealed}")
    database.execute("DELETE FROM meta WHERE name = ?", (_TABLE,))
    database.execute("INSERT INTO meta VALUES (?, ?)", (_TABLE, _MADE_BY))


def add_versions(database: sqlite3.Connection, generation: int) -> None:
    """Index the rows that began in the generation that is now sealed, within its transaction.

    Raises:
        NotBuiltError: there is an index, which this Python's SQLite cannot write.
    """
    if not _is_writable(database):
        return
    is_changed = "AND since > 1" if generation > 1 else ""  # for which SQLite has an index
    which = f"{_AVAILABLE} AND since = ? {is_changed}"
    database.execute(f"{_ADD} FROM main.items {which}", (generation,))


def delete_versions(database: sqlite3.Connection, condition: str) -> None:
    """Take rows of history that meet a condition in SQL out of the index, before they are deleted.

    Raises:
        NotBuiltError: there is an index, which this Python's SQLite cannot write.
    """
    make_index(database)  # a row is only found by the words that it was indexed by
    if _is_writable(database):
        database.execute(f"{_DELETE} FROM main.items_history {_AVAILABLE} AND {condition}")


def _is_writable(database: sqlite3.Connection) -> bool:
    """Whether there is an index; raises a NotBuiltError if this Python cannot write it."""
    if not _has_index(database):
        return False
    if not _has_fts5(database):
        raise _no_fts5()
    return True


def _has_index(database: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM main.sqlite_master WHERE name = ?"
    return database.execute(query, (_TABLE,)).fetchone() is not None


def _has_fts5(database: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM pragma_compile_options WHERE compile_options = 'ENABLE_FTS5'"
    return database.execute(query).fetchone() is not None


def _no_fts5() -> NotBuiltError:
    message = f"the SQLite {sqlite3.sqlite_version} of this Python has no full-text search (FTS5)"
    hint = "use a Python whose SQLite has it, such as that of python.org or conda-forge"
    return NotBuiltError(message, hint=hint)
