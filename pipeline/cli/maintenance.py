"""Commands that look after a catalog: info, verify, repair, clean."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from typer import Option

from pipeline.cli.app import app, load_config
from pipeline.cli.build import remark_lines, states_line
from pipeline.cli.options import AsJson, ConfigFile, Overrides
from pipeline.cli.output import (
    print_json,
    print_json_list,
    print_line,
    print_table,
    stdout,
    talk,
)
from pipeline.cli.output_files import check_output
from pipeline.cli.progress_bars import console_progress
from pipeline.report.text import cell, counted, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.config import Config
    from pipeline.maintenance.clean import Removal
    from pipeline.maintenance.info import CatalogInfo, EngineInfo
    from pipeline.publish.tuning import Tuning

MAX_COUNT = 10**9  # SQLite and iterators take no number of any size
REASON_WIDTH = 24  # characters; longer reasons are not cut


@app.command(epilog="Example: imgsearch info --rejected --csv rejected.csv")
def info(
    rejected: Annotated[
        bool, Option("--rejected", help="List every photo, row and file that is not used, and why.")
    ] = False,
    csv: Annotated[Path | None, Option(help="Write that list to a file.", metavar="FILE")] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show the catalog's counts by state, and each engine's model, vectors and builds."""
    from pipeline.maintenance.info import catalog_info

    settings = load_config(config, set_)
    if rejected or csv:
        list_rejected(settings, csv, as_json)
        return
    report = catalog_info(settings)
    if as_json:
        print_json(report.to_dict())
    else:
        print_info(report)


