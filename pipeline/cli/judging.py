"""Commands that say how good the engines are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import (
    DEFAULT,
    ConfigOption,
    JsonOption,
    SetOption,
    app,
    check_page,
    load_config,
)
from pipeline.errors import QueryError

LabelOption = Annotated[
    str,
    typer.Option("--label", "-l", help="The column that says what is right.", metavar="COLUMN"),
]
EnginesOption = Annotated[
    list[str] | None, typer.Option("--engine", "-e", help="Only this one (repeatable).")
]
QueriesOption = Annotated[
    int | None, typer.Option(min=1, help="Items that ask, chosen at random; else all do.")
]
CostOption = Annotated[bool, typer.Option(help="Measure times as well.")]
SeedOption = Annotated[int, typer.Option(min=0, help="For everything that is drawn at random.")]


@app.command(
    epilog="Examples: imgsearch evaluate --label category_2 --queries 1500 |"
    " imgsearch evaluate --query-set photos/ --out evaluation.json"
)
def evaluate(
    label: LabelOption = "category",
    queries: QueriesOption = None,
    query_set: Annotated[
        Path | None,
        typer.Option(
            help="Ask with these photos instead: a folder whose folders are labels, or a CSV file"
            " with the columns file and label.",
            metavar="PATH",
        ),
    ] = None,
    product: Annotated[
        str | None,
        typer.Option(
            help="Items with the same value of this column are one product: they do not find each"
            " other.",
            metavar="COLUMN",
        ),
    ] = None,
    engine: EnginesOption = None,
    cost: CostOption = True,
    resamples: Annotated[
        int, typer.Option(min=1, help="Draws of the queries, for the intervals.")
    ] = 1000,
    seed: SeedOption = 7,
    out: Annotated[
        Path | None, typer.Option(help="Write everything to a file.", metavar="JSON")
    ] = None,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how good each engine is, beside baselines, with intervals, and what it costs."""
    from pipeline import console
    from pipeline.evaluate import Plan
    from pipeline.evaluate import evaluate as measure
    from pipeline.store.artifacts import write_json

    if out and not (out.suffix.lower() == ".json" and out.absolute().parent.is_dir()):
        raise QueryError(f"--out {out}: give a name that ends in .json, in a folder that exists")
    plan = Plan(label, queries, query_set, product, tuple(engine or ()), cost, resamples, seed)
    found = measure(load_config(config, set_), plan, console.progress())
    if as_json:
        console.print_json(found.facts())
    else:
        console.print_evaluation(found)
    if out:
        write_json(out, found.facts())
        console.talk(f"wrote {out}")


@app.command(epilog="Examples: imgsearch compare photo.jpg | imgsearch compare --sample 100 --json")
def compare(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Photos; none: items.", show_default=False)
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Items to ask with, chosen at random.")] = 20,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Neighbours of each query.")] = 10,
    label: LabelOption = "category",
    engine: EnginesOption = None,
    seed: SeedOption = 7,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the engines agree, where only one is right, and what all take for the same."""
    from pipeline import console
    from pipeline.compare import Plan
    from pipeline.compare import compare as look

    plan = Plan(tuple(photos or ()), sample, k, label, tuple(engine or ()), seed)
    found = look(load_config(config, set_), plan)
    if as_json:
        console.print_json(found.facts())
    else:
        console.print_comparison(found)
    for reason in found.failed.values():
        console.talk(f"imgsearch: {reason}")
    if found.failed:
        raise typer.Exit(1)


@app.command(epilog="Example: imgsearch report --label category_2 --out report.html")
def report(
    label: LabelOption = "category",
    queries: QueriesOption = None,
    engine: EnginesOption = None,
    cost: CostOption = True,
    seed: SeedOption = 7,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where to write it; else report.html in the catalogue's folder.", metavar="HTML"
        ),
    ] = None,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all that is known of the engines as one page: quality, queries, maps, training."""
    from datetime import date

    from pipeline import console
    from pipeline.evaluate import Plan
    from pipeline.images import ImageLimits
    from pipeline.overview import overview
    from pipeline.pages import report_page
    from pipeline.store.artifacts import write_atomic

    if out:
        check_page("--out", out)
    settings = load_config(config, set_)
    plan = Plan(label, queries, engines=tuple(engine or ()), cost=cost, seed=seed)
    found = overview(settings, plan, console.progress())
    page = report_page(found, ImageLimits(**settings.images.model_dump()), date.today())
    out = out or settings.folder / "report.html"
    write_atomic(out, page.encode())
    if as_json:
        console.print_json({"file": str(out)})
    else:
        console.talk(f"wrote {out}")
