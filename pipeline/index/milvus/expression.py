"""A condition → what Milvus can filter by: an expression that holds wherever the condition does.

It may hold elsewhere too, as who asks looks at the items that are found. So what Milvus would not
judge as conditions do is left out: `not`, `<>`, `like`, `is null`, columns within columns. What is
left of `or` is nothing if one side is left out; of `and`, the other side.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipeline.catalog.condition_tree import Between, Column, Comparison, Joined, Member, Tree
from pipeline.catalog.values import Value, canonical
from pipeline.index.milvus.collection import COLUMNS, ROW, SHARED
from pipeline.index.milvus.columns import is_exact

MAX_TERMS = 256
"""Comparisons in an expression: with more it is left out."""
_OPERATORS = {"=": "==", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
# Names, texts and numbers that are written the same in both languages.
_NAME = re.compile(r"[^\"'\\\x00-\x1f\x7f]+")
_TEXT = re.compile(rf'"(?:{_NAME.pattern})?"')
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def to_expression(condition: Tree, stale: Sequence[int] = ()) -> str | None:
    """Return an expression of Milvus that holds for every row whose item meets a condition.

    It holds for `stale` rows, too. None if there is nothing to filter by.

        to_expression(parse("category = 'Watches' and price < 2000 and name like 'Ø%'"))
        # '(shared == true or (columns["category"] == "Watches" and columns["price"] < 2000))'
    """
    expression = _write(condition)
    if expression is None or expression.count(f"{COLUMNS}[") > MAX_TERMS:
        return None
    passing = f"{SHARED} == true"
    if stale:
        passing += f" or {rows_expression(stale)}"
    return f"({passing} or {expression})"


def rows_expression(rows: Iterable[int]) -> str:
    """Return what holds for these rows: `rows_expression([3, 4])  # 'row in [3,4]'`."""
    return f"{ROW} in [{','.join(map(str, rows))}]"


def _write(tree: Tree) -> str | None:
    match tree:
        case Joined(word, conditions):
            return _joined([_write(one) for one in conditions], word)
        case Member(column, values):
            return _joined([_term(column, "=", value) for value in values], "or")
        case Between():
            ends = ((">=", tree.low), ("<=", tree.high))
            return _joined([_term(tree.column, operator, end) for operator, end in ends], "and")
        case Comparison(_, column, operator, value):
            return _term(column, operator, value)
    return None


def _joined(terms: Sequence[str | None], word: str) -> str | None:
    """Join what is not left out."""
    kept = [term for term in terms if term is not None]
    return None if word == "or" and len(kept) < len(terms) else _balanced(kept, word)


def _balanced(terms: Sequence[str], word: str) -> str | None:
    """Join terms with few levels of brackets, which Milvus limits; None if there are none."""
    if len(terms) <= 1:
        return terms[0] if terms else None
    middle = len(terms) // 2
    return f"({_balanced(terms[:middle], word)} {word} {_balanced(terms[middle:], word)})"


def _term(column: Column, operator: str, value: Value) -> str | None:
    """A comparison of one column with a value; None if Milvus might judge it otherwise."""
    if operator not in _OPERATORS or len(column) != 1:
        return None
    value = canonical(value)
    literal = f'"{value}"' if isinstance(value, str) else repr(value)
    written = _TEXT if isinstance(value, str) else _NUMBER
    is_plain = _NAME.fullmatch(column[0]) and written.fullmatch(literal)
    term = f'{COLUMNS}["{column[0]}"] {_OPERATORS[operator]} {literal}'
    return term if is_plain and is_exact(value) else None
