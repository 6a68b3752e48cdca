"""The command line: one thin function per verb; the only place that prints or exits.

Nothing heavy is imported here: `--help` loads no numpy, a query by item id no TensorFlow.
"""

from __future__ import annotations

import errno
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import PipelineError, QueryError

if TYPE_CHECKING:
    from pipeline.build import Stage
    from pipeline.config import Config
    from pipeline.search import Neighbour, Query, Searcher

app = typer.Typer(
    help="Image search for product catalogues: photos in, exact indexes out, queries answered.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The YAML file of settings.", metavar="FILE")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Change one setting (repeatable).", metavar="KEY.PATH=VALUE"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
DEFAULT = Path("config/default.yaml")
_SHEET_QUERIES = 40  # a longer picture is not looked at


def main() -> None:
    """Run the command line; a user's error becomes one line and a non-zero exit."""
    try:
        app()
    except PipelineError as error:
        _fail(str(error))
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # Typer's own answer to Ctrl-C
            _fail(
                "interrupted; what was finished is kept, run the same command to go on",
                _INTERRUPTED,
            )
        raise
    except sqlite3.DatabaseError as error:
        _fail(f"the catalogue cannot be read or written: {error}; see `imgsearch verify`")
    except OSError as error:
        if error.errno not in _USERS_ERRNO:
            raise
        where = error.filename or "the disk that holds the indexes"
        _fail(f"{where}: {error.strerror}; nothing is half-written, mend it and run this again")


_INTERRUPTED = 130
_USERS_ERRNO = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
)


