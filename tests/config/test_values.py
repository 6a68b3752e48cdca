"""Values that nobody foresaw: each is taken, or refused in one line."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import Config, Settings, load_config
from pipeline.config.base import union_members
from pipeline.errors import ConfigError

VALUES = (
    *("no", "on", "~", "2024", "010", "0o17", "0x1F", "1_000", "1:30:00", "+1", "1.5", "-1", "0"),
    *("2024-01-01", "2024-13-45", "2001-12-14t21:59:43.10-05:00", ".inf", "-.inf", ".nan", "1e400"),
    *("!!int x", "!!float y", "!!timestamp z", "!!binary '%'", "!!set {a}", "!!omap [a: 1]"),
    *("!!python/object:os.system x", "!!bool maybe", "!!seq x", "!!map x", "!!null x"),
    *(
        "[]",
        "{}",
        "[1, 2]",
        "{a: 1}",
        "&a [*a]",
        "&a {b: *a}",
        "*x",
        "- a",
        "a: b: c",
        "<<: {a: 1}",
    ),
    *("{<<: [1]}", "? [a]\n: b", "'", '"', "|", "\t", "\ufeffa", "\0", "\x07", "\udcff", "%", "@"),
    *("%YAML 9.9\n---\na", "---\na\n---\nb", "a\n...\nb", "/", "..", "", " ", '"\\0"', '"\\ud800"'),
    *("[" * 1000, "{a: " * 500, "é" * 300, "a" * 10_000, "9" * 5000, "100000", "1e18", "9" * 20),
)
BOMB = """
a: &a [x, x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]
name: [*f, *f, *f, *f, *f, *f, *f, *f, *f, *f]
"""


def keys(cls: type[Settings], prefix: str = "") -> Iterator[str]:
    """Every key of the settings, those of all sources and engines among them."""
    for name, field in cls.model_fields.items():
        yield prefix + name
        for member in union_members(field.annotation):
            if isinstance(member, type) and issubclass(member, Settings):
                yield from keys(member, f"{prefix}{name}.")


def refusal(path: Path | None, *overrides: str) -> str:
    """The one line by which settings are refused; "" if they are taken."""
    try:
        load_config(path, overrides)
    except ConfigError as error:
        line = str(error)
        assert "\n" not in line
        assert len(line) < 1200
        return line
    return ""


@pytest.mark.soak
def test_every_value_of_every_setting_is_taken_or_refused_in_one_line(
    soak: bool, tmp_path: Path
) -> None:
    names = sorted({*keys(Config), "engines.vgg16.layer", "engines.autoencoder.latent_dim", "a.b"})
    cases = [(name, value) for name in names for value in VALUES]
    for name, value in cases if soak else random.Random(7).sample(cases, 150):
        refusal(None, f"{name}={value}")
        file = tmp_path / "settings.yaml"
        *parents, last = name.split(".")
        file.write_text(
            "".join(f"{' ' * depth}{key}:\n" for depth, key in enumerate(parents))
            + f"{' ' * len(parents)}{last}: {value}\n",
            encoding="utf-8",
            errors="surrogateescape",
        )
        refusal(file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (BOMB.encode(), "name: "),
        (b"\xff\xfe\0", "not UTF-8 text"),
        ("name: a".encode("utf-16"), "not UTF-8 text"),
        ("name: é".encode("latin-1"), "not UTF-8 text"),
        (b"\0", "not valid YAML: unacceptable character #x0000"),
        (b"name: a\n\troot: b", r"found character '\t' that cannot start any token (line 2, col"),
        (b"{[a]: 1}", "found unhashable key (line 1, column 2)"),
        (b"2024", "expected a mapping of settings, found a single value"),
        (b"[" * 100_000, "nested too deeply"),
        (b"- " * 50_000, "nested too deeply"),
        (b"x" * 1_000_000, "found a single value"),
        (b"engines: &x {a: *x}", "engines.a"),
        (b"name: [2024-01-01, no]", "name: Input should be a valid string"),
        (b"name: no", "it is False: YAML reads yes, no, on and off as true or false; to write a "),
        (b"embedding: {batch_size: 010}", "batch_size: Input should be a valid integer"),
        (b"embedding: {batch_size: 1:30}", "batch_size: Input should be a valid integer"),
        (b"\xef\xbb\xbfname: a", ""),
        (b"name: 2024", ""),
        (b"name: 2024-01-01", ""),
        (b"engines: {2024: {type: pretrained}, no: {type: pretrained}}", ""),
    ],
)
def test_a_file_is_taken_or_refused_in_one_line(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(content)
    line = refusal(file)
    assert bool(line) == bool(says)
    assert says in line


def integers(schema: object, where: str = "") -> Iterator[tuple[str, bool]]:
    """Where a schema has integers, and whether they have a largest value."""
    if isinstance(schema, dict):
        if schema.get("type") == "integer":
            yield where, bool({"maximum", "exclusiveMaximum"} & schema.keys())
        for key, part in schema.items():
            yield from integers(part, f"{where}/{key}")


def test_no_number_of_the_settings_is_beyond_what_libraries_take() -> None:
    found = dict(integers(Config.model_json_schema()))
    assert len(found) > 20
    assert [where for where, is_limited in found.items() if not is_limited] == []
