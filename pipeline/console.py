"""How the command line looks: progress, tables, JSON. stdout is data, stderr is talk."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from pipeline.progress import Advance, Progress

if TYPE_CHECKING:
    from pipeline.audit import Audit
    from pipeline.build import Report
    from pipeline.search import Neighbour

_PLAIN_EVERY = 5.0  # seconds between lines where there is no terminal
_UNLIMITED = 10_000  # columns of a table that no person's terminal cuts

_stderr = Console(stderr=True, highlight=False)


def _stdout() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_UNLIMITED)


def progress() -> Progress:
    """Bars with rate and ETA on a terminal; a plain line now and then elsewhere."""
    return _Terminal() if _stderr.is_terminal else _Plain()


def talk(text: str) -> None:
    """Say something to the person; never part of the data."""
    _stderr.print(text, markup=False, soft_wrap=True)


def print_json(content: Any) -> None:
    """Print one JSON document on one line."""
    print(json.dumps(content, ensure_ascii=False, default=str))  # noqa: T201


class _Rate(TextColumn):
    def render(self, task: Task) -> Text:
        rate = f"{task.speed:,.1f}/s" if task.speed else ""
        return Text(rate, style="progress.data.speed")


class _Terminal:
    @contextmanager
    def task(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            _Rate(""),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[standing]}"),
        )
        with Bars(*columns, console=_stderr) as bars:
            task = bars.add_task(escape(label), total=total, standing="")
            yield lambda count, standing="": bars.update(
                task, advance=count, standing=escape(standing)
            )

    def note(self, text: str) -> None:
        talk(text)


class _Plain:
    @contextmanager
    def task(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        started = said = time.monotonic()
        done = shown = 0
        stands = ""

        def line() -> str:
            seconds = max(time.monotonic() - started, 1e-9)
            rate = done / seconds
            of = f"{min(done, total):,}/{total:,}" if total is not None else f"{done:,}"
            eta = (
                f", {(total - done) / rate:,.0f} s left" if total and done < total and rate else ""
            )
            so_far = f"{label}: {of} {unit}, {rate:,.1f}/s, {seconds:,.0f} s so far{eta}"
            return f"{so_far}; {stands}" if stands else so_far

        def advance(count: int, standing: str = "") -> None:
            nonlocal done, said, shown, stands
            done, stands = done + count, standing
            if time.monotonic() - said >= _PLAIN_EVERY:
                said, shown = time.monotonic(), done
                talk(line())

        yield advance
        if done != shown:
            talk(line())

    def note(self, text: str) -> None:
        talk(text)


def print_failure(query: str, error: Exception, as_json: bool) -> None:
    """Say, in one line, why one query of several has no answer."""
    talk(f"imgsearch: {error}")
    if as_json:
        print_json({"query": query, "error": str(error)})


def print_answers(
    query: str,
    answers: Mapping[str, Sequence[Neighbour]],
    warnings: Mapping[str, str],
    no_match: Sequence[str],
    as_json: bool,
) -> None:
    """Print one query's neighbours, engine by engine, and which engines know nothing like it."""
    if as_json:
        lists = {engine: [asdict(n) for n in found] for engine, found in answers.items()}
        facts = {"engines": lists, "no_good_match": list(no_match), "warnings": warnings}
        print_json({"query": query, **facts})
        return
    table = Table(title=f"Nearest to {escape(query)}", title_justify="left")
    remarks = [f"{engine}: no good match: {_far(answers[engine][0])}" for engine in no_match]
    if remarks := [*remarks, *warnings.values()]:
        table.caption = "\n".join(escape(remark) for remark in remarks)
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
    for engine, neighbours in answers.items():
        for n in neighbours:
            percentile = "" if n.percentile is None else f"{n.percentile:.1f}"
            numbers = (f"{n.rank}", f"{n.distance:.4g}", percentile, f"{n.id}")
            cells = (*numbers, n.name, n.category, f"{n.path}")
            table.add_row(engine, *(escape(cell) for cell in cells))
        table.add_section()
    _stdout().print(table)


def _far(nearest: Neighbour) -> str:
    return (
        f"{nearest.percentile:.4g} % of the catalogue's own photos have a nearer neighbour than"
        " this one's nearest"
    )


