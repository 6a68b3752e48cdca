"""The text of a condition → a tree. sqlglot parses it; no SQL of a user is ever run.

Of what it finds, only the nodes and attributes listed here are taken over.
"""

from __future__ import annotations

from typing import Any

from pipeline.catalog.column_values import Operator
from pipeline.catalog.condition_tree import (
    Between,
    Column,
    Comparison,
    IsNull,
    Joined,
    Leaf,
    Like,
    Member,
    Not,
    Tree,
)
from pipeline.catalog.values import Value, as_number
from pipeline.errors import QueryError

MAX_CONDITIONS = 10_000  # on one column each, that are joined
MAX_DEPTH = 100  # of brackets, nots and chains within each other
MAX_MEMBERS = 10  # of a list, of which each is a part
MAX_SHOWN = 100  # characters of a condition in an error


def parse(where: str) -> Tree:
    """Parse a condition: `parse("price < 2000")`; `conditions.py` says what they are.

    Raises:
        QueryError: the text is none.
    """
    try:
        return _Reader().read(_parsed(where))
    except RecursionError as error:
        message = f"{_cut(where)!r} is nested too deeply"
        raise QueryError(message, hint="use fewer brackets and nots") from error


class _Reader:
    """Takes over the tree of a parser."""

    def __init__(self) -> None:
        self._conditions = 0

    def read(self, node: Any, depth: int = 0) -> Tree:
        """Read a condition, or conditions joined by and, or, not and brackets."""
        from sqlglot import exp

        if depth > MAX_DEPTH:
            raise RecursionError
        match node:
            case exp.Paren():
                return self.read(_only(node, "this").this, depth + 1)
            case exp.Not():
                return Not(self.read(_only(node, "this").this, depth + 1))
            case exp.And() | exp.Or():
                word = "and" if isinstance(node, exp.And) else "or"
                return Joined(word, tuple(self.read(one, depth + 1) for one in _operands(node)))
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            message = f"a condition joins at most {MAX_CONDITIONS:,} others"
            raise QueryError(message, hint="list values as column in (1, 2, 3)")
        return _leaf(node)


def _leaf(node: Any) -> Leaf:
    """Read one condition on one column."""
    from sqlglot import exp

    operators: dict[Any, Operator] = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<="}
    operators |= {exp.GT: ">", exp.GTE: ">="}
    match node:
        case exp.Is(expression=exp.Null()):
            return IsNull(_column(_only(node, "this", "expression").this))
        case exp.In() if node.expressions:
            return _member(_only(node, "this", "expressions"))
        case exp.Between():
            _only(node, "this", "low", "high")
            low, high = _value(node.args["low"]), _value(node.args["high"])
            return Between(_cut(node.sql()), _column(node.this), low, high)
        case exp.Like() | exp.Escape(this=exp.Like()):
            return _like(_cut(node.sql()), node)
    if type(node) not in operators:
        raise _unusable(node)
    value = _value(_only(node, "this", "expression").expression)
    return Comparison(_cut(node.sql()), _column(node.this), operators[type(node)], value)


def _member(node: Any) -> Member:
    from sqlglot import exp

    values, column = tuple(map(_value, node.expressions)), _column(node.this)
    written = [
        _cut(exp.EQ(this=node.this.copy(), expression=one.copy()).sql())
        for one in node.expressions[:MAX_MEMBERS]
    ]
    parts = (Comparison(one, column, "=", v) for one, v in zip(written, values, strict=False))
    return Member(column, values, tuple(parts))


def _like(text: str, node: Any) -> Like:
    from sqlglot import exp

    escape = None
    if isinstance(node, exp.Escape):
        character = _value(_only(node, "this", "expression").expression)
        if not isinstance(character, str) or len(character) != 1:
            raise QueryError(f"`{text}`: escape needs a single character in single quotes")
        escape, node = character, node.this
    _only(node, "this", "expression", "negate")
    pattern = _value(node.expression)
    if not isinstance(pattern, str):
        raise QueryError(f"`{_cut(node.expression.sql())}`: like needs a text in single quotes")
    return Like(text, _column(node.this), pattern, escape, bool(node.args.get("negate")))


def _column(node: Any) -> Column:
    from sqlglot import exp

    if not isinstance(node, exp.Column):
        hint = "write conditions as column = 'value'"
        raise QueryError(f"`{_cut(node.sql())}` is not a column", hint=hint)
    return tuple(part.name for part in _only(node, "this", "table", "db", "catalog").parts)


def _value(node: Any) -> Value:
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


def _parsed(where: str) -> Any:
    import sqlglot
    from sqlglot import exp

    try:
        where.encode()
        return sqlglot.parse_one(where, into=exp.Condition, dialect="sqlite")
    except UnicodeEncodeError as error:
        raise QueryError(f"{_cut(where)!r} is not a text: it has lone surrogates") from error
    except sqlglot.errors.SqlglotError as error:
        hint = "write it as category = 'Watches' and price < 2000"
        raise QueryError(f"{_cut(where)!r} is not a condition", hint=hint) from error
