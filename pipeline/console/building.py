"""What a run of the stages did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline.console.output import print_line, talk

if TYPE_CHECKING:
    from pipeline.build import Report


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
    for line in report_lines(report):
        print_line(line)
    if report.download and report.download.counts.get("failed"):
        talk("to try again those that failed: imgsearch download --retry-failed")
    if report.download and not report.download.counts and not report.ingest:
        talk("no photos at URLs: nothing to download")


def report_lines(report: Report) -> Iterator[str]:
    """Say what a build did, stage by stage and engine by engine."""
    if report.ingest:
        yield f"catalogue    {states_line(report.ingest.counts)}"
    if report.download and report.download.counts:
        yield f"photos       {states_line(report.download.counts, 'images')}"
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
            yield f"{name:<12} {'; '.join(parts)}"


def states_line(counts: Mapping[str, Mapping[str, int]], unit: str = "items offered") -> str:
    """Say `248 items offered = 246 available + 2 rejected (2 truncated); 1 removed`."""
    states = {state: sum(reasons.values()) for state, reasons in counts.items()}
    removed = states.pop("removed", 0)
    parts = []
    for state, number in states.items():
        reasons = [f"{n:,} {reason}" for reason, n in counts[state].items() if reason]
        parts.append(f"{number:,} {state}" + (f" ({', '.join(reasons)})" if reasons else ""))
    unit = "rows" if "skipped" in counts else unit
    line = f"{sum(states.values()):,} {unit} = {' + '.join(parts) or 'none'}"
    return f"{line}; {removed:,} removed" if removed else line
