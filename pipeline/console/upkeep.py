"""What a catalogue's folder holds, and what is odd about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from pipeline.console.building import states_line
from pipeline.console.output import cell, cut, size, stdout

if TYPE_CHECKING:
    from pipeline.audit import Audit

_KEY, _LABEL = 40, 80  # characters of one in a table of many


def print_audit(audit: Audit) -> None:
    """Print how many there are of each finding, and the first of them."""
    from pipeline.audit import counted

    out = stdout()
    counts = f"{counted(audit.items, 'item')}, {counted(audit.photos, 'distinct photo')}"
    out.print(cell(f"{audit.catalogue}: {counts}"))
    table = Table("finding", "number", "first")
    for finding in audit.findings.values():
        group = next(iter(finding.groups), None)
        keys = ", ".join(cut(example.key, _KEY) for example in group.examples[:3]) if group else ""
        label = f"{cut(group.label, _LABEL)}: " if group and group.label else ""
        number = counted(finding.count, finding.unit) if finding.count else "none"
        table.add_row(*map(cell, (finding.title, number, label + keys)))
    out.print(table)


def print_info(facts: Mapping[str, Any]) -> None:
    """Print what a catalogue's folder holds."""
    out = stdout()
    out.print(cell(f"{facts['folder']}: {size(facts['bytes'])}"))
    out.print(cell(f"{states_line(facts['states'])}; {facts['photos']:,} distinct photos"))
    if facts["unfinished"]:
        out.print("the last ingest did not finish: run `imgsearch ingest`", markup=False)
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
        table.add_row(*map(cell, cells))
    out.print(table)
    for engine in facts["engines"].values():
        if engine["model"] and engine["model"]["warning"]:
            out.print(cell(engine["model"]["warning"]))
