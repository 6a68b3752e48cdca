"""The text of a condition → SQL. sqlglot parses it; no SQL of a user is ever run.

Of its tree, only the nodes and attributes listed here are written out again, with every value bound
as a parameter and every column looked up in the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.columns import check_column, column
from pipeline.catalog.values import OTHER_KIND, Value, as_number
from pipeline.errors import QueryError

MAX_CONDITIONS = 10_000  # on one column each, that are joined
MAX_MEMBERS = 10  # of a list, of which each is a part
MAX_SHOWN = 100  # characters of a condition in an error
NESTING_HINT = "use fewer brackets and nots"
_ORDER = f"NULLIF({{}}, {OTHER_KIND})"  # numbers and texts are unequal, and have no order


@dataclass(frozen=True)
class Part:
    """A condition on one column that must be met as it is, and its SQL."""

    text: str
    sql: str
    name: str
    column: str
    """SQL for the value of the column."""
    value: Value
    """What the column is compared with; of `between`, the lower end."""


@dataclass
class SqlWriter:
    """Writes the tree of a condition as SQL, and collects what it compares."""

    catalog: Catalog
    parameters: dict[str, Any] = field(default_factory=dict)
    """What the SQL binds."""
    compared: dict[str, str] = field(default_factory=dict)
    """Columns that are compared with values: name → SQL."""
    compared_with_numbers: set[str] = field(default_factory=set)
    parts: list[Part] = field(default_factory=list)
    """The conditions on one column that are not negated."""
    _columns: dict[tuple[str, ...], str] = field(default_factory=dict)
    _conditions: int = 0
    _is_negated: bool = False

    def write(self, where: str) -> str:
        """Write the SQL of a condition.

            SqlWriter(catalog).write("price < 2000")

        Raises:
            QueryError: the text is no condition, or names a column that no item has.
        """
        try:
            return self._write(_parse(where))
        except RecursionError as error:
            message = f"{_cut(where)!r} is nested too deeply"
            raise QueryError(message, hint=NESTING_HINT) from error

    def _write(self, node: Any) -> str:
        """Write a condition, or conditions joined by and, or, not and brackets: all in brackets."""
        from sqlglot import exp

        match node:
            case exp.Paren():
                return self._write(_only(node, "this").this)
            case exp.Not():
                before, self._is_negated = self._is_negated, True
                sql = f"(NOT {self._write(_only(node, 'this').this)})"
                self._is_negated = before
                return sql
            case exp.And() | exp.Or():
                word = " AND " if isinstance(node, exp.And) else " OR "
                return _balanced([self._write(part) for part in _operands(node)], word)
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            message = f"a condition joins at most {MAX_CONDITIONS:,} others"
            raise QueryError(message, hint="list values as column in (1, 2, 3)")
        return f"({self._condition(node)})"

    def _condition(self, node: Any) -> str:
        """Write one condition on one column."""
        from sqlglot import exp

        # By what `compare_values` returns.
        comparisons = {exp.EQ: "{} = 0", exp.NEQ: "{} <> 0", exp.LT: f"{_ORDER} < 0"}
        comparisons |= {exp.LTE: f"{_ORDER} <= 0", exp.GT: f"{_ORDER} > 0"}
        comparisons |= {exp.GTE: f"{_ORDER} >= 0"}
        match node:
            case exp.Is(expression=exp.Null()):
                return f"{self._column(_only(node, 'this', 'expression').this)[1]} IS NULL"
            case exp.In() if node.expressions:
                return self._member(_only(node, "this", "expressions"))
            case exp.Between():
                _only(node, "this", "low", "high")
                low = self._compare(node.this, comparisons[exp.GTE], node.args["low"])
                high = self._compare(node.this, comparisons[exp.LTE], node.args["high"])
                return self._part(node, f"{low} AND {high}", self._value(node.args["low"]))
            case exp.Like() | exp.Escape(this=exp.Like()):
                return self._like(node)
        if type(node) not in comparisons:
            raise _unusable(node)
        _only(node, "this", "expression")
        sql = self._compare(node.this, comparisons[type(node)], node.expression)
        return self._part(node, sql, self._value(node.expression))

    def _part(self, node: Any, sql: str, value: Value) -> str:
        """Keep a condition on one column, to say of it what no item has; return its SQL."""
        if not self._is_negated:
            name, column_sql = self._column(node.this)
            self.parts.append(Part(_cut(node.sql()), sql, name, column_sql, value))
        return sql

    def _compare(self, left: Any, comparison: str, right: Any) -> str:
        value = self._value(right)
        sql = self._compared(left, value)
        return comparison.format(f"compare_values({sql}, :{self._bind(value)})")

    def _compared(self, node: Any, *values: Value) -> str:
        """Return the SQL of a column that is compared with values."""
        name, sql = self._column(node)
        self.compared[name] = sql
        if not all(isinstance(value, str) for value in values):
            self.compared_with_numbers.add(name)
        return sql

    def _member(self, node: Any) -> str:
        from sqlglot import exp

        values = [self._value(value) for value in node.expressions]
        sql = self._compared(node.this, *values)
        for member, value in zip(node.expressions[:MAX_MEMBERS], values, strict=False):
            equal = f"compare_values({sql}, :{self._bind(value)}) = 0"
            self._part(exp.EQ(this=node.this.copy(), expression=member.copy()), equal, value)
        return f"is_member({sql}, :{self._bind(json.dumps(values))})"

    def _like(self, node: Any) -> str:
        from sqlglot import exp

        escape = ""
        if isinstance(node, exp.Escape):
            character = self._value(_only(node, "this", "expression").expression)
            if not isinstance(character, str) or len(character) != 1:
                message = f"`{_cut(node.sql())}`: escape needs a single character in single quotes"
                raise QueryError(message)
            escape, node = f" ESCAPE :{self._bind(character)}", node.this
        _only(node, "this", "expression", "negate")
        pattern = self._value(node.expression)
        if not isinstance(pattern, str):
            raise QueryError(f"`{_cut(node.expression.sql())}`: like needs a text in single quotes")
        sql = self._compared(node.this, "")
        negation = "NOT " if node.args.get("negate") else ""
        like = f"value_label({sql}) {negation}LIKE :{self._bind(pattern)}{escape}"
        return like if negation else self._part(node, like, pattern.strip("%_"))

    def _bind(self, value: Value) -> str:
        parameter = f"value_{len(self.parameters)}"
        self.parameters[parameter] = value
        return parameter

    def _column(self, node: Any) -> tuple[str, str]:
        """The name of a column, and SQL for its value."""
        from sqlglot import exp

        if not isinstance(node, exp.Column):
            hint = "write conditions as column = 'value'"
            raise QueryError(f"`{_cut(node.sql())}` is not a column", hint=hint)
        _only(node, "this", "table", "db", "catalog")
        names = tuple(part.name for part in node.parts)
        if names not in self._columns:
            check_column(self.catalog, names)
            sql, parameters = column(names, f"column_{len(self.parameters)}")
            self.parameters |= parameters
            self._columns[names] = sql
        return ".".join(names), self._columns[names]

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
        raise QueryError(f"`{_cut(node.sql())}` is not a value", hint=hint)


def _only(node: Any, *attributes: str) -> Any:
    """Return a node; refuse it if it has other attributes, as each of them changes its meaning."""
    if any(value for name, value in node.args.items() if name not in attributes):
        raise _unusable(node)
    return node


def _unusable(node: Any) -> QueryError:
    message = f"`{_cut(node.sql())}` is not a condition that can be used"
    return QueryError(message, hint="see `query --help`")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


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
    except sqlglot.errors.SqlglotError as error:
        hint = "write it as category = 'Watches' and price < 2000"
        raise QueryError(f"{_cut(where)!r} is not a condition", hint=hint) from error
