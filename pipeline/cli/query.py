"""Commands that search a catalog's indexes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from typer import Argument, Option

from pipeline.cli import options
from pipeline.cli.app import app, check_file, load_config
from pipeline.cli.output import print_json, stdout, talk
from pipeline.cli.progress_bars import console_progress
from pipeline.errors import PipelineError, QueryError
from pipeline.report.text import cell, plain

if TYPE_CHECKING:
    from pipeline.catalog.catalog import Catalog
    from pipeline.images import ImageLimits
    from pipeline.search.query import Query
    from pipeline.search.result import EngineResult, FusedHit, Hit, SearchResult

MAX_GRID_QUERIES = 40  # a longer picture is not looked at


class _NamedQuery(NamedTuple):
    """A query, what to call it, and the photo to draw for it."""

    name: str
    photo: Path | None
    query: Query


@app.command(
    epilog="Examples: imgsearch query photo.jpg -k 5 --grid result.png | imgsearch query --id 42"
    " --where \"category = 'Watches' and price < 2000\""
)
def query(
    photos: options.Photos = None,
    item: options.Id = None,
    key: options.Key = None,
    k: Annotated[int, Option("-k", "--k", help="Neighbors of each query.")] = 3,
    engine: options.SearchedEngines = None,
    where: options.Where = None,
    group_by: options.GroupBy = None,
    min_distance: Annotated[float, Option(help="No item nearer than this.")] = 0.0,
    max_distance: Annotated[float, Option(help="No item further than this.")] = math.inf,
    fuse: options.Fuse = False,
    grid: options.Grid = None,
    config: options.ConfigFile = None,
    set_: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Find the items that look most like a photo, by every engine side by side."""
    from pipeline.search import searcher as search

    if (bool(photos), item is not None, key is not None).count(True) != 1:
        raise QueryError("nothing to search with: give photos, --id ID or --key KEY, one of them")
    if grid:
        check_file("--grid", grid, ".png")
    rows: list[tuple[str, Path | None, SearchResult]] = []
    failed = False
    with search.open(load_config(config, set_), engine or ()) as searcher:
        queries = list(_queries(photos, item, key, searcher.catalog))
        results = searcher.search_all(
            (named.query for named in queries),
            k,
            where=where,
            min_distance=min_distance,
            max_distance=max_distance,
            group_by=group_by,
            fuse=fuse,
        )
        for named, result in zip(queries, results, strict=True):
            if isinstance(result, PipelineError):
                failed = True
                talk(f"imgsearch: {result}")
                if as_json:
                    print_json({"query": named.name, "error": str(result)})
                continue
            print_result(named.name, result, as_json)
            rows.append((Path(named.name).name, named.photo, result))
            del rows[MAX_GRID_QUERIES if grid else 0 :]
        if grid and rows:
            _write_grid(grid, rows, next(iter(searcher.engines.values())).limits)
    if failed:
        raise typer.Exit(1)


def _queries(
    photos: list[Path] | None, item: int | None, key: str | None, catalog: Catalog
) -> Iterator[_NamedQuery]:
    from pipeline.search.query import Item

    if item is not None or key is not None:
        record = catalog.item(item) if item is not None else catalog.item_by_key(key or "")
        if record is None:
            name = f"the id {item}" if item is not None else f"the key {key!r}"
            raise QueryError(f"no item has {name}", hint="`imgsearch query` shows ids and keys")
        yield _NamedQuery(record.name, catalog.item_photo(record.id), Item(record.id))
    if photos:
        from pipeline.sources.folder import photos_below
    for path in photos or ():
        below = [path / photo for photo in photos_below(path)] if path.is_dir() else [path]
        if not below:
            raise QueryError("no photos below this folder", where=path)
        yield from (_NamedQuery(str(photo), photo, photo) for photo in below)


def _write_grid(
    file: Path, rows: list[tuple[str, Path | None, SearchResult]], limits: ImageLimits
) -> None:
    from pipeline.report.contact_sheet import QueryRow, query_sheet

    query_sheet([QueryRow(*row) for row in rows], limits).save(file, format="PNG")
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
    """Write the k nearest others of every item: the neighbor graph of the catalog."""
    from pipeline.search.engine_searcher import open_engine
    from pipeline.search.neighbor_graph import write_graph

    with open_engine(load_config(config, set_), engine) as searcher:
        rows = write_graph(searcher, k, file, console_progress())
    if as_json:
        print_json({"file": str(file), "rows": rows})
    else:
        talk(f"wrote {file}: {rows:,} rows")


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

    with search.open(load_config(config, set_), engine or ()) as searcher:
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
        talk(
            f"wrote {folder}: {written.points:,} points of {', '.join(written.engines)}; see them"
            f" with `tensorboard --logdir {folder}`"
        )


def print_result(name: str, result: SearchResult, as_json: bool) -> None:
    """Print one query's hits, engine by engine, and which engines found no good match."""
    from rich.table import Table
    from rich.text import Text

    if as_json:
        print_json({**result.to_dict(), "query": name})
        return
    table = Table(title=Text(plain(f"Nearest to {name}"), "table.title"), title_justify="left")
    remarks = [
        f"{r.engine}: no good match: {_why_no_match(r)}" for r in result.values() if r.no_match
    ]
    if remarks := [*remarks, *result.warnings.values(), *result.notes]:
        table.caption = Text("\n".join(map(plain, remarks)), "table.caption")
        table.caption_justify = "left"
    for heading in ("engine", "rank", "distance", "percentile", "id", "name", "category", "path"):
        is_number = heading in ("rank", "distance", "percentile", "id")
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for engine, hits in _lists(result):
        for hit in hits:
            item = (f"{hit.item.id}", hit.item.name, hit.item.category, f"{hit.photo}")
            table.add_row(*map(cell, (engine, f"{hit.rank}", *_how_near(hit), *item)))
        table.add_section()
    stdout().print(table)


def _lists(result: SearchResult) -> Iterator[tuple[str, Sequence[Hit | FusedHit]]]:
    from pipeline.search.fusion import FUSED

    for name, engine in result.items():
        yield name, engine.hits
    if result.fused is not None:
        yield FUSED, result.fused


def _how_near(hit: Hit | FusedHit) -> tuple[str, str]:
    """How near an item is, and the percentile of that; an item of the fused list has a score."""
    from pipeline.search.result import FusedHit

    if isinstance(hit, FusedHit):
        return f"score {hit.score:.4f}", ""
    return f"{hit.distance:.4g}", "" if hit.percentile is None else f"{hit.percentile:.1f}"


def _why_no_match(result: EngineResult) -> str:
    """Say what is unusual about a query: what it shows, or how far its nearest neighbor is."""
    percentile = result.hits[0].percentile or 0
    if (result.ood_percentile or 0) > percentile:
        return f"{result.ood_percentile:.4g} % of the catalog's own photos are reconstructed better"
    return (
        f"{percentile:.4g} % of the catalog's own photos have a nearer neighbor than this one's"
        " nearest"
    )
