"""Many texts as one row of bytes, in which the parts of a LIKE pattern are looked for all at once.

In UTF-8 no character is a part of another one, so that texts can be compared byte by byte. Where
patterns have `_`, this holds while a character is a byte, that is for texts of ASCII.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.catalog.like import Parts

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
COUNTED_BYTES = 100_000  # by which it is known which bytes are rare

_Part = list[int | None]  # bytes, of which None is any


class JoinedTexts:
    """Texts, to find those that are like a pattern: `JoinedTexts(texts).like(parts)`."""

    def __init__(self, texts: Sequence[str]) -> None:
        joined = "".join(texts)
        self.is_ascii = joined.isascii()
        encoded = texts if self.is_ascii else list(map(_encoded, texts))
        lengths = np.fromiter(map(len, encoded), np.int64, len(texts))
        self._bytes = np.frombuffer(_encoded(joined).lower(), np.uint8)  # of ASCII only
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths
        sample = self._bytes[:: 1 + len(self._bytes) // COUNTED_BYTES]
        self._counts = np.bincount(sample, minlength=256)

    def can_match(self, parts: Parts) -> bool:
        """Whether `like` can tell: see above."""
        return self.is_ascii or not any(None in part for part in parts)

    def like(self, parts: Parts) -> Mask:
        """(n,): which texts are like a pattern, of which these are the `like.pattern_parts`."""
        first, *others = map(_lower_bytes, parts)
        rows = self._beginning(first, is_whole=not others)
        if others:
            rows = self._ending(rows, len(first), others[-1])
            at, ends = self._starts[rows] + len(first), self._ends[rows] - len(others[-1])
            for part in others[:-1]:
                rows, at, ends = self._followed(rows, at, ends, part)
        found = np.zeros(len(self._starts), np.bool_)
        found[rows] = True
        return found

    def _beginning(self, part: _Part, *, is_whole: bool) -> Ids:
        """The texts that begin with a part, or are it."""
        lengths = self._ends - self._starts
        rows = np.flatnonzero(lengths == len(part) if is_whole else lengths >= len(part))
        return rows[self._holding(self._starts[rows], part)]

    def _ending(self, rows: Ids, after: int, part: _Part) -> Ids:
        """Those of some texts that end with a part, behind so many bytes."""
        at = self._ends[rows] - len(part)
        rows, at = rows[fits := at >= self._starts[rows] + after], at[fits]
        return rows[self._holding(at, part)]

    def _followed(self, rows: Ids, at: Ids, ends: Ids, part: _Part) -> tuple[Ids, Ids, Ids]:
        """Those of some texts that have a part between two places; places behind the first one."""
        found = self._places(part)
        if found is None:  # it is anywhere
            places = at
        else:
            if len(found) < len(rows) // 4:  # then most texts have none
                has_any = np.zeros(len(self._starts), np.bool_)
                has_any[np.searchsorted(self._starts, found, side="right") - 1] = True
                chosen = has_any[rows]
                rows, at, ends = rows[chosen], at[chosen], ends[chosen]
            nowhere = len(self._bytes) + 1
            places = np.append(found, nowhere)[np.searchsorted(found, at)]
        behind = places + len(part)
        fits = behind <= ends
        return rows[fits], behind[fits], ends[fits]

    def _places(self, part: _Part) -> Ids | None:
        """Where a part is, in all texts and across their bounds; None if it says nothing."""
        wanted = self._rarest_first(part)
        if not wanted:
            return None
        (offset, byte), *others = wanted
        last = len(self._bytes) - (len(part) - 1 - offset)
        places = np.flatnonzero(self._bytes[offset : max(last, offset)] == byte)
        for offset, byte in others:
            places = places[self._bytes[places + offset] == byte]
        return places

    def _holding(self, at: Ids, part: _Part) -> Ids:
        """Which of some places, as positions in `at`, a part is at; it fits there."""
        kept = np.arange(len(at))
        for offset, byte in self._rarest_first(part):
            kept = kept[self._bytes[at[kept] + offset] == byte]
        return kept

    def _rarest_first(self, part: _Part) -> list[tuple[int, int]]:
        """(offset, byte) of a part, those first that rule out most."""
        known = [(offset, byte) for offset, byte in enumerate(part) if byte is not None]
        return sorted(known, key=lambda one: int(self._counts[one[1]]))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _lower_bytes(part: Sequence[str | None]) -> _Part:
    lowered: _Part = []
    for character in part:
        lowered += [None] if character is None else _encoded(character).lower()
    return lowered
