"""A YAML file and overrides → validated settings."""

from __future__ import annotations

import difflib
import re
import reprlib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config.base import Settings, kinds, union_members
from pipeline.config.engines import EngineSettings
from pipeline.config.parse import parse_yaml
from pipeline.config.schema import Config
from pipeline.config.sources import SourceSettings
from pipeline.errors import ConfigError

CONFIG_FILES = (Path("imgsearch.yaml"), Path("config/default.yaml"))
"""Where settings are looked for if no file is named, in this order."""
BUILT_IN = "the built-in settings"
_MAX_SHOWN = 400  # characters of an override or a value, in messages
_REPR = reprlib.Repr()
_REPR.maxlevel = 2
_START = re.compile(rf"\s+(?=(?:{'|'.join(Config.model_fields)})[.\w-]*=)")
_TOKEN = re.compile(
    r"""(?<![\w])"(?:[^"\\]|\\.)*"|(?<![\w])'(?:[^']|'')*'|[\[{]|[\]}]|.""", re.DOTALL
)


def find_config() -> Path | None:
    """Find the settings of the current folder; None if it has none."""
    return next((path for path in CONFIG_FILES if path.is_file()), None)


def load_config(path: Path | str | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file, apply `key.path=value` overrides, and validate the whole.

    Without a path, the settings of the current folder are read (`find_config`); where it has none,
    every setting has its default, which is the drawn sample catalog.

        load_config("config/catalog.yaml", ["source.path=photos", "index.keep_publications=3"])

    Raises:
        ConfigError: naming the file, the key's path and, for an unknown key, the nearest one.
    """
    path = find_config() if path is None else Path(path)
    data = {} if path is None else _read(path)
    # Written out, so that an override can change a part of them.
    data.setdefault("source", {"type": Config().source.type})
    data.setdefault("engines", {name: {"type": e.type} for name, e in Config().engines.items()})
    changes = [(*_parsed(override), override) for override in overrides]
    for keys, value, _ in changes:
        _switch_kind(data, keys, value)
    for change in changes:
        _set(data, *change)
    return validate(data, f"{path or BUILT_IN}")


def split_overrides(text: str) -> list[str]:
    """Split `a=1 b.c=2` into `a=1` and `b.c=2`, so that `make index SET='…'` can hold several.

    A setting ends at spaces or a line break before what begins another one, such as
    `source.path=`; not within quotes or brackets.
    """
    parts, start, position, depth = [], 0, 0, 0
    while token := _TOKEN.match(text, position):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        gap = _START.match(text, position) if depth <= 0 else None
        if gap:
            parts.append(text[start:position])
            start = gap.end()
        position = gap.end() if gap else token.end()
    return [part for part in (*parts, text[start:]) if part.strip()]


def validate(data: Mapping[str, Any], where: str) -> Config:
    """Make settings of plain values; `where` is what an error names.

    Raises:
        ConfigError: in one line.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error), where=where) from error
    except ConfigError as error:
        raise ConfigError(str(error), where=where) from error


def _explain(error: ValidationError) -> str:
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
            what += f" (it is {_REPR.repr(first['input'])})"
    if len(what) > _MAX_SHOWN:
        what = f"{what[:_MAX_SHOWN]}…"
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


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
        what = f"cannot read the settings: {getattr(error, 'strerror', None) or 'not UTF-8 text'}"
        raise ConfigError(what, where=path, hint="name a file with --config") from error
    try:
        data = parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"not valid YAML: {error}", where=path) from error
    if not isinstance(data, dict):
        found = {type(None): "nothing", list: "a list"}.get(type(data), "a single value")
        raise ConfigError(f"expected a mapping of settings, found {found}", where=path)
    return data


def _parsed(override: str) -> tuple[list[str], Any]:
    """Take `key.path=value` apart; the value is YAML."""
    dotted, separator, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError("expected key.path=value", where=_option(override))
    try:
        return keys, parse_yaml(text)
    except ValueError as error:
        what = f"the value is not valid YAML: {error}"
        raise ConfigError(what, where=_option(override)) from error


def _option(override: str) -> str:
    """Return the option as messages name it: on one line, and not all of a long one."""
    text = " ".join(override.split())
    return f"--set {text if len(text) <= _MAX_SHOWN else f'{text[:_MAX_SHOWN]}…'}"


def _switch_kind(data: dict[str, Any], keys: list[str], kind: Any) -> None:
    """Where `….type` becomes another one, drop what the file says of the old type alone.

    A key that neither type knows stays, and is refused later.
    """
    match keys:
        case ["source", "type"]:
            parent, name, types = data, "source", kinds(SourceSettings)
        case ["engines", name, "type"]:
            parent, types = data["engines"], kinds(EngineSettings)
        case _:
            return
    settings = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(settings, dict) or not isinstance(kind, str) or kind not in types:
        return
    elsewhere = {key for other in types.values() for key in other.model_fields}
    dropped = elsewhere - types[kind].model_fields.keys()
    parent[name] = {key: value for key, value in settings.items() if key not in dropped}


def _set(data: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    """Set `data[key][path] = value`; what the file shares between keys is changed at one only."""
    *parents, last = keys
    node = data
    for key in parents:
        child = node.get(key)
        if child is not None and not isinstance(child, Mapping):
            what = f"{key!r} is a single value and has no keys"
            raise ConfigError(what, where=_option(override))
        node[key] = node = dict(child or {})
    node[last] = value
