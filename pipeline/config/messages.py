"""Pydantic's complaints → one line: where, what, and the nearest valid key."""

from __future__ import annotations

import difflib
import reprlib
import typing
from typing import Any

from pydantic import ValidationError

from pipeline.config.base import Settings, kinds, union_members
from pipeline.config.schema import Config


def explain(error: ValidationError) -> str:
    """Say in one line what is wrong first, and how many more mistakes there are."""
    first, *others = error.errors(include_url=False)
    keys, siblings, annotation = _locate(first["loc"])
    where = ".".join(keys) or "the file"
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(keys[-1], siblings, n=1, cutoff=0.0)
        what = f"unknown key; the nearest valid one is '{nearest[0]}'"
    elif first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        given = first.get("ctx", {}).get("tag")
        what = f"{given!r} is no type" if given else "it has no type"
        what += f"; set {where}.type to one of {', '.join(kinds(annotation))}"
    else:
        what = first["msg"].removeprefix("Value error, ")
        if first["type"] not in ("missing", "value_error"):
            what += f" (it is {reprlib.repr(first['input'])})"
    more = f" (and {len(others)} more)" if others else ""
    return f"{where}: {what}{more}"


def _locate(location: tuple[int | str, ...]) -> tuple[list[str], list[str], Any]:
    """The key path of an error in the file's own words, the valid keys beside it, and its type.

    Pydantic's location holds, besides keys, the tag of each discriminated union on the way.
    """
    keys: list[str] = []
    siblings: list[str] = []
    here: Any = Config
    for part in location:
        members = union_members(here)
        if len(members) > 1:
            here = kinds(here).get(str(part))
            continue
        keys.append(str(part))
        here = members[0] if members else None
        if typing.get_origin(here) is dict:
            here = typing.get_args(here)[1]
        elif isinstance(here, type) and issubclass(here, Settings):
            siblings = list(here.model_fields)
            field = here.model_fields.get(str(part))
            here = field.annotation if field else None
    return keys, siblings, here
