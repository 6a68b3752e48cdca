"""Conditions as trees, whatever evaluates them.

`text` is a condition on one column as it was written, cut to what fits into a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.catalog.column_values import Operator
from pipeline.catalog.values import Value

Column = tuple[str, ...]
"""The name of a column; of several levels where it is itself structured."""


@dataclass(frozen=True)
class Comparison:
    """`price < 2000`."""

    text: str
    column: Column
    operator: Operator
    value: Value


@dataclass(frozen=True)
class Between:
    """`price between 100 and 2000`: both ends belong to it."""

    text: str
    column: Column
    low: Value
    high: Value


@dataclass(frozen=True)
class Member:
    """`brand in ('Titan', 'Fossil')`."""

    column: Column
    values: tuple[Value, ...]
    parts: tuple[Comparison, ...]
    """The first of the values, each as a condition of its own."""


@dataclass(frozen=True)
class Like:
    """`brand like 'tit%'`; the pattern's `%` is any text, `_` any character."""

    text: str
    column: Column
    pattern: str
    escape: str | None
    is_negated: bool


@dataclass(frozen=True)
class IsNull:
    """`brand is null`."""

    column: Column


@dataclass(frozen=True)
class Not:
    """The opposite of a condition."""

    condition: Tree


@dataclass(frozen=True)
class Joined:
    """Conditions of which all must hold, or any."""

    word: str  # and, or
    conditions: tuple[Tree, ...]


Leaf = Comparison | Between | Member | Like | IsNull
Tree = Leaf | Not | Joined


def leaves(tree: Tree, *, is_negated: bool = False) -> Iterator[tuple[Leaf, bool]]:
    """Yield the conditions on one column, in order, and whether each is within a `not`."""
    match tree:
        case Not():
            yield from leaves(tree.condition, is_negated=True)
        case Joined():
            for condition in tree.conditions:
                yield from leaves(condition, is_negated=is_negated)
        case _:
            yield tree, is_negated