def report_facts(report: Report) -> dict[str, Any]:
    """What a build did, as JSON-able facts."""
    facts: dict[str, Any] = {}
    if report.ingest:
        facts["ingest"] = {
            "offered": report.ingest.offered,
            "states": report.ingest.counts,
            "newly_removed": report.ingest.newly_removed,
            "unchanged": report.ingest.unchanged,
        }
    if report.download:
        facts["download"] = asdict(report.download)
    facts["engines"] = {
        name: {
            "model": engine.model.fingerprint if engine.model else None,
            "new_model": engine.new_model,
            "random_weights": bool(engine.model and engine.model.has_random_weights),
            "vectors": vars(engine.embedding) if engine.embedding else None,
            "build": engine.build.path.name if engine.build else None,
            "rows": engine.build.manifest["rows"] if engine.build else None,
        }
        for name, engine in report.engines.items()
    }
    return facts


def print_report(report: Report) -> None:
    """Print what a build did, in a few lines."""
    out = _stdout()
    if report.ingest:
        out.print(f"catalogue    {states_line(report.ingest.counts)}", markup=False)
    if report.download and report.download.counts:
        out.print(f"photos       {states_line(report.download.counts, 'images')}", markup=False)
        if report.download.counts.get("failed"):
            talk("to try again those that failed: imgsearch download --retry-failed")
    for name, engine in report.engines.items():
        parts = []
        if engine.model:
            made = "new model" if engine.new_model else "model"
            random = " of RANDOM weights" if engine.model.has_random_weights else ""
            parts.append(f"{made} {engine.model.fingerprint}{random}")
        if engine.embedding:
            e = engine.embedding
            failed = f", {e.failed:,} failed" if e.failed else ""
            parts.append(f"{e.embedded:,} photos embedded, {e.already:,} already{failed}")
        if engine.build:
            parts.append(f"index {engine.build.path} of {engine.build.manifest['rows']:,} photos")
        if parts:
            out.print(f"{name:<12} {'; '.join(parts)}", markup=False)


def states_line(counts: Mapping[str, Mapping[str, int]], unit: str = "items offered") -> str:
    """Say `248 items offered = 246 available + 2 rejected (2 truncated); 1 removed before`."""
    states = {state: sum(reasons.values()) for state, reasons in counts.items()}
    removed = states.pop("removed", 0)
    parts = []
    for state, number in states.items():
        reasons = [f"{n:,} {reason}" for reason, n in counts[state].items() if reason]
        parts.append(f"{number:,} {state}" + (f" ({', '.join(reasons)})" if reasons else ""))
    unit = "rows" if "skipped" in counts else unit
    line = f"{sum(states.values()):,} {unit} = {' + '.join(parts) or 'none'}"
    return f"{line}; {removed:,} removed before" if removed else line


def print_audit(audit: Audit) -> None:
    """Print how many there are of each finding, and the first of them."""
    from pipeline.audit import counted

    out = _stdout()
    counts = f"{counted(audit.items, 'item')}, {counted(audit.photos, 'distinct photo')}"
    out.print(f"{audit.catalogue}: {counts}", markup=False)
    table = Table("finding", "number", "first")
    for finding in audit.findings.values():
        group = next(iter(finding.groups), None)
        keys = ", ".join(example.key for example in group.examples[:3]) if group else ""
        label = f"{group.label}: " if group and group.label else ""
        number = counted(finding.count, finding.unit) if finding.count else "none"
        table.add_row(*(escape(cell) for cell in (finding.title, number, label + keys)))
    out.print(table)


def print_info(facts: Mapping[str, Any]) -> None:
    """Print what a catalogue's folder holds."""
    out = _stdout()
    out.print(f"{facts['folder']}: {size(facts['bytes'])}", markup=False)
    out.print(
        f"{states_line(facts['states'])}; {facts['photos']:,} distinct photos",
        markup=False,
    )
    table = Table("engine", "model", "weights", "vectors", "index", "build", "size")
    for name, engine in facts["engines"].items():
        model, build = engine["model"], engine["build"]
        index = "none"
        if build:
            index = f"{build['index']}, {build['rows']:,} photos × {build['dim']:,}"
            index += "" if build["matches_model"] else " (STALE: another model)"
        fingerprint = "none"
        if model:
            current = model["matches_configuration"]
            fingerprint = model["fingerprint"] + ("" if current else " (STALE: settings changed)")
        cells = (
            name,
            fingerprint,
            str(model["weights"] or "trained") if model else "",
            f"{engine.get('vectors', 0):,}",
            index,
            build["id"] if build else "",
            size(engine["bytes"]),
        )
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)
    for engine in facts["engines"].values():
        if engine["model"] and engine["model"]["warning"]:
            out.print(engine["model"]["warning"], markup=False)


def size(count: float) -> str:
    """Bytes in the unit that a person would choose."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
