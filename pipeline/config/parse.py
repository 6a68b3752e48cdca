"""YAML text → plain values, strictly: what YAML would take for something else is refused or kept.

A key given twice is refused, keys are always texts, dates stay texts, and a number remembers how
it was written, so that a folder may be called `2024.10` without quotes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_REPLACED = ("int", "float", "timestamp")  # YAML 1.1 reads 010 as 8, 1:30 as 90, 1e-4 as a text


def parse_yaml(text: str) -> Any:
    """Read one YAML document.

    Raises:
        ValueError: it is none; the text of the error is one line that says where.
    """
    try:
        # As yaml.safe_load does, by another loader; not unsafe, as S506 fears.
        return yaml.load(text, _StrictLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(_in_one_line(error)) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _in_one_line(error: yaml.YAMLError) -> str:
    """Say what is wrong and where, without the text around it, which may be long."""
    if isinstance(error, yaml.MarkedYAMLError):
        said = [error.context, error.problem]
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        return f"{', '.join(part for part in said if part)}{where}"
    return " ".join(str(error).split())


class _Written:
    """A number whose text is what was written: `1_000`, `0x1F`, `2024.10`, `1e-4`."""

    text: str

    def __str__(self) -> str:
        return self.text


class _WrittenInt(_Written, int):
    pass


class _WrittenFloat(_Written, float):
    pass


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader without YAML 1.1's surprises."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [pair for pair in pairs if pair[0].removeprefix(_TAG) not in _REPLACED]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name, times in Counter(key.value for key in scalars).items():
            if times > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} is given twice", node.start_mark
                )
        for key in scalars:
            if key.tag != f"{_TAG}merge":
                key.tag = f"{_TAG}str"
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            # PyYAML lets through what Python says of `!!int x` or of a number of 5,000 digits.
            tag = node.tag.removeprefix(_TAG)
            raise yaml.constructor.ConstructorError(
                None, None, f"cannot read this value as {tag}", node.start_mark
            ) from error


def _number(loader: _StrictLoader, node: yaml.ScalarNode) -> _Written:
    number: _Written
    if node.tag == f"{_TAG}int":
        number = _WrittenInt(loader.construct_yaml_int(node))
    else:
        number = _WrittenFloat(loader.construct_yaml_float(node))
    number.text = node.value
    return number


_NUMBERS = {
    "int": r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]{1,16}|0b[01]{1,64})",
    "float": r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+"
    r"|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
}
for _name, _pattern in _NUMBERS.items():
    _matches = re.compile(rf"(?:{_pattern})\Z")
    _StrictLoader.add_implicit_resolver(_TAG + _name, _matches, list("-+.0123456789"))
    _StrictLoader.add_constructor(_TAG + _name, _number)
