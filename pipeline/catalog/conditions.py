"""Conditions on a catalog's columns: `category = 'Watches' and price < 2000` → item ids.

sqlglot parses the text. Of its tree, only the node types listed here are written out again as SQL,
with every value bound as a parameter and every column looked up in the catalog, so that no SQL of a
user is ever run.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.records import State
from pipeline.errors import QueryError

Ids = npt.NDArray[np.int64]
_ITEM_COLUMNS = ("id", "key", "name", "category")  # all other columns are metadata
_MAX_SHOWN = 30  # columns in an error


class Condition:
    """A condition on the columns of the available items of a catalog.

    Columns are `id`, `key`, `name`, `category` and every column of the metadata, with a dot between
    levels where a column is itself structured, and in double quotes where a name is not a single
    word. They compare (=, <>, <, <=, >, >=, between, in, like, is null) with texts in single
    quotes, numbers, true and false, and are joined by and, or, not and brackets. As in SQL, where
    an item lacks the column, neither the condition nor its opposite is true; the same holds where
    a number is compared and the item has a text.

        Condition(catalog, "category = 'Watches' and price < 2000").items  # ids, int64
    """

    def __init__(self, catalog: Catalog, where: str) -> None:
        """Read a condition.

        Raises:
            QueryError: the text is not such a condition, or names a column that no item has.
        """
        writer = _SqlWriter(catalog)
        self._catalog = catalog
        self._sql = writer.write(_parse(where))
        self._parameters = {**writer.parameters, "available": State.AVAILABLE}

    @cached_property
    def items(self) -> Ids:
        """Ids of the items that meet the condition: (n,) int64, ascending."""
        return self._select("1")

    def among(self, items: Ids) -> Ids:
        """Return which of these items meet the condition, ascending; for few items it is faster."""
        candidates = "id IN (SELECT value FROM json_each(:items))"
        return self._select(candidates, items=json.dumps(items.tolist()))

    def _select(self, candidates: str, **parameters: str) -> Ids:
        rows = self._catalog.select(
            f"SELECT id FROM items WHERE state = :available AND {candidates} AND ({self._sql})"  # noqa: S608
            " ORDER BY id",
            {**self._parameters, **parameters},
        )
        return np.fromiter((row["id"] for row in rows), np.int64)


class Groups:
    """Groups of items that share the value of a column.

    Groups(catalog, "category")([1, 2])  # [("value", "Watches"), ("item", 2)]
    """

    def __init__(self, catalog: Catalog, name: str) -> None:
        """Take a column by its name; a dot may stand between levels of a structured one.

        Raises:
            QueryError: no item has it.
        """
        names = tuple(name.split(".")) if "." in name and not _has(catalog, (name,)) else (name,)
        check_column(catalog, names)
        self.catalog = catalog
        self._sql, self._parameters = column(names)

    def __call__(self, items: Sequence[int]) -> list[Hashable]:
        """Return the group of each item; an item without a value is a group of its own."""
        rows = self.catalog.select(
            f"SELECT id, {self._sql} FROM items"  # noqa: S608
            " WHERE id IN (SELECT value FROM json_each(:items))",
            {**self._parameters, "items": json.dumps(list(items))},
        )
        values = {item: value for item, value in rows if value is not None}
        return [("value", values[i]) if i in values else ("item", i) for i in items]


def check_column(catalog: Catalog, names: tuple[str, ...]) -> None:
    """Make sure that at least one item has a column.

    Raises:
        QueryError: none has; the error lists the columns that there are.
    """
    if not _has(catalog, names):
        query = "SELECT DISTINCT cell.key FROM items, json_each(metadata) AS cell ORDER BY 1"
        columns = [*_ITEM_COLUMNS, *(row[0] for row in catalog.select(query))]
        nearest = difflib.get_close_matches(names[0], columns, n=1)
        hint = f" (did you mean {nearest[0]}?)" if nearest and len(names) == 1 else ""
        more = ", ..." if len(columns) > _MAX_SHOWN else ""
        raise QueryError(
            f"no item has a column {'.'.join(names)!r}{hint}; there are"
            f" {', '.join(columns[:_MAX_SHOWN])}{more}"
        )


def _has(catalog: Catalog, names: tuple[str, ...]) -> bool:
    if len(names) == 1 and names[0] in _ITEM_COLUMNS:
        return True
    value, parameters = column(names)
    query = f"SELECT 1 FROM items WHERE {value} IS NOT NULL LIMIT 1"  # noqa: S608
    return next(catalog.select(query, parameters), None) is not None


def column(names: tuple[str, ...], prefix: str = "column") -> tuple[str, dict[str, Any]]:
    """Return SQL for the value of a column of `items`, and the parameters that it binds."""
    if len(names) == 1 and names[0] in _ITEM_COLUMNS:
        return names[0], {}
    value = "metadata"
    for level in range(len(names)):
        # Not json_extract: its paths cannot name a column with a quote in it.
        value = f"(SELECT value FROM json_each({value}) WHERE key = :{prefix}_{level})"  # noqa: S608
    return value, {f"{prefix}_{level}": name for level, name in enumerate(names)}


@dataclass
class _SqlWriter:
    """Writes the tree of a condition as SQL, and collects the parameters that it binds."""

    catalog: Catalog
    parameters: dict[str, Any] = field(default_factory=dict)

    def write(self, node: Any) -> str:
        """Write a condition, or conditions joined by and, or, not and brackets."""
        from sqlglot import exp

        match node:
            case exp.Paren():
                return f"({self.write(node.this)})"
            case exp.Not():
                return f"NOT ({self.write(node.this)})"
            case exp.And() | exp.Or():
                word = "AND" if isinstance(node, exp.And) else "OR"
                return f"({self.write(node.this)} {word} {self.write(node.expression)})"
        return self.condition(node)

    def condition(self, node: Any) -> str:
        """Write one condition on one column."""
        from sqlglot import exp

        operators = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">"}
        operators |= {exp.GTE: ">=", exp.Like: "LIKE"}
        match node:
            case exp.Is(expression=exp.Null()):
                return f"{self.column(node.this)} IS NULL"
            case exp.In() if node.expressions:
                values = (self.compare(node.this, "=", value) for value in node.expressions)
                return f"({' OR '.join(values)})"
            case exp.Between():
                low = self.compare(node.this, ">=", node.args["low"])
                return f"({low} AND {self.compare(node.this, '<=', node.args['high'])})"
        if type(node) not in operators:
            raise QueryError(
                f"`{node.sql()}` is not a condition that can be used; see `query --help`"
            )
        return self.compare(node.this, operators[type(node)], node.expression)

    def compare(self, left: Any, operator: str, right: Any) -> str:
        """Write a comparison of a column with a value: texts as texts, numbers as numbers."""
        value = self.value(right)
        name = f"value_{len(self.parameters)}"
        sql = self.column(left)
        self.parameters[name] = value
        if isinstance(value, str):
            return f"CAST({sql} AS TEXT) {operator} :{name}"
        if operator == "LIKE":
            raise QueryError(f"`{right.sql()}`: like needs a text in single quotes")
        return f"CASE WHEN typeof({sql}) IN ('integer', 'real') THEN {sql} {operator} :{name} END"

    def column(self, node: Any) -> str:
        from sqlglot import exp

        if not isinstance(node, exp.Column):
            raise QueryError(
                f"`{node.sql()}` is not a column; write conditions as column = 'value'"
            )
        names = tuple(part.name for part in node.parts)
        check_column(self.catalog, names)
        sql, parameters = column(names, f"column_{len(self.parameters)}")
        self.parameters |= parameters
        return sql

    def value(self, node: Any) -> Any:
        from sqlglot import exp

        match node:
            case exp.Literal(is_string=True):
                return node.this
            case exp.Literal() | exp.Neg(this=exp.Literal(is_string=False)):
                return float(node.sql())
            case exp.Boolean():
                return int(node.this)
            case exp.Column():
                raise QueryError(f"`{node.sql()}` is not a value; write texts in single quotes")
        raise QueryError(f"`{node.sql()}` is not a value; give a text in single quotes or a number")


def _parse(where: str) -> Any:
    import sqlglot
    from sqlglot import exp

    try:
        return sqlglot.parse_one(where, into=exp.Condition, dialect="sqlite")
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        raise QueryError(
            f"{where!r} is not a condition; write it as category = 'Watches' and price < 2000"
        ) from error
