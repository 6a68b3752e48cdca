"""Commands that search a catalog's indexes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from typer import Argument, Option

from pipeline.cli import options
from pipeline.cli.app import app, load_config
from pipeline.cli.hits import print_paths, print_result
from pipeline.cli.output import print_json, talk
from pipeline.cli.output_files import check_apart, check_output, check_writable
from pipeline.cli.progress_bars import console_progress
from pipeline.errors import PipelineError, QueryError
from pipeline.report.text import counted

if TYPE_CHECKING:
    from pipeline.catalog.catalog import Catalog
    from pipeline.images import ImageLimits
    from pipeline.search.query import Query
    from pipeline.search.result import SearchResult

MAX_GRID_QUERIES = 40  # a longer picture is not looked at


class _NamedQuery(NamedTuple):
    """A query, what to call it, and the photo to draw for it."""

    name: str
    photo: Path | None
    query: Query


@app.command(
    epilog="Examples: imgsearch query photo.jpg -k 5 --grid result.png | imgsearch query --id 42"
    " --where \"category = 'Watches' and price < 2000\" | imgsearch query --text 'red shirt' --look"
)
def query(
    photos: options.Photos = None,
    item: options.Id = None,
    key: options.Key = None,
    text: options.Words = None,
    look: options.ByLook = False,
    like: options.Like = None,
    unlike: options.Unlike = None,
    k: Annotated[int, Option("-k", "--k", help="Neighbors of each query.")] = 3,
    engine: options.SearchedEngines = None,
    region: options.Region = None,
    where: options.Where = None,
    group_by: options.GroupBy = None,
    collapse: options.Collapse = None,
    min_distance: Annotated[float, Option(help="No item nearer than this.")] = 0.0,
    max_distance: Annotated[float, Option(help="No item further than this.")] = math.inf,
    fuse: options.Fuse = False,
    refine: options.Refine = None,
    grid: options.Grid = None,
    config: options.ConfigFile = None,
    set_: options.Overrides = None,
    paths: options.Paths = False,
    as_json: options.AsJson = False,
) -> None:
    """Find the items that look most like a photo, by every engine side by side."""
    from pipeline.search import searcher as search

    has_query = _check_options(photos, item, key, text, paths=paths, as_json=as_json)
    words = None if has_query else text
    if look and words is None:
        raise QueryError("--look is what the items look like that words find: give --text alone")
    settings = load_config(config, set_)
    if grid:
        check_output("--grid", grid, [".png"], settings, photos or ())
    rows: list[tuple[str, Path | None, SearchResult]] = []
    failed = False
    with search.open(settings, engine or ()) as searcher:
        queries = list(_queries(photos, item, key, words, searcher.catalog))
        results = searcher.search_all(
            (named.query for named in queries),
            k,
            region=region,
            where=where,
            min_distance=min_distance,
            max_distance=max_distance,
            group_by=group_by,
            text=text if has_query else None,
            look=look,
            like=like or (),
            unlike=unlike or (),
            collapse=collapse,
            fuse=fuse,
            refine=refine,
        )
        for named, result in zip(queries, results, strict=True):
            _print(named.name, result, paths=paths, as_json=as_json)
            if isinstance(result, PipelineError):
                failed = True
                continue
            rows.append((Path(named.name).name, named.photo, result))
            del rows[MAX_GRID_QUERIES if grid else 0 :]
        if grid and rows:
            _write_grid(grid, rows, next(iter(searcher.engines.values())).limits)
    if failed:
        raise typer.Exit(1)


def _check_options(
    photos: list[Path] | None,
    item: int | None,
    key: str | None,
    text: str | None,
    *,
    paths: bool,
    as_json: bool,
) -> bool:
    """Return whether there is a query beside the words."""
    queries = (bool(photos), item is not None, key is not None).count(True)
    if queries > 1 or not (queries or text is not None):
        message = "nothing to search with: give photos, --id ID or --key KEY, one of them"
        raise QueryError(message, hint="or --text WORDS")
    if paths and as_json:
        raise QueryError("--paths and --json print different things: give one of them")
    return queries == 1


def _print(name: str, result: SearchResult | PipelineError, *, paths: bool, as_json: bool) -> None:
    if isinstance(result, PipelineError):
        talk(f"imgsearch: {result}")
        if as_json:
            print_json({"query": name, "error": str(result)})
    elif paths:
        print_paths(result)
    else:
        print_result(name, result, as_json)


def _queries(
    photos: list[Path] | None,
    item: int | None,
    key: str | None,
    words: str | None,
    catalog: Catalog,
) -> Iterator[_NamedQuery]:
    from pipeline.search.query import Item, Text

    if words is not None:
        yield _NamedQuery(words, None, Text(words))
    if item is not None or key is not None:
        record = catalog.item(item) if item is not None else catalog.item_by_key(key or "")
        if record is None:
            name = f"the id {item}" if item is not None else f"the key {key!r}"
            raise QueryError(f"no item has {name}", hint="`imgsearch query` shows ids and keys")
        yield _NamedQuery(record.name, catalog.item_photo(record.id), Item(record.id))
    if photos:
        from pipeline.sources.walk import photos_below
    for path in photos or ():
        below = [path / photo for photo in photos_below(path)] if path.is_dir() else [path]
        if not below:
            raise QueryError("no photos below this folder", where=path)
        yield from (_NamedQuery(str(photo), photo, photo) for photo in below)


def _write_grid(
    file: Path, rows: list[tuple[str, Path | None, SearchResult]], limits: ImageLimits
) -> None:
    from pipeline.artifacts import replacing
    from pipeline.report.contact_sheet import QueryRow, query_sheet

    sheet = query_sheet([QueryRow(*row) for row in rows], limits)
    with replacing(file) as unfinished:
        sheet.save(unfinished, format="PNG")
    part = f": the first {MAX_GRID_QUERIES} queries" if len(rows) == MAX_GRID_QUERIES else ""
    talk(f"wrote {file}{part}")


@app.command(epilog="Example: imgsearch neighbors vgg16 graph.parquet -k 20")
def neighbors(
    engine: Annotated[str, Argument(help="Whose index.", show_default=False)],
    file: Annotated[Path, Argument(help="What to write: .parquet or .npy.", show_default=False)],
    k: Annotated[int, Option("-k", "--k", help="Neighbors of each item.")] = 10,
    config: options.ConfigFile = None,
    set_: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Write the k nearest others of every item, exactly: the neighbor graph of the catalog."""
    from pipeline.search.engine_searcher import open_engine
    from pipeline.search.neighbor_graph import SUFFIXES, write_graph

    settings = load_config(config, set_)
    check_output("neighbors", file, SUFFIXES, settings)
    with open_engine(settings, engine, exact=True) as searcher:
        rows = write_graph(searcher, k, file, console_progress())
    if as_json:
        print_json({"file": str(file), "rows": rows})
    else:
        talk(f"wrote {file}: {counted(rows, 'row')}")


