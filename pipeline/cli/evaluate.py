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
from pipeline.cli.output import print_json, stdout, talk
from pipeline.cli.progress_bars import console_progress
from pipeline.errors import QueryError

LabelOption = Annotated[
    str,
    typer.Option(
        "--label", "-l", help="The column whose value relevant items share.", metavar="COLUMN"
    ),
]
EnginesOption = Annotated[
    list[str] | None, typer.Option("--engine", "-e", help="Only this one (repeatable).")
]
QueriesOption = Annotated[
    int | None, typer.Option(min=1, help="Items to search with, chosen at random; else all.")
]
QuerySetOption = Annotated[
    Path | None,
    typer.Option(
        help="Search with these photos instead: a folder with a folder for each label, or a CSV"
        " file with the columns file and label.",
        metavar="PATH",
    ),
]
ProductOption = Annotated[
    str | None,
    typer.Option(
        help="Items with the same value of this column are one product: they do not find each"
        " other.",
        metavar="COLUMN",
    ),
]
CostOption = Annotated[bool, typer.Option(help="Measure times as well.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of all random choices.")]


@app.command(
    epilog="Examples: imgsearch evaluate --label category_2 --queries 1500 |"
    " imgsearch evaluate --query-set photos/ --out evaluation.json"
)
def evaluate(
    label: LabelOption = "category",
    queries: QueriesOption = None,
    query_set: QuerySetOption = None,
    product: ProductOption = None,
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
    """Measure how good each engine is beside baselines, with intervals, and what it costs."""
    from pipeline.artifacts import write_json
    from pipeline.evaluation.evaluate import EvaluationOptions
    from pipeline.evaluation.evaluate import evaluate as measure
    from pipeline.report.tables import evaluation_tables

    if out and not (out.suffix.lower() == ".json" and out.absolute().parent.is_dir()):
        raise QueryError(
            "give a name that ends in .json, in a folder that exists", where=f"--out {out}"
        )
    options = EvaluationOptions(
        label, queries, query_set, product, tuple(engine or ()), cost, resamples, seed
    )
    evaluation = measure(load_config(config, set_), options, console_progress())
    if as_json:
        print_json(evaluation.to_dict())
    else:
        for table in evaluation_tables(evaluation):
            stdout().print(table)
        for system in evaluation.systems:
            if system.warning and system.kind == "engine":
                talk(system.warning)
    if out:
        write_json(out, evaluation.to_dict())
        talk(f"wrote {out}")


@app.command(epilog="Examples: imgsearch compare photo.jpg | imgsearch compare --sample 100 --json")
def compare(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Photos; none: items.", show_default=False)
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, help="Items to search with, chosen at random.")
    ] = 20,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Neighbors of each query.")] = 10,
    label: LabelOption = "category",
    engine: EnginesOption = None,
    seed: SeedOption = 7,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the engines agree, where only one is right, and which items none tells apart."""
    from pipeline.evaluation.compare import ComparisonOptions
    from pipeline.evaluation.compare import compare as run
    from pipeline.report.tables import comparison_tables

    options = ComparisonOptions(tuple(photos or ()), sample, k, label, tuple(engine or ()), seed)
    comparison = run(load_config(config, set_), options)
    if as_json:
        print_json(comparison.to_dict())
    else:
        for table in comparison_tables(comparison):
            stdout().print(table)
        for warning in comparison.warnings.values():
            talk(warning)
    for reason in comparison.failed.values():
        talk(f"imgsearch: {reason}")
    if comparison.failed:
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
            help="Where to write it; else report.html in the catalog's folder.", metavar="HTML"
        ),
    ] = None,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one page about the engines: quality, example queries, maps, training, distances."""
    from datetime import date

    from pipeline.artifacts import write_atomic
    from pipeline.config.schema import REPORT
    from pipeline.engine import image_limits
    from pipeline.evaluation.evaluate import EvaluationOptions
    from pipeline.report.data import report_data
    from pipeline.report.page import report_page

    if out:
        check_page("--out", out)
    settings = load_config(config, set_)
    options = EvaluationOptions(label, queries, engines=tuple(engine or ()), cost=cost, seed=seed)
    data = report_data(settings, options, console_progress())
    page = report_page(data, image_limits(settings), date.today())
    out = out or settings.folder / REPORT
    write_atomic(out, page.encode())
    if as_json:
        print_json({"file": str(out)})
    else:
        talk(f"wrote {out}")
