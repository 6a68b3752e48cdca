"""Pydantic's complaints → one line: where, what, and the nearest valid key."""

from __future__ import annotations

import difflib
import reprlib
import types
import typing
from typing import Annotated, Any

from pydantic import ValidationError

from pipeline.config.schema import Config, Settings


def explain(error: ValidationError) -> str:
    """The first thing wrong, in one line, and how many more there are."""
    first, *others = error.errors(include_url=False)
    keys, siblings = _locate(first["loc"])
    where = ".".join(keys) or "the file"
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(keys[-1], siblings, n=1, cutoff=0.0)
        what = f"unknown key; the nearest valid one is '{nearest[0]}'"
    else:
        what = first["msg"].removeprefix("Value error, ")
        if first["type"] not in ("missing", "value_error"):
            what += f" (it is {reprlib.repr(first['input'])})"
    more = f" (and {len(others)} more)" if others else ""
    return f"{where}: {what}{more}"


def _locate(location: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """The key path of an error in the file's own words, and the valid keys beside the last one.

    Pydantic's location holds, besides keys, the tag of each discriminated union on the way.
    """
    keys: list[str] = []
    siblings: list[str] = []
    here: Any = Config
    for part in location:
        members = _members(here)
        if len(members) > 1:
            here = next((m for m in members if part in typing.get_args(_tag(m))), None)
            continue
        keys.append(str(part))
        here = members[0] if members else None
        if typing.get_origin(here) is dict:
            here = typing.get_args(here)[1]
        elif isinstance(here, type) and issubclass(here, Settings):
            siblings = list(here.model_fields)
            field = here.model_fields.get(str(part))
            here = field.annotation if field else None
    return keys, siblings


def _members(annotation: Any) -> list[Any]:
    """The members of a union, `None` left out; of anything else, itself."""
    if typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [m for m in typing.get_args(annotation) if m is not types.NoneType]
    return [annotation]


def _tag(member: Any) -> Any:
    return member.model_fields["type"].annotation if issubclass(member, Settings) else None