@app.command(epilog="Example: imgsearch projector projector && tensorboard --logdir projector")
def projector(
    folder: Annotated[
        Path,
        Argument(help="What to write: a new folder, or an earlier one.", show_default=False),
    ],
    engine: options.Engines = None,
    limit: Annotated[
        int, Option(help="Photos; of more, that many chosen at random.", metavar="PHOTOS")
    ] = 10_000,
    seed: options.Seed = 7,
    config: options.ConfigFile = None,
    set_: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Write vectors, metadata and thumbnails for TensorBoard's Embedding Projector."""
    from pipeline.report.projector import export
    from pipeline.search import searcher as search

    settings = load_config(config, set_)
    check_apart("projector", folder, settings)
    check_writable(folder.absolute().parent)
    with search.open(settings, engine or ()) as searcher:
        searchers = list(searcher.engines.values())
        written = export(searchers, folder, limit, seed, console_progress())
    if written.points < written.photos:
        sample = f"{written.points:,} of {written.photos:,} photos"
        talk(f"a sample of {sample}, drawn with seed {seed}; --limit takes more")
    if written.unreadable:
        talk(f"photos that can no longer be read, with gray tiles: {written.unreadable:,}")
    for warning in filter(None, (searcher.warning for searcher in searchers)):
        talk(warning)
    if as_json:
        print_json(written.to_dict())
    else:
        points = f"{counted(written.points, 'point')} of {', '.join(written.engines)}"
        talk(f"wrote {folder}: {points}; see them with `tensorboard --logdir {folder}`")
