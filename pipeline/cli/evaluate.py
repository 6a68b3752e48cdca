"""Commands that say how good the engines are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from pipeline.cli import options
from pipeline.cli.app import app, load_config
from pipeline.cli.output import print_json, print_table, talk
from pipeline.cli.output_files import check_output, check_writable
from pipeline.cli.progress_bars import console_progress


@app.command(
    epilog="Examples: imgsearch evaluate --label category_2 --queries 1500 |"
    " imgsearch evaluate --query-set photos/ --out evaluation.json"
)
def evaluate(
    label: options.Label = "category",
    queries: options.Queries = None,
    query_set: options.QuerySet = None,
    product: options.Product = None,
    engine: options.Engines = None,
    cost: options.Cost = True,
    ablate: options.Ablate = False,
    resamples: Annotated[
        int, Option(min=1, max=100_000, help="Draws of the queries, for the intervals.")
    ] = 1000,
    seed: options.Seed = 7,
    out: Annotated[Path | None, Option(help="Write everything to a file.", metavar="JSON")] = None,
    config: options.ConfigFile = None,
    set_: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure how good each engine is beside baselines, with intervals, and what it costs."""
    from pipeline.artifacts import write_json
    from pipeline.evaluation.evaluate import EvaluationOptions
    from pipeline.evaluation.evaluate import evaluate as measure
    from pipeline.report.tables import evaluation_tables

    settings = load_config(config, set_)
    if out:
        check_output("--out", out, [".json"], settings)
    request = EvaluationOptions(
        label,
        queries,
        query_set,
        product,
        tuple(engine or ()),
        cost,
        resamples,
        seed,
        ablate=ablate,
    )
    evaluation = measure(settings, request, console_progress())
    if as_json:
        print_json(evaluation.to_dict())
    else:
        for table in evaluation_tables(evaluation):
            print_table(table)
        for system in evaluation.systems:
            if system.warning and system.kind == "engine":
                talk(system.warning)
    if out:
        write_json(out, evaluation.to_dict())
        talk(f"wrote {out}")


@app.command(epilog="Examples: imgsearch compare photo.jpg | imgsearch compare --sample 100 --json")
def compare(
    photos: Annotated[
        list[Path] | None,
        Argument(
            help="Photos; none: items.",
            show_default=False,
            parser=options.path_to_read,
            metavar="PHOTO",
        ),
    ] = None,
    sample: Annotated[int, Option(min=1, help="Items to search with, chosen at random.")] = 20,
    k: Annotated[int, Option("-k", "--k", min=1, help="Neighbors of each query.")] = 10,
    lists: Annotated[int, Option(min=0, help="Queries whose lists are printed.")] = 3,
    label: options.Label = "category",
    engine: options.Engines = None,
    seed: options.Seed = 7,
    config: options.ConfigFile = None,
    set_: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Show where the engines agree, where only one is right, and which items none tells apart."""
    from pipeline.evaluation.compare import ComparisonOptions
    from pipeline.evaluation.compare import compare as run
    from pipeline.report.tables import comparison_tables

    request = ComparisonOptions(tuple(photos or ()), sample, k, label, tuple(engine or ()), seed)
    comparison = run(load_config(config, set_), request)
    if as_json:
        print_json(comparison.to_dict())
    else:
        for table in comparison_tables(comparison, lists):
            print_table(table)
        for warning in comparison.warnings.values():
            talk(warning)
    for reason in comparison.failed.values():
        talk(f"imgsearch: {reason}")
    if comparison.failed:
        raise typer.Exit(1)


@app.command(epilog="Example: imgsearch report --label category_2 --out report.html")
def report(
    label: options.Label = "category",
    queries: options.Queries = None,
    engine: options.Engines = None,
    cost: options.Cost = True,
    ablate: options.Ablate = False,
    seed: options.Seed = 7,
    out: Annotated[
        Path | None,
        Option(help="Where to write it; else report.html in the catalog's folder.", metavar="HTML"),
    ] = None,
    config: options.ConfigFile = None,
    set_: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Write one page about the engines: quality, example queries, maps, training, distances."""
    from datetime import date

    from pipeline.artifacts import sweep, write_atomic
    from pipeline.config.schema import REPORT
    from pipeline.engine import image_limits
    from pipeline.evaluation.evaluate import EvaluationOptions
    from pipeline.report.data import report_data
    from pipeline.report.page import report_page

    settings = load_config(config, set_)
    default = settings.folder / REPORT
    if out and out.resolve() != default.resolve():
        check_output("--out", out, [".html"], settings)
    else:
        check_writable(settings.folder, "--out")
        sweep(settings.folder, REPORT)
    request = EvaluationOptions(
        label, queries, engines=tuple(engine or ()), cost=cost, ablate=ablate, seed=seed
    )
    data = report_data(settings, request, console_progress())
    out = out or default
    write_atomic(out, report_page(data, image_limits(settings), date.today()).encode())
    if as_json:
        print_json({"file": str(out)})
    else:
        talk(f"wrote {out}")