def _fail(message: str, code: int = 1) -> None:
    print(f"imgsearch: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


def _load(config: Path, overrides: list[str] | None) -> Config:
    from pipeline.config import load

    return load(config, overrides or ())


def _run(
    config: Config, stages: tuple[Stage, ...] | None, as_json: bool, retry_failed: bool = False
) -> None:
    from pipeline import console
    from pipeline.build import STAGES, build

    report = build(config, stages or STAGES, console.progress(), retry_failed=retry_failed)
    if as_json:
        console.print_json(console.report_facts(report))
    else:
        console.print_report(report)


@app.command(epilog="Example: imgsearch ingest --set 'source={type: folder, path: photos}'")
def ingest(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Bring the catalogue up to date with its source, and count what became of every item."""
    _run(_load(config, set_), ("ingest",), as_json)


@app.command(epilog="Example: imgsearch download --config config/flipkart.yaml --retry-failed")
def download(
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try those that failed again, and no others.")
    ] = False,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch the photos that are at URLs; each ends available, failed or rejected, with a reason."""
    _run(_load(config, set_), ("download",), as_json, retry_failed)


@app.command(epilog="Example: imgsearch train --set engines.autoencoder.training.epochs=40")
def train(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Train the autoencoders on the catalogue, and fetch the weights of pretrained networks."""
    _run(_load(config, set_), ("train",), as_json)


@app.command(epilog="Example: imgsearch embed --set embedding.batch_size=64")
def embed(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Give every photo that has none its vector, by every engine."""
    _run(_load(config, set_), ("embed",), as_json)


@app.command(epilog="Example: imgsearch index --config config/flipkart.yaml")
def index(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Publish an index of the vectors there are, for every engine."""
    _run(_load(config, set_), ("index",), as_json)


@app.command(epilog="Example: imgsearch build --config config/flipkart.yaml")
def build(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Ingest, download, train, embed and index, each only where it is out of date."""
    _run(_load(config, set_), None, as_json)


@app.command(
    epilog="Examples: imgsearch query photo.jpg -k 5 --sheet result.png | imgsearch query --id 42"
)
def query(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Photos, or folders of photos.", show_default=False)
    ] = None,
    item: Annotated[
        str | None, typer.Option("--id", help="An item's id or key, instead of a photo.")
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Neighbours of each query.")] = 3,
    engine: Annotated[
        list[str] | None, typer.Option("--engine", "-e", help="Ask only this one (repeatable).")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a picture of queries and neighbours.", metavar="PNG")
    ] = None,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the items that look most like a photo, by every engine side by side."""
    from pipeline import console

    if bool(photos) == (item is not None):
        raise QueryError("nothing to look for: give photos, or --id ITEM, and not both")
    if k <= 0:
        raise QueryError(f"k is {k}; ask for at least 1 neighbour")
    if sheet and not (sheet.suffix.lower() == ".png" and sheet.absolute().parent.is_dir()):
        raise QueryError(f"--sheet {sheet}: give a name that ends in .png, in a folder that exists")
    searchers = _open(_load(config, set_), engine)
    warnings = {s.engine: s.warning for s in searchers if s.warning}
    drawn: list[tuple[str, Path | None, dict[str, list[Neighbour]]]] = []
    failed = False
    for name, path, asked in _queries(photos, item, searchers):
        try:
            answers = {searcher.engine: searcher.query(asked, k) for searcher in searchers}
        except QueryError as error:
            failed = True
            console.print_failure(name, error, as_json)
        else:
            console.print_answers(name, answers, warnings, as_json)
            if sheet and len(drawn) < _SHEET_QUERIES:
                drawn.append((Path(name).name, path, answers))
    if sheet and drawn:
        _write_sheet(sheet, drawn, searchers[0], warnings)
    if failed:
        raise typer.Exit(1)


def _open(config: Config, engines: list[str] | None) -> list[Searcher]:
    from pipeline import search

    return [search.open(config, name) for name in dict.fromkeys(engines or config.engines)]


def _queries(
    photos: list[Path] | None, item: str | None, searchers: list[Searcher]
) -> Iterator[tuple[str, Path | None, Query]]:
    """Yield what to show, the photo to draw, and what to ask, of each query."""
    if item is not None:
        catalogue = searchers[0].catalogue
        record = catalogue.item(int(item)) if item.isdecimal() and len(item) < 20 else None
        record = record or catalogue.item_by_key(item)
        if record is None:
            raise QueryError(f"no item has the id or key {item!r}; `imgsearch query` shows ids")
        first = next((i for i in catalogue.images(record.id) if i.sha256), None)
        path = catalogue.photo_path(first.sha256, record.id) if first and first.sha256 else None
        yield record.name, path, record.id
    for photo in photos or ():
        if photo.is_dir():
            from pipeline.sources.folder import photos_below

            found = photos_below(photo)
            if not found:
                raise QueryError(f"{photo}: no photos below this folder")
            for relative in found:
                yield str(photo / relative), photo / relative, photo / relative
        else:
            yield str(photo), photo, photo


def _write_sheet(
    file: Path, drawn: list[Any], searcher: Searcher, warnings: dict[str, str]
) -> None:
    from pipeline import console
    from pipeline.report import query_sheet

    query_sheet(drawn, searcher.limits, warnings).save(file, format="PNG")
    shown = f": the first {_SHEET_QUERIES} queries" if len(drawn) == _SHEET_QUERIES else ""
    console.talk(f"wrote {file}{shown}")


@app.command(epilog="Example: imgsearch info --json")
def info(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Show the catalogue's counts by state, and each engine's model, vectors and builds."""
    from pipeline import console
    from pipeline.info import describe

    facts = describe(_load(config, set_))
    if as_json:
        console.print_json(facts)
    else:
        console.print_info(facts)


@app.command(epilog="Example: imgsearch verify --config config/flipkart.yaml")
def verify(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Check every checksum, and that catalogue, vectors and indexes agree."""
    from pipeline import console
    from pipeline.verify import verify as check

    verdict = check(_load(config, set_), console.progress())
    if as_json:
        console.print_json(asdict(verdict))
    else:
        for problem in verdict.problems:
            print(problem)  # noqa: T201
        console.talk(
            f"checked {verdict.photos} photos, {verdict.models} models, {verdict.shards} shards"
            f" and {verdict.builds} builds: {len(verdict.problems) or 'no'} problems"
        )
    if verdict.problems:
        raise typer.Exit(1)


@app.command(epilog="Example: imgsearch clean --all --yes")
def clean(
    everything: Annotated[
        bool, typer.Option("--all", help="Remove the whole catalogue, not only what is unused.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove superseded models, vectors and builds; never the photos you gave."""
    from pipeline import console
    from pipeline.clean import clean as remove

    settings = _load(config, set_)
    if everything and not yes:
        typer.confirm(f"Remove {settings.folder} and all in it?", abort=True, err=True)
    removed = remove(settings, everything=everything)
    if as_json:
        console.print_json([asdict(one) for one in removed])
    else:
        for one in removed:
            print(f"removed {one.path} ({console.size(one.bytes)})")  # noqa: T201
        if not removed:
            console.talk("nothing to remove")
