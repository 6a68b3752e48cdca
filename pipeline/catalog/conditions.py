"""Conditions on a catalog's columns: `category = 'Watches' and price < 2000` → item ids.

sqlglot parses the text. Of its tree, only the nodes and attributes listed here are written out
again as SQL, with every value bound as a parameter and every column looked up in the catalog, so
that no SQL of a user is ever run.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.columns import check_column, column
from pipeline.catalog.ledger import Rows
from pipeline.catalog.values import OTHER_KIND, Value, as_number
from pipeline.errors import QueryError

Ids = npt.NDArray[np.int64]
MAX_SUGGESTIONS = 3  # values near one that no item has
MAX_DISTINCT = 10_000  # values of a column among which they are looked for


class Condition:
    r"""A condition on the columns of the available items of a catalog.

    Columns are `id`, `key`, `name`, `category` and every column of the metadata, with a dot between
    levels where a column is itself structured, and in double quotes where a name is not a single
    word. They compare (=, <>, <, <=, >, >=, between, in, like, is null) with texts in single
    quotes, numbers, true and false, and are joined by and, or, not and brackets. Values are equal
    and ordered as `catalog/values.py` says; `like` takes `%` and `_`, and `escape '\'`. As in SQL,
    where an item lacks the column, neither the condition nor its opposite is true; the same holds
    where a number is compared and the item has a text.

        Condition(catalog, "category = 'Watches' and price < 2000").items  # ids, int64
    """

    def __init__(self, catalog: Catalog, where: str) -> None:
        """Read a condition.

        Raises:
            QueryError: the text is not such a condition, or names a column that no item has.
        """
        self._catalog = catalog
        self._writer = _SqlWriter(catalog)
        self._sql = self._writer.write(_parse(where))

    @cached_property
    def items(self) -> Ids:
        """Ids of the items that meet the condition: (n,) int64, ascending."""
        return self._ids("1")

    def among(self, items: Ids) -> Ids:
        """Return which of these items meet the condition, ascending; for few items it is faster."""
        candidates = "id IN (SELECT value FROM json_each(:items))"
        return self._ids(candidates, items=json.dumps(items.tolist()))

    @cached_property
    def notes(self) -> list[str]:
        """What to know beside an answer: which items the condition could not judge, and why."""
        notes = []
        for name, sql in self._writer.number_columns.items():
            is_text = f"FILTER (WHERE compare_values({sql}, 0) IS NULL)"
            counts = f"COUNT(*) {is_text}, COUNT(*), MIN({sql}) {is_text}"
            ((texts, total, example),) = self._rows(counts, f"{sql} IS NOT NULL")
            if texts:
                notes.append(
                    f"{name} is a text in {texts:,} of the {total:,} items that have it (such as"
                    f" {example!r}): they meet no comparison with a number"
                )
        return notes

    @cached_property
    def suggestions(self) -> list[str]:
        """For texts that no item has: the values of their columns that are nearest to them."""
        suggestions = []
        for name, sql, parameter in self._writer.equalities:
            value = str(self._writer.parameters[parameter])
            equal = self._rows("1", f"compare_values({sql}, :{parameter}) = 0 LIMIT 1")
            if not any(equal):
                distinct, limit = f"DISTINCT value_label({sql})", f"LIMIT {MAX_DISTINCT}"
                labels = [row[0] for row in self._rows(distinct, f"{sql} IS NOT NULL {limit}")]
                nearest = ", ".join(_nearest(value, labels))
                suggestions.append(f"no item has {name} = {value!r}; {name} has {nearest}")
        return suggestions

    def _ids(self, candidates: str, **parameters: str) -> Ids:
        rows = self._rows("id", f"{candidates} AND ({self._sql}) ORDER BY id", **parameters)
        return np.fromiter((row["id"] for row in rows), np.int64)

    def _rows(self, columns: str, condition: str, **parameters: str) -> Rows:
        """Stream columns of the available items that meet a condition in SQL."""
        query = f"SELECT {columns} FROM items WHERE state = 'available' AND {condition}"  # noqa: S608
        return self._catalog.select(query, {**self._writer.parameters, **parameters})


def _nearest(value: str, values: Sequence[str]) -> list[str]:
    """The values most like a text, whatever their case; the first ones if none is like it."""
    by_folded = {text.casefold(): text for text in reversed(values)}
    close = difflib.get_close_matches(value.casefold(), by_folded, MAX_SUGGESTIONS, cutoff=0.4)
    return [by_folded[text] for text in close] or sorted(values)[:MAX_SUGGESTIONS]


@dataclass
class _SqlWriter:
    """Writes the tree of a condition as SQL, and collects the parameters that it binds."""

    catalog: Catalog
    parameters: dict[str, Any] = field(default_factory=dict)
    # Columns that are compared with numbers: name → SQL.
    number_columns: dict[str, str] = field(default_factory=dict)
    # Columns that are to equal a text: (name, SQL, parameter).
    equalities: list[tuple[str, str, str]] = field(default_factory=list)

    def write(self, node: Any) -> str:
        """Write a condition, or conditions joined by and, or, not and brackets."""
        from sqlglot import exp

        match node:
            case exp.Paren():
                return f"({self.write(_only(node, 'this').this)})"
            case exp.Not():
                return f"NOT ({self.write(_only(node, 'this').this)})"
            case exp.And() | exp.Or():
                word = " AND " if isinstance(node, exp.And) else " OR "
                return _balanced([self.write(part) for part in _operands(node)], word)
        return f"({self._condition(node)})"

    def _condition(self, node: Any) -> str:
        """Write one condition on one column."""
        from sqlglot import exp

        # By what `compare_values` returns; numbers and texts are unequal, and have no order.
        order = f"NULLIF({{}}, {OTHER_KIND})"
        comparisons = {exp.EQ: "{} = 0", exp.NEQ: "{} <> 0", exp.LT: f"{order} < 0"}
        comparisons |= {exp.LTE: f"{order} <= 0", exp.GT: f"{order} > 0", exp.GTE: f"{order} >= 0"}
        match node:
            case exp.Is(expression=exp.Null()):
                return f"{self._column(_only(node, 'this', 'expression').this)[1]} IS NULL"
            case exp.In() if node.expressions:
                return self._member(_only(node, "this", "expressions"))
            case exp.Between():
                _only(node, "this", "low", "high")
                low = self._compare(node.this, comparisons[exp.GTE], node.args["low"])
                high = self._compare(node.this, comparisons[exp.LTE], node.args["high"])
                return f"{low} AND {high}"
            case exp.Like() | exp.Escape(this=exp.Like()):
                return self._like(node)
        if type(node) not in comparisons:
            raise _unusable(node)
        _only(node, "this", "expression")
        return self._compare(node.this, comparisons[type(node)], node.expression)

    def _compare(self, left: Any, comparison: str, right: Any) -> str:
        value = self._value(right)
        name, sql = self._column(left)
        parameter = self._bind(value)
        if not isinstance(value, str):
            self.number_columns[name] = sql
        elif comparison == "{} = 0":
            self.equalities.append((name, sql, parameter))
        return comparison.format(f"compare_values({sql}, :{parameter})")

    def _member(self, node: Any) -> str:
        values = [self._value(value) for value in node.expressions]
        name, sql = self._column(node.this)
        if any(not isinstance(value, str) for value in values):
            self.number_columns[name] = sql
        texts = [value for value in values if isinstance(value, str)]
        self.equalities += [(name, sql, self._bind(text)) for text in texts[:MAX_SUGGESTIONS]]
        return f"is_member({sql}, :{self._bind(json.dumps(values))})"

    def _like(self, node: Any) -> str:
        from sqlglot import exp

        escape = ""
        if isinstance(node, exp.Escape):
            character = self._value(_only(node, "this", "expression").expression)
            if not isinstance(character, str) or len(character) != 1:
                message = f"`{node.sql()}`: escape needs a single character in single quotes"
                raise QueryError(message)
            escape, node = f" ESCAPE :{self._bind(character)}", node.this
        _only(node, "this", "expression", "negate")
        pattern = self._value(node.expression)
        if not isinstance(pattern, str):
            raise QueryError(f"`{node.expression.sql()}`: like needs a text in single quotes")
        _, sql = self._column(node.this)
        negation = "NOT " if node.args.get("negate") else ""
        return f"value_label({sql}) {negation}LIKE :{self._bind(pattern)}{escape}"

    def _bind(self, value: Value) -> str:
        parameter = f"value_{len(self.parameters)}"
        self.parameters[parameter] = value
        return parameter

    def _column(self, node: Any) -> tuple[str, str]:
        """The name of a column, and SQL for its value."""
        from sqlglot import exp

        if not isinstance(node, exp.Column):
            hint = "write conditions as column = 'value'"
            raise QueryError(f"`{node.sql()}` is not a column", hint=hint)
        _only(node, "this", "table", "db", "catalog")
        names = tuple(part.name for part in node.parts)
        check_column(self.catalog, names)
        sql, parameters = column(names, f"column_{len(self.parameters)}")
        self.parameters |= parameters
        return ".".join(names), sql

    def _value(self, node: Any) -> Value:
        from sqlglot import exp

        match node:
            case exp.Literal(is_string=True):
                return str(node.this)
            case exp.Literal() | exp.Neg(this=exp.Literal(is_string=False)):
                number = str(node.this) if isinstance(node, exp.Literal) else f"-{node.this.this}"
                # A number of too many digits is the text that a table keeps of it.
                return number if (parsed := as_number(number)) is None else parsed
            case exp.Boolean():
                return int(node.this)
            case exp.Column():
                hint = "write texts in single quotes"
            case _:
                hint = "give a text in single quotes or a number"
        raise QueryError(f"`{node.sql()}` is not a value", hint=hint)


def _only(node: Any, *attributes: str) -> Any:
    """Return a node; refuse it if it has other attributes, as each of them changes its meaning."""
    if any(value for name, value in node.args.items() if name not in attributes):
        raise _unusable(node)
    return node


def _unusable(node: Any) -> QueryError:
    message = f"`{node.sql()}` is not a condition that can be used"
    return QueryError(message, hint="see `query --help`")


def _operands(node: Any) -> list[Any]:
    """The conditions that a chain of ands, or of ors, joins."""
    operands, rest = [], [node]
    while rest:
        part = rest.pop()
        if type(part) is type(node):
            rest += [_only(part, "this", "expression").expression, part.this]
        else:
            operands.append(part)
    return operands


def _balanced(parts: Sequence[str], word: str) -> str:
    """Join many conditions with few levels of brackets: SQLite limits their depth."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_balanced(parts[:middle], word)}{word}{_balanced(parts[middle:], word)})"


def _parse(where: str) -> Any:
    import sqlglot
    from sqlglot import exp

    try:
        return sqlglot.parse_one(where, into=exp.Condition, dialect="sqlite")
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        hint = "write it as category = 'Watches' and price < 2000"
        raise QueryError(f"{where!r} is not a condition", hint=hint) from error
