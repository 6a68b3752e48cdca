"""Settings → YAML with a comment for every one: the reference manual, with the values in effect."""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.config.base import Settings, kinds, union_members
from pipeline.config.parse import parse_yaml
from pipeline.config.schema import Config

_WIDTH = 100
_PLAIN = re.compile(r"[\w/~.](?:[\w./~ -]*[\w./~-])?")


def to_yaml(config: Config) -> str:
    """Write every setting with its value, its meaning in a comment; what it writes loads again.

    Sections that are not in use, such as the other kinds of source, stand in comments.
    """
    return "\n".join(_fields(Config, config, blank_lines=True)).lstrip("\n") + "\n"


def to_scalar(value: Any) -> str:
    """Write a value, a list of values or a mapping on one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(to_scalar, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {to_scalar(part)}' for name, part in value.items())}}}"
    if isinstance(value, int | float):
        is_whole = isinstance(value, int) or (value.is_integer() and abs(value) < 1e15)
        return repr(int(value) if is_whole else float(value))
    text = str(value)
    if _PLAIN.fullmatch(text) and parse_yaml(text) == text:
        return text
    printable = text.isprintable()
    quoted = yaml.safe_dump(text, default_style='"', allow_unicode=printable, width=float("inf"))
    return str(quoted).strip()


def _fields(
    cls: type[Settings], settings: Settings | None = None, *, blank_lines: bool = False
) -> Iterator[str]:
    """Write all fields of a section; with their defaults, if it is not there."""
    for name, field in cls.model_fields.items():
        if blank_lines:
            yield ""
        default = field.get_default(call_default_factory=True)
        value = getattr(settings, name) if settings else default
        yield from _field(name, field, value, cls.meaning(name))


def _field(name: str, field: FieldInfo, value: Any, meaning: str) -> Iterator[str]:
    """Write `name: value` with its comment; a section is written with all that is in it."""
    members = [m for m in union_members(field.annotation) if inspect.isclass(m)]
    section = next((m for m in members if issubclass(m, Settings)), None)
    comment = meaning or (section and _doc(section)) or ""
    if section is None and not isinstance(value, dict):
        line = f"{name}: {'...' if value is PydanticUndefined else to_scalar(value)}"
        if comment and len(line) + len(comment) + 4 <= _WIDTH - 16:
            yield f"{line}  # {comment}"
        else:
            yield from [*_comment(comment), line]
        return
    yield from _comment(comment)
    yield f"{name}: null" if value is None else f"{name}:"
    if isinstance(value, Settings):
        yield from _indented(_section(value, field))
    elif isinstance(value, dict):
        yield from _indented(_named_sections(value, field))
    elif section:  # it is null, or required
        unused = _indented(_fields(section))
        yield from _commented_out(unused) if value is None else unused


def _section(value: Settings, field: FieldInfo) -> Iterator[str]:
    """Write the fields of a section; of a union, the other kinds too, commented out."""
    others = kinds(field.annotation)
    if others:
        yield from _comment(_doc(type(value)))
    yield from _fields(type(value), value)
    for cls in others.values():
        if cls is not type(value):
            yield from ("", "# Or:", *_commented_out([*_comment(_doc(cls)), *_fields(cls)]))


def _named_sections(sections: Mapping[str, Settings], field: FieldInfo) -> Iterator[str]:
    """Write sections by name; one of each kind that is not there yet, commented out."""
    for name, value in sections.items():
        yield from ("", *_comment(_doc(type(value))), f"{to_scalar(name)}:")
        yield from _indented(_fields(type(value), value))
    for kind, cls in kinds(typing.get_args(field.annotation)[1]).items():
        if not any(isinstance(value, cls) for value in sections.values()):
            yield from ("", *_comment(_doc(cls)))
            yield from _commented_out([f"another-{kind}:", *_indented(_fields(cls))])


def _doc(cls: type[Settings]) -> str:
    return inspect.getdoc(cls) or ""


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        for line in textwrap.wrap(" ".join(paragraph.split()), _WIDTH - 16):
            yield f"# {line}"


def _commented_out(lines: Iterable[str]) -> Iterator[str]:
    return (f"# {line}".rstrip() for line in lines)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}".rstrip() for line in lines)
