"""Commands that say how good the engines are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.app import (
    DEFAULT,
    ConfigOption,
    JsonOption,
    SetOption,
    app,
    check_page,
    load_config,
)
from pipeline.cli.output import cell, print_json, stdout, talk
from pipeline.cli.progress_bars import console_progress
from pipeline.errors import QueryError
from pipeline.report.text import cut, plain, size

if TYPE_CHECKING:
    from pipeline.evaluation.compare import Comparison
    from pipeline.evaluation.evaluate import Evaluation
    from pipeline.search.result import FusedHit, Hit


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
    from pipeline.artifacts import write_json
    from pipeline.evaluation.evaluate import EvaluationOptions
    from pipeline.evaluation.evaluate import evaluate as measure

    if out and not (out.suffix.lower() == ".json" and out.absolute().parent.is_dir()):
        raise QueryError(f"--out {out}: give a name that ends in .json, in a folder that exists")
    options = EvaluationOptions(
        label, queries, query_set, product, tuple(engine or ()), cost, resamples, seed
    )
    found = measure(load_config(config, set_), options, console_progress())
    if as_json:
        print_json(found.to_dict())
    else:
        print_evaluation(found)
    if out:
        write_json(out, found.to_dict())
        talk(f"wrote {out}")


@app.command(epilog="Examples: imgsearch compare photo.jpg | imgsearch compare --sample 100 --json")
def compare(
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Photos; none: items.", show_default=False)
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Items to ask with, chosen at random.")] = 20,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Neighbors of each query.")] = 10,
    label: LabelOption = "category",
    engine: EnginesOption = None,
    seed: SeedOption = 7,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the engines agree, where only one is right, and what all take for the same."""
    from pipeline.evaluation.compare import ComparisonOptions
    from pipeline.evaluation.compare import compare as look

    options = ComparisonOptions(tuple(photos or ()), sample, k, label, tuple(engine or ()), seed)
    found = look(load_config(config, set_), options)
    if as_json:
        print_json(found.to_dict())
    else:
        print_comparison(found)
    for reason in found.failed.values():
        talk(f"imgsearch: {reason}")
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
            help="Where to write it; else report.html in the catalog's folder.", metavar="HTML"
        ),
    ] = None,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all that is known of the engines as one page: quality, queries, maps, training."""
    from datetime import date

    from pipeline.artifacts import write_atomic
    from pipeline.engine import image_limits
    from pipeline.evaluation.evaluate import EvaluationOptions
    from pipeline.report.data import report_data
    from pipeline.report.report_page import report_page

    if out:
        check_page("--out", out)
    settings = load_config(config, set_)
    options = EvaluationOptions(label, queries, engines=tuple(engine or ()), cost=cost, seed=seed)
    found = report_data(settings, options, console_progress())
    page = report_page(found, image_limits(settings), date.today())
    out = out or settings.folder / "report.html"
    write_atomic(out, page.encode())
    if as_json:
        print_json({"file": str(out)})
    else:
        talk(f"wrote {out}")


_LABEL = 80  # characters of one
_SHOWN_LABELS = 20  # in the table; JSON has all


def print_evaluation(found: Evaluation) -> None:
    """Print how good each engine is: overall, by label, rebuilding photos, and what it costs."""
    out = stdout()
    for line in _conditions(found):
        out.print(cell(line))
    metrics = list(found.systems[0].scores)
    table = Table("ranked by", *metrics, title="Means with 95 % intervals", title_justify="left")
    for system in found.systems:
        cells = [f"{e.mean:.3f} ({e.low:.3f}–{e.high:.3f})" for e in system.scores.values()]
        table.add_row(*map(cell, (system.name, *cells)))
    out.print(table)
    for line in _held_out(found):
        out.print(cell(line))
    _print_labels(out, found)
    if found.reconstructions:
        table = Table("engine", "numbers", "photos held out", "squared error", "PCA's")
        for r in found.reconstructions:
            errors = (f"{r.mse:.5f}", f"{r.pca_mse:.5f}")
            table.add_row(*map(cell, (r.engine, f"{r.numbers}", f"{r.photos:,}", *errors)))
        out.print(table)
    if found.costs:
        table = Table("engine", "photos/s", "decoded/s", "vector", "index", "lookup", "query")
        table.add_column("recall@10")
        for c in found.costs:
            table.add_row(
                cell(c.engine),
                f"{c.embedding.photos_per_second:,.1f}",
                f"{c.embedding.decoded_per_second:,.1f}",
                size(c.vector_bytes),
                size(c.build_bytes),
                f"{c.lookup_ms:.2f} ms",
                f"{c.query_ms:.1f} ms",
                f"{c.recall_at_10:.4f}",
            )
        out.print(table)
    for system in found.systems:
        if system.warning and system.kind == "engine":
            talk(system.warning)


def _conditions(found: Evaluation) -> Iterator[str]:
    """Say what the numbers are of."""
    asked = f"photos of {found.query_set}" if found.query_set else "items"
    yield (
        f"{found.catalog}: {found.scored:,} {asked} asked for others of their {found.label} among"
        f" {found.items:,} items; {found.nothing_to_find:,} had nothing to find"
    )
    if found.excluded_items:
        why = "an index has not got them, or no photo of theirs can be read"
        yield f"{found.excluded_items:,} labeled items are not ranked: {why}"
    for reason, photos in found.rejected.items():
        yield f"{photos:,} photos were no queries: {reason}"
    for what, left_out in (("photo", found.same_photo), ("product", found.same_product)):
        if left_out.pairs:
            yield (
                f"of the same {what}, and so left out: {left_out.pairs:,} items of the lists of"
                f" {left_out.queries:,} queries"
            )


def _held_out(found: Evaluation) -> Iterator[str]:
    """Say which scores flatter, and what they are without that."""
    for engine, one in found.held_out.items():
        if one.trained_on:
            yield (
                f"{engine} was trained on photos of {one.trained_on:,} of these queries, which"
                f" flatters it; on the {one.queries:,} others: "
                + (", ".join(f"{k} {e.mean:.3f}" for k, e in (one.scores or {}).items()) or "none")
            )


def _print_labels(out: Console, found: Evaluation) -> None:
    table = Table(title="P@3 by label", title_justify="left")
    for heading in (found.label, "items", "queries", *(system.name for system in found.systems)):
        table.add_column(cell(heading))
    most = sorted(found.labels.items(), key=lambda one: -one[1].queries)
    asked = [(label, count) for label, count in most if count.queries]
    for label, count in asked[:_SHOWN_LABELS]:
        means = [f"{system.by_label[label]['P@3'].mean:.3f}" for system in found.systems]
        cells = (cut(label, _LABEL), f"{count.items:,}", f"{count.queries:,}", *means)
        table.add_row(*map(cell, cells))
    if len(asked) > _SHOWN_LABELS:
        table.caption = f"and {len(asked) - _SHOWN_LABELS:,} more: see --json"
    out.print(table)


def print_comparison(found: Comparison) -> None:
    """Print each query's lists side by side, and what they add up to."""
    from pipeline.search.fusion import FUSED

    out = stdout()
    for answers in found.answers:
        label = f" ({answers.label})" if answers.label else ""
        title = Text(plain(f"Nearest to {answers.query}{label}"), "table.title")
        table = Table(title=title, title_justify="left")
        table.add_column("rank", justify="right")
        lists: dict[str, Sequence[Hit | FusedHit]] = {**answers.lists, FUSED: answers.fused}
        for name in lists:
            verdict = answers.right and answers.right.get(name)
            mark = {True: " (right)", False: " (wrong)"}.get(verdict, "")  # type: ignore[arg-type]
            table.add_column(cell(name + mark), overflow="fold")
        for rank, row in enumerate(zip_longest(*lists.values()), 1):
            cells = (f"{n.item.name} · {n.item.category} · {n.item.id}" if n else "" for n in row)
            table.add_row(*map(cell, (f"{rank}", *cells)))
        alike = (
            f"{' / '.join(a.engines)}: overlap@{found.k} {a.overlap:.2f}, RBO {a.rbo:.2f}"
            for a in answers.agreements
        )
        table.caption = Text("\n".join(map(plain, alike)), "table.caption")
        table.caption_justify = "left"
        out.print(table)
    for a in found.agreements:
        line = f"overlap@{found.k} {a.overlap:.3f}, rank-biased overlap {a.rbo:.3f}"
        out.print(cell(f"mean of {' / '.join(a.engines)}: {line}"))
    for names, queries in found.right.items():
        who = f"only {names}" if names and "+" not in names else names.replace("+", " and ")
        out.print(cell(f"right by {found.label}: {who or 'none'}: {queries:,} queries"))
    for pair in found.near_identical:
        same = ", which share a photo" if pair.same_photo else ""
        keys = " and ".join(pair.keys)
        out.print(cell(f"each other's nearest by every engine: {keys}{same}"))
    for warning in found.warnings.values():
        talk(warning)
