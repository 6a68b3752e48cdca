"""Commands that write a catalog: each stage, and all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from typer import Option

from pipeline.cli.app import app, load_config
from pipeline.cli.options import AcceptRemovals, AsJson, ConfigFile, Overrides
from pipeline.cli.output import print_json, print_line, talk
from pipeline.cli.progress_bars import console_progress
from pipeline.report.text import counted

if TYPE_CHECKING:
    from pipeline.catalog.left_out import LeftOutCount, Unmatched
    from pipeline.config import Config
    from pipeline.publish.publish import PublishReport
    from pipeline.stages import BuildReport, EngineReport, Stage

MAX_KINDS = 6  # of files that are left out, in a line


def run_stages(
    config: Config,
    stages: tuple[Stage, ...] | None,
    as_json: bool,
    *,
    retry_failed: bool = False,
    accept_removals: bool = False,
) -> None:
    """Run stages, all of them if None, and print what they did."""
    from pipeline.stages import STAGES, BuildReport, build

    report, progress = BuildReport(), console_progress()
    try:
        build(
            config,
            stages or STAGES,
            progress,
            retry_failed=retry_failed,
            accept_removals=accept_removals,
            report=report,
        )
    except BaseException:
        for line in report_lines(report):  # what is finished stays finished
            talk(line)
        raise
    if as_json:
        print_json(report.to_dict())
    else:
        print_report(report)


@app.command(epilog="Example: imgsearch ingest --set 'source={type: folder, path: photos}'")
def ingest(
    accept_removals: AcceptRemovals = False,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Bring the catalog up to date with its source, and count what became of every item."""
    run_stages(load_config(config, set_), ("ingest",), as_json, accept_removals=accept_removals)


@app.command(epilog="Example: imgsearch download --config config/flipkart.yaml --retry-failed")
def download(
    retry_failed: Annotated[
        bool, Option("--retry-failed", help="Try those that failed again, and no others.")
    ] = False,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the photos that are at URLs; each ends available, failed or rejected, with a reason."""
    run_stages(load_config(config, set_), ("download",), as_json, retry_failed=retry_failed)


@app.command(epilog="Example: imgsearch train --set engines.autoencoder.training.epochs=40")
def train(config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False) -> None:
    """Train the autoencoders on the catalog, and fetch the weights of pretrained networks."""
    run_stages(load_config(config, set_), ("train",), as_json)


@app.command(epilog="Example: imgsearch embed --set embedding.batch_size=64")
def embed(config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False) -> None:
    """Give every photo that has none its vector, by every engine."""
    run_stages(load_config(config, set_), ("embed",), as_json)


@app.command(epilog="Example: imgsearch index --config config/flipkart.yaml")
def index(config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False) -> None:
    """Index the vectors that there are, for every engine, and publish that."""
    run_stages(load_config(config, set_), ("index",), as_json)


@app.command(epilog="Example: imgsearch build --config config/flipkart.yaml")
def build(
    accept_removals: AcceptRemovals = False,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Ingest, download, train, embed, index and publish, each only where it is out of date."""
    run_stages(load_config(config, set_), None, as_json, accept_removals=accept_removals)


def print_report(report: BuildReport) -> None:
    """Print what a build did, in a few lines."""
    for line in report_lines(report):
        print_line(line)
    if report.download and report.download.counts.get("failed"):
        talk("to try again those that failed: imgsearch download --retry-failed")
    if report.download and not report.download.counts and not report.ingest:
        talk("no photos at URLs: nothing to download")


def report_lines(report: BuildReport) -> Iterator[str]:
    """Say what a build did, stage by stage and engine by engine."""
    if report.ingest:
        yield f"catalog    {states_line(report.ingest.counts)}"
        for line in remark_lines(report.ingest.left_out, report.ingest.unmatched):
            yield f"           {line}"
    if report.download and report.download.counts:
        yield f"photos       {states_line(report.download.counts, 'image')}"
    for name, engine in report.engines.items():
        if parts := list(_engine_parts(engine)):
            yield f"{name:<12} {'; '.join(parts)}"
    if report.publication:
        yield _publication_line(report.publication)


def _engine_parts(engine: EngineReport) -> Iterator[str]:
    if engine.model:
        made = "new model" if engine.new_model else "model"
        random = " of RANDOM weights" if engine.model.has_random_weights else ""
        yield f"{made} {engine.model.fingerprint}{random}"
    if engine.embedding:
        e = engine.embedding
        failed = f", {e.failed:,} failed" if e.failed else ""
        yield f"{counted(e.embedded, 'photo')} embedded, {e.already:,} already{failed}"
    if engine.build:
        yield f"index {engine.build.path} of {counted(engine.build.manifest['rows'], 'photo')}"
        if left_out := engine.build.without_direction:
            yield f"{left_out:,} photos left out: their vectors have no direction"


def _publication_line(published: PublishReport) -> str:
    """Say `publication 7 answers`, or why another one does."""
    number, answering = published.publication.number, published.answering
    if number != answering:
        return (
            f"publication {answering} answers, which was rolled back to; {number} holds what was"
            f" built: `imgsearch rollback {number}`"
        )
    return f"publication {number} answers" + ("" if published.is_new else ": nothing has changed")


def remark_lines(
    left_out: Sequence[LeftOutCount], unmatched: Mapping[str, Unmatched]
) -> Iterator[str]:
    """Say what else a source holds, and where rows and photos did not meet, in a line each.

    `1,203 files left out: 1,200 .xyz not an image, 3 folders cannot be read: Permission denied`
    """
    if left_out:
        kinds = [f"{_of_kind(group)} {group.reason}" for group in left_out]
        if len(kinds) > MAX_KINDS:
            kinds[MAX_KINDS:] = [f"and {counted(len(kinds) - MAX_KINDS, 'other kind')}"]
        total = counted(sum(group.count for group in left_out), "file")
        yield f"{total} left out: {', '.join(kinds)}"
    for unit, missing in (("row", "photo"), ("photo", "row")):
        if found := unmatched.get(unit):
            more = ", ..." if found.count > len(found.examples) else ""
            examples = ", ".join(found.examples) + more
            yield f"{counted(found.count, unit)} without a {missing}: {examples}"


def _of_kind(group: LeftOutCount) -> str:
    is_suffix = group.kind.startswith(".")
    return f"{group.count:,} {group.kind}" if is_suffix else counted(group.count, group.kind)


def states_line(counts: Mapping[str, Mapping[str, int]], unit: str = "item") -> str:
    """Say `248 items offered = 246 available + 2 rejected (2 truncated); 1 removed`."""
    states = {state: sum(reasons.values()) for state, reasons in counts.items()}
    removed = states.pop("removed", 0)
    parts = []
    for state, number in states.items():
        reasons = [f"{n:,} {reason}" for reason, n in counts[state].items() if reason]
        parts.append(f"{number:,} {state}" + (f" ({', '.join(reasons)})" if reasons else ""))
    unit = "row" if "skipped" in counts else unit
    offered = " offered" if unit == "item" else ""
    line = f"{counted(sum(states.values()), unit)}{offered} = {' + '.join(parts) or 'none'}"
    return f"{line}; {removed:,} removed" if removed else line
