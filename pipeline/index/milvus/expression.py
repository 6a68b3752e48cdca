"""A condition → what Milvus can filter by: an expression that holds wherever the condition does.

It may hold elsewhere too, as who asks looks at the items that are found. So what Milvus would not
judge as conditions do is left out: `not`, `<>`, `like`, `is null`, columns within columns. What is
left of `or` is nothing if one side is left out; of `and`, the other side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipeline.catalog.values import Value, as_number, canonical
from pipeline.index.milvus.columns import is_exact

MAX_TERMS = 256
"""Comparisons in an expression: with more it is left out."""
# Names, texts and numbers that are written the same in both languages.
_NAME = re.compile(r"[^\"'\\\x00-\x1f\x7f]+")
_TEXT = re.compile(rf'"(?:{_NAME.pattern})?"')
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def to_expression(where: str) -> str | None:
    """Return an expression of Milvus that holds for every row whose item meets a condition.

    None if there is nothing to filter by. The condition is one that `Condition` takes.

        to_expression("category = 'Watches' and price < 2000 and name like 'Ø%'")
        # '(shared == true or (columns["category"] == "Watches" and columns["price"] < 2000))'
    """
    import sqlglot
    from sqlglot import exp

    try:
        tree = sqlglot.parse_one(where, into=exp.Condition, dialect="sqlite")
        expression = _write(tree)
    except RecursionError:
        return None
    if expression is None or expression.count("columns[") > MAX_TERMS:
        return None
    return f"(shared == true or {expression})"


def _write(node: Any) -> str | None:
    from sqlglot import exp

    match node:
        case exp.Paren():
            return _write(node.this)
        case exp.And():
            return _joined([one for one in _sides(node) if one is not None], "and")
        case exp.Or():
            sides = _sides(node)
            return None if None in sides else _joined([one for one in sides if one], "or")
        case exp.In() if node.expressions:
            terms = [_term(node.this, "==", value) for value in node.expressions]
            return None if None in terms else _joined([one for one in terms if one], "or")
        case exp.Between():
            ends = ((">=", node.args["low"]), ("<=", node.args["high"]))
            terms = [_term(node.this, operator, value) for operator, value in ends]
            return _joined([one for one in terms if one is not None], "and")
    operators = {exp.EQ: "==", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
    operator = operators.get(type(node))
    return None if operator is None else _term(node.this, operator, node.expression)


def _sides(node: Any) -> list[str | None]:
    return [_write(node.this), _write(node.expression)]


def _joined(terms: Sequence[str], word: str) -> str | None:
    """Join terms with few levels of brackets, which Milvus limits; None if there are none."""
    if len(terms) <= 1:
        return terms[0] if terms else None
    middle = len(terms) // 2
    return f"({_joined(terms[:middle], word)} {word} {_joined(terms[middle:], word)})"


def _term(column: Any, operator: str, node: Any) -> str | None:
    """A comparison of one column with a value; None if Milvus might judge it otherwise."""
    from sqlglot import exp

    value = _value(node)
    if not isinstance(column, exp.Column) or len(column.parts) != 1 or value is None:
        return None
    name = column.parts[0].name
    literal = f'"{value}"' if isinstance(value, str) else repr(value)
    written = _TEXT if isinstance(value, str) else _NUMBER
    is_plain = _NAME.fullmatch(name) and written.fullmatch(literal)
    return f'columns["{name}"] {operator} {literal}' if is_plain and is_exact(value) else None


def _value(node: Any) -> Value | None:
    """The canonical value of a literal."""
    from sqlglot import exp

    match node:
        case exp.Literal(is_string=True):
            return canonical(str(node.this))
        case exp.Literal():
            number = as_number(str(node.this))
        case exp.Neg(this=exp.Literal(is_string=False)):
            number = as_number(f"-{node.this.this}")
        case exp.Boolean():
            number = int(node.this)
        case _:
            return None
    return None if number is None else canonical(number)
