"""A YAML file and overrides → validated settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config.base import kinds
from pipeline.config.engines import EngineSettings
from pipeline.config.messages import explain
from pipeline.config.parse import parse_yaml
from pipeline.config.schema import Config
from pipeline.config.sources import SourceSettings
from pipeline.errors import ConfigError

CONFIG_FILES = (Path("imgsearch.yaml"), Path("config/default.yaml"))
"""Where settings are looked for if no file is named, in this order."""
BUILT_IN = "the built-in settings"


def find_config() -> Path | None:
    """Find the settings of the current folder; None if it has none."""
    return next((path for path in CONFIG_FILES if path.is_file()), None)


def load_config(path: Path | str | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file, apply `key.path=value` overrides, and validate the whole.

    Without a path, the settings of the current folder are read (`find_config`); where it has none,
    every setting has its default, which is the drawn sample catalog.

        load_config("config/catalog.yaml", ["source.path=photos", "index.keep_builds=3"])

    Raises:
        ConfigError: naming the file, the key's path and, for an unknown key, the nearest one.
    """
    path = find_config() if path is None else Path(path)
    data = {} if path is None else _read(path)
    # Written out, so that an override can change a part of them.
    data.setdefault("source", {"type": Config().source.type})
    data.setdefault("engines", {name: {"type": e.type} for name, e in Config().engines.items()})
    changes = [_parsed(override) for override in overrides]
    for keys, value, _ in changes:
        _switch_kind(data, keys, value)
    for keys, value, override in changes:
        _set(data, keys, value, override)
    return validate(data, f"{path or BUILT_IN}")


def validate(data: Mapping[str, Any], where: str) -> Config:
    """Make settings of plain values; `where` is what an error names.

    Raises:
        ConfigError: in one line.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain(error)}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
        what = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(
            f"{path}: cannot read the settings: {what}; name a file with --config"
        ) from error
    try:
        data = parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, found {type(data).__name__}")
    return data


Change = tuple[list[str], Any, str]
"""Keys, value, and the override as it was written."""


def _parsed(override: str) -> Change:
    """Take `key.path=value` apart; the value is YAML."""
    dotted, separator, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"--set {override}: expected key.path=value")
    try:
        return keys, parse_yaml(text), override
    except ValueError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from error


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
            raise ConfigError(f"--set {override}: {key!r} is a single value and has no keys")
        node[key] = node = dict(child or {})
    node[last] = value
