"""Commands that ask a catalog's indexes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pipeline.cli.app import DEFAULT, ConfigOption, JsonOption, SetOption, app, load_config
from pipeline.cli.evaluate import EnginesOption, SeedOption
from pipeline.cli.output import cell, print_json, stdout, talk
from pipeline.cli.progress_bars import console_progress
from pipeline.errors import PipelineError, QueryError
from pipeline.report.text import plain

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.report.contact_sheet import Answers
    from pipeline.search.fusion import Fused
    from pipeline.search.searcher import Hit, Query, Searcher

_SHEET_QUERIES = 40  # a longer picture is not looked at


@app.command(
    epilog="Examples: imgsearch query photo.jpg -k 5 --sheet result.png | imgsearch query --id 42"
    " --where \"category = 'Watches' and price < 2000\""
)
def query(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Photos, or folders of photos.", show_default=False)
    ] = None,
    item: Annotated[
        str | None, typer.Option("--id", help="An item's id or key, instead of a photo.")
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Neighbors of each query.")] = 3,
    engine: Annotated[
        list[str] | None, typer.Option("--engine", "-e", help="Ask only this one (repeatable).")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Only items for which this holds, such as category = 'Watches' and price < 2000."
            " Any column of the catalog; and, or, not, in, between, like, is null.",
            metavar="CONDITION",
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(help="Only the nearest item of each value of this column.", metavar="COLUMN"),
    ] = None,
    min_distance: Annotated[float, typer.Option(help="No item nearer than this.")] = 0.0,
    max_distance: Annotated[float, typer.Option(help="No item further than this.")] = math.inf,
    fused: Annotated[
        bool, typer.Option("--fuse", help="Show one list more: all engines' lists as one.")
    ] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a picture of queries and neighbors.", metavar="PNG")
    ] = None,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the items that look most like a photo, by every engine side by side."""
    from pipeline.search.fusion import DEPTH

    _check(photos, item, k, sheet, group_by, fused)
    searchers = _open(load_config(config, set_), engine)
    warnings = {s.engine: s.warning for s in searchers if s.warning}
    asked = list(_queries(photos, item, searchers))
    streams = [
        searcher.query_all(
            (query for *_, query in asked),
            max(k, DEPTH) if fused else k,
            where=where,
            min_distance=min_distance,
            max_distance=max_distance,
            group_by=group_by,
        )
        for searcher in searchers
    ]
    drawn: list[tuple[str, Path | None, Answers, list[str]]] = []
    failed = False
    for (name, path, _), *found in zip(asked, *streams, strict=True):
        answers = {}
        for searcher, answer in zip(searchers, found, strict=True):
            if isinstance(answer, PipelineError):
                failed = True
                print_failure(name, answer, as_json)
                break
            answers[searcher.engine] = answer
        else:
            no_match = [s.engine for s in searchers if s.is_no_match(answers[s.engine])]
            shown = _shown(answers, k, fused)
            print_answers(name, shown, warnings, no_match, as_json)
            if sheet and len(drawn) < _SHEET_QUERIES:
                drawn.append((Path(name).name, path, shown, no_match))
    if sheet and drawn:
        _write_sheet(sheet, drawn, searchers[0], warnings)
    if failed:
        raise typer.Exit(1)


def _check(
    photos: list[Path] | None,
    item: str | None,
    k: int,
    sheet: Path | None,
    group_by: str | None,
    fused: bool,
) -> None:
    if bool(photos) == (item is not None):
        raise QueryError("nothing to look for: give photos, or --id ITEM, and not both")
    if k <= 0:
        raise QueryError(f"k is {k}; ask for at least 1 neighbor")
    if sheet and not (sheet.suffix.lower() == ".png" and sheet.absolute().parent.is_dir()):
        raise QueryError(f"--sheet {sheet}: give a name that ends in .png, in a folder that exists")
    if fused and group_by is not None:
        raise QueryError("--fuse and --group-by: each engine may pick another item of a group")


def _shown(answers: dict[str, list[Hit]], k: int, fused: bool) -> Answers:
    """Each engine's k nearest and, if asked for, the fusion of the deeper lists that it takes."""
    from pipeline.search.fusion import FUSED, fuse

    lists = {engine: found[:k] for engine, found in answers.items()}
    return {**lists, FUSED: fuse(answers, k)} if fused else lists


def _open(config: Config, engines: list[str] | None) -> list[Searcher]:
    from pipeline.search import searcher as search

    return [search.open(config, name) for name in dict.fromkeys(engines or config.engines)]


def _queries(
    photos: list[Path] | None, item: str | None, searchers: list[Searcher]
) -> Iterator[tuple[str, Path | None, Query]]:
    """Yield what to show, the photo to draw, and what to ask, of each query."""
    if item is not None:
        catalog = searchers[0].catalog
        record = catalog.item(int(item)) if item.isdecimal() and len(item) < 20 else None
        record = record or catalog.item_by_key(item)
        if record is None:
            raise QueryError(f"no item has the id or key {item!r}; `imgsearch query` shows ids")
        first = next((i for i in catalog.images(record.id) if i.sha256), None)
        path = catalog.photo_path(first.sha256, record.id) if first and first.sha256 else None
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
    from pipeline.report.contact_sheet import query_sheet

    query_sheet(drawn, searcher.limits, warnings).save(file, format="PNG")
    shown = f": the first {_SHEET_QUERIES} queries" if len(drawn) == _SHEET_QUERIES else ""
    talk(f"wrote {file}{shown}")


