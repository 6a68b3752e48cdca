"""Commands about settings: those in effect, and a file to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from pipeline.cli.app import app, load_config
from pipeline.cli.options import AsJson, ConfigFile, Overrides
from pipeline.cli.output import print_json, print_line, talk
from pipeline.cli.output_files import check_writable
from pipeline.errors import ConfigError

_HEADER = """\
# Every setting of {file}.
#
# An unknown key, a wrong type or an impossible value stops a command before it starts. Any setting
# can be changed for one run: --set key.path=value. Relative paths are relative to the folder in
# which the command runs.
"""


@app.command(
    "config", epilog="Example: imgsearch config --set 'source={type: folder, path: photos}'"
)
def config_(config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False) -> None:
    """Print every setting with its value and its meaning: the reference of all settings."""
    from pipeline.config import BUILT_IN, find_config
    from pipeline.config.dump import to_yaml

    settings = load_config(config, set_)
    if as_json:
        print_json(settings.model_dump(mode="json"))
        return
    file = config or find_config() or BUILT_IN
    changes = f" with {' '.join(' '.join(set_).split())}" if set_ else ""
    for line in (_HEADER.format(file=f"{file}{changes}") + "\n" + to_yaml(settings)).splitlines():
        print_line(line)


@app.command(
    epilog="Examples: imgsearch init photos/ | imgsearch init products.csv --out shop.yaml"
)
def init(
    path: Annotated[
        Path,
        Argument(
            help="A folder of photos, or a CSV or Parquet file with their URLs.",
            metavar="[FOLDER|TABLE]",
        ),
    ] = Path(),
    out: Annotated[Path, Option(help="The file to write.", metavar="FILE")] = Path(
        "imgsearch.yaml"
    ),
    force: Annotated[bool, Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a short file of settings for your own photos, by looking at what there is."""
    from pipeline.artifacts import write_atomic
    from pipeline.config.load import validate
    from pipeline.config.parse import parse_yaml
    from pipeline.config.starter import starter_config
    from pipeline.sources.guess import guess_source

    if out.exists() and not force:
        raise ConfigError("it exists", where=out, hint="--force replaces it, --out names another")
    if not out.absolute().parent.is_dir():
        raise ConfigError("there is no such folder to write it to", where=out)
    if out.suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError("give a name that ends in .yaml or .yml", where=out)
    check_writable(out.parent)
    source, notes = guess_source(path)
    if out.absolute().parent != Path.cwd():  # it may be read from anywhere
        source = {**source, "path": str(Path(source["path"]).absolute())}
    text = starter_config(source, _root_apart_from(Path(source["path"])))
    validate(parse_yaml(text), str(path))
    write_atomic(out, text.encode())
    option = "" if out == Path("imgsearch.yaml") else f" --config {shlex.quote(str(out))}"
    for line in notes:
        talk(line)
    talk(f"wrote {out}: look it over, then run")
    talk(f"  imgsearch build{option}")
    talk(f"  imgsearch query{option} PHOTO")


def _root_apart_from(photos: Path) -> str | None:
    """Where to write indexes, if not to `indexes` here, which would lie among the photos."""
    photos = photos.resolve()
    if photos.is_dir() and Path("indexes").resolve().is_relative_to(photos):
        return str(photos.with_name(f"{photos.name}-indexes"))
    return None
