"""What all settings are made of: the base class, texts, paths, and unions told apart by `type`."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipeline.errors import ConfigError

MAX_COUNT = 10**9  # of what is counted: libraries take no number of any size
MAX_BATCH = 2**16  # photos; memory is reserved for all of them


class Settings(BaseModel):
    """Base of all settings: immutable, and a key that is not known is an error.

    A setting's meaning is the `description` of its field or, if longer, the text below the field.
    """

    # Deferred, only the validator of the whole is built, on first use, and not each part's too.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    @classmethod
    def meaning(cls, field: str) -> str:
        """Return what a field means, on one line; "" if it has no description.

        Texts below fields are read from the source here, and not by Pydantic's
        `use_attribute_docstrings`, which takes as long as all else in this package on each start.
        """
        texts = (_attribute_docstrings(parent).get(field) for parent in cls.__mro__)
        text = cls.model_fields[field].description or next(filter(None, texts), "")
        return " ".join(text.split())


def _attribute_docstrings(cls: type) -> dict[str, str]:
    if not issubclass(cls, BaseModel) or cls is BaseModel:
        return {}
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101
    return {
        field.target.id: str(below.value.value)
        for field, below in itertools.pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def _as_text(value: Any) -> Any:
    """Take a number for the text that it was written as; refuse what YAML made a boolean of."""
    if isinstance(value, bool):
        example = "yes" if value else "no"
        raise ValueError(
            f"it is {value}: YAML reads yes, no, on and off as true or false; to write a text, put"
            f' it in quotes: "{example}"'
        )
    return str(value) if isinstance(value, int | float) else value


def _as_path(value: Any) -> Any:
    text = _as_text(value)
    if "\0" in str(text):
        raise ValueError(f"{str(text)!r}: a path cannot hold a NUL character")
    return text


Text = Annotated[str, BeforeValidator(_as_text)]
# YAML has no paths, so a path is a string there: hence not strict.
FilePath = Annotated[Path, Field(strict=False), BeforeValidator(_as_path)]
Resize = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]


def expand(path: Path) -> Path:
    """Replace a leading `~` by the home folder.

    Raises:
        ConfigError: there is no such home.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ConfigError(str(error), where=path) from error


def union_members(annotation: Any) -> list[Any]:
    """List the members of a union, `None` left out; of any other type, the type itself."""
    if typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [m for m in typing.get_args(annotation) if m is not types.NoneType]
    return [annotation]


def kinds(annotation: Any) -> dict[str, type[Settings]]:
    """Map each `type` of a union of settings to its class; empty if it is no such union."""
    members = union_members(annotation)
    return {
        name: member
        for member in (members if len(members) > 1 else ())
        if isinstance(member, type) and issubclass(member, Settings)
        if "type" in member.model_fields
        for name in typing.get_args(member.model_fields["type"].annotation)
    }