@app.command(epilog="Example: imgsearch verify --config config/flipkart.yaml")
def verify(
    recall: Annotated[
        bool, Option("--recall", help="Measure whether promises of recall are kept, too.")
    ] = False,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check every checksum, and that catalog, vectors and indexes agree."""
    from pipeline.maintenance.verify import verify as check
    from pipeline.maintenance.verify_recall import check_recall

    settings = load_config(config, set_)
    verdict = check(settings, console_progress())
    measures = recall and not verdict.problems  # what is damaged cannot be measured
    checks = [*check_recall(settings, progress=console_progress())] if measures else []
    if as_json:
        recalls = {"recall": [one.to_dict() for one in checks]} if recall else {}
        print_json(verdict.to_dict() | recalls)
    else:
        for one in checks:
            print_line(str(one))
        if measures and not checks:
            talk("no index promises a recall: all answers are exact")
        for problem in verdict.problems:
            print_line(str(problem))
        talk(
            f"checked {counted(verdict.photos, 'photo')}, {counted(verdict.models, 'model')},"
            f" {counted(verdict.shards, 'shard')}, {counted(verdict.segments, 'segment')} and"
            f" {counted(verdict.builds, 'build')}:"
            f" {counted(len(verdict.problems), 'problem') if verdict.problems else 'no problems'}"
        )
        if any(problem.is_mendable for problem in verdict.problems):
            talk("`imgsearch repair` does what these lines say")
    if verdict.problems or not all(one.is_kept for one in checks):
        raise typer.Exit(1)


@app.command(epilog="Example: imgsearch repair --config config/flipkart.yaml")
def repair(config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False) -> None:
    """Do what `verify` advises: delete what is damaged, and make it again."""
    from pipeline.maintenance.repair import repair as run

    result = run(load_config(config, set_), console_progress())
    if as_json:
        print_json(result.to_dict())
    else:
        for problem in result.mended:
            print_line(f"mended: {problem.where}: {problem.fault}")
        for problem in result.left:
            print_line(str(problem))
        talk(
            f"mended {counted(len(result.mended), 'problem')},"
            f" {len(result.left) or 'none'} left to do by hand"
        )
    if result.left:
        raise typer.Exit(1)


@app.command(epilog="Example: imgsearch clean --all --yes")
def clean(
    everything: Annotated[
        bool, Option("--all", help="Remove the whole catalog, not only what is unused.")
    ] = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Remove what no kept publication needs: models, vectors, builds, photos; never yours."""
    from pipeline.maintenance.clean import clean as remove

    asks = everything and not yes

    def announce(removals: Sequence[Removal]) -> None:
        """List what is removed, before it is; ask, where all of the catalog is."""
        tell = talk if as_json else print_line
        for removal in removals:
            tell(f"removing {removal.path} ({size(removal.bytes)})")
        if asks and removals:
            typer.confirm("Remove all of this?", abort=True, err=True)

    removed = remove(load_config(config, set_), everything=everything, announce=announce)
    if as_json:
        print_json([removal.to_dict() for removal in removed])
    total = size(sum(removal.bytes for removal in removed))
    talk(f"removed {total}" if removed else "nothing to remove")


def list_rejected(config: Config, csv: Path | None, as_json: bool) -> None:
    """Write or print what is not in the catalog, in a stream."""
    from pipeline.maintenance.rejected import rejected, write_csv

    entries = rejected(config)
    if csv:
        check_output("--csv", csv, [".csv"], config)
        talk(f"wrote {csv}: {counted(write_csv(csv, entries), 'row')}")
    elif as_json:
        print_json_list(map(asdict, entries))
    else:
        for entry in entries:
            print_line(f"{entry.state:<9} {entry.reason:<{REASON_WIDTH}} {entry.place}")


def print_info(info: CatalogInfo) -> None:
    """Print what a catalog's folder holds."""
    from pipeline.maintenance.info import DerivedModelInfo, ServedBuildInfo

    out = stdout()
    out.print(cell(f"{info.folder}: {size(info.bytes)}"))
    out.print(cell(f"{states_line(info.states)}; {info.photos:,} distinct photos"))
    for line in remark_lines(info.left_out, info.unmatched):
        out.print(cell(line))
    if info.unfinished:
        out.print("the last ingest did not finish: run `imgsearch ingest`", markup=False)
    if info.held:
        out.print(cell(f"held: {info.held}"))
        out.print("  if it should: run `imgsearch publish --accept-removals`", markup=False)
    out.print(cell(_published(info)))
    table = Table("engine", "model", "weights", "runtime", "vectors", "index", "build", "size")
    for name, engine in info.engines.items():
        table.add_row(cell(name), *map(cell, _engine_cells(engine)))
    print_table(table)
    for line in _tuning_lines(info.tuning) if info.tuning else ():
        out.print(cell(line))
    for name, engine in info.engines.items():
        if isinstance(served := engine.build, ServedBuildInfo):
            where = f"collection {served.collection}, database {served.database}"
            out.print(cell(f"{name}: searched by Milvus at {served.server}, {where}"))
        if isinstance(engine.model, DerivedModelInfo):
            out.print(cell(engine.model.told))
        if engine.model and engine.model.warning:
            out.print(cell(engine.model.warning))


def _tuning_lines(tuning: Tuning) -> Iterator[str]:
    """Say what was measured for a publication, and on what."""
    judged = f"by {tuning.label}" if tuning.label else "by views of the catalog's photos"
    if tuning.fusion:
        weights = tuning.fusion.of(list(tuning.fusion.alone))
        shown = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
        yield f"fused by weights, fitted to {counted(tuning.queries, 'query')} {judged}: {shown}"
    for name, measured in (tuning.refine or {}).items():
        gain = measured.gains.get(measured.chosen)
        why = (
            f", mAP {gain['mAP']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})" if gain else ""
        )
        yield f"refined as measured {judged}: {name} {measured.chosen}{why}"


def _published(info: CatalogInfo) -> str:
    answers = f"publication {info.publication} answers" if info.publication else ""
    refused = f"not published since: {'; '.join(info.kept_aside)}" if info.kept_aside else ""
    return "; ".join(filter(None, (answers, refused))) or "nothing is published yet"


def _engine_cells(engine: EngineInfo) -> tuple[str, ...]:
    model, build = engine.model, engine.build
    fingerprint = index = "none"
    if model:
        is_stale = not model.matches_configuration
        fingerprint = model.fingerprint + (" (STALE: settings changed)" if is_stale else "")
    if build:
        index = f"{build.index}, {build.rows:,} photos × {build.dim:,}"
        index += f"; {build.recall}" if build.recall else ""
        if build.without_direction:
            index += f" ({build.without_direction:,} more of no direction left out)"
        index += "" if build.matches_model else " (STALE: another model)"
    return (
        fingerprint,
        (model.weights or "trained") if model else "",
        model.runtime if model else "",
        f"{engine.vectors:,}",
        index,
        build.id if build else "",
        size(engine.bytes),
    )