@app.command(epilog="Example: imgsearch neighbors vgg16 graph.parquet -k 20")
def neighbors(
    engine: Annotated[str, typer.Argument(help="Whose index.", show_default=False)],
    file: Annotated[
        Path, typer.Argument(help="What to write: .parquet or .npy.", show_default=False)
    ],
    k: Annotated[int, typer.Option("-k", "--k", help="Neighbors of each item.")] = 10,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the k nearest others of every item: the neighbor graph of the catalog."""
    from pipeline.search import searcher as search
    from pipeline.search.neighbor_graph import write_graph

    with search.open(load_config(config, set_), engine) as searcher:
        rows = write_graph(searcher, k, file, console_progress())
    if as_json:
        print_json({"file": str(file), "rows": rows})
    else:
        talk(f"wrote {file}: {rows:,} rows")


@app.command(epilog="Example: imgsearch projector projector && tensorboard --logdir projector")
def projector(
    folder: Annotated[
        Path,
        typer.Argument(help="What to write: a new folder, or an earlier one.", show_default=False),
    ],
    engine: EnginesOption = None,
    most: Annotated[
        int, typer.Option(help="Photos; of more, that many chosen at random.", metavar="PHOTOS")
    ] = 10_000,
    seed: SeedOption = 7,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write vectors, metadata and thumbnails for TensorBoard's Embedding Projector."""
    from pipeline.report.projector import export

    with ExitStack() as opened:
        searchers = _open(load_config(config, set_), engine)
        for searcher in searchers:
            opened.enter_context(searcher)
        written = export(searchers, folder, most, seed, console_progress())
    if written.points < written.photos:
        sample = f"{written.points:,} of {written.photos:,} photos"
        talk(f"a sample of {sample}, drawn with seed {seed}; --most takes more")
    if written.unreadable:
        talk(f"photos that cannot be read any more, with gray tiles: {written.unreadable:,}")
    for searcher in searchers:
        if searcher.warning:
            talk(searcher.warning)
    if as_json:
        print_json(asdict(written))
    else:
        talk(
            f"wrote {folder}: {written.points:,} points of {', '.join(written.engines)}; see them"
            f" with `tensorboard --logdir {folder}`"
        )


def print_failure(query: str, error: Exception, as_json: bool) -> None:
    """Say, in one line, why one query of several has no answer."""
    talk(f"imgsearch: {error}")
    if as_json:
        print_json({"query": query, "error": str(error)})


def print_answers(
    query: str,
    answers: Mapping[str, Sequence[Hit | Fused]],
    warnings: Mapping[str, str],
    no_match: Sequence[str],
    as_json: bool,
) -> None:
    """Print one query's neighbors, engine by engine, and which engines know nothing like it."""
    if as_json:
        lists = {engine: [asdict(n) for n in found] for engine, found in answers.items()}
        facts = {"engines": lists, "no_good_match": list(no_match), "warnings": warnings}
        print_json({"query": query, **facts})
        return
    title = Text(plain(f"Nearest to {query}"), "table.title")
    table = Table(title=title, title_justify="left")
    remarks = [f"{engine}: no good match: {_far(answers[engine][0])}" for engine in no_match]
    if remarks := [*remarks, *warnings.values()]:
        table.caption = Text("\n".join(map(plain, remarks)), "table.caption")
        table.caption_justify = "left"
    for heading, justify in (
        ("engine", "left"),
        ("rank", "right"),
        ("distance", "right"),
        ("percentile", "right"),
        ("id", "right"),
        ("name", "left"),
        ("category", "left"),
        ("path", "left"),
    ):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for engine, neighbors in answers.items():
        for n in neighbors:
            numbers = (f"{n.rank}", *_near(n), f"{n.id}")
            table.add_row(*map(cell, (engine, *numbers, n.name, n.category, f"{n.path}")))
        table.add_section()
    stdout().print(table)


def _near(n: Hit | Fused) -> tuple[str, str]:
    """How near an item is, and the percentile of that; an item of the fused list has a score."""
    from pipeline.search.fusion import Fused

    if isinstance(n, Fused):
        return f"score {n.score:.4f}", ""
    return f"{n.distance:.4g}", "" if n.percentile is None else f"{n.percentile:.1f}"


def _far(nearest: Any) -> str:
    """Say what is unusual about a query: how far its nearest neighbor is, or what it shows."""
    if (nearest.ood_percentile or 0) > (nearest.percentile or 0):
        return f"{nearest.ood_percentile:.4g} % of the catalog's own photos are rebuilt better"
    return (
        f"{nearest.percentile:.4g} % of the catalog's own photos have a nearer neighbor than"
        " this one's nearest"
    )
