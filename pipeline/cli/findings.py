"""Commands that find what may be wrong with a catalog's photos: audit, duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from typer import Option

from pipeline.cli.app import app, load_config
from pipeline.cli.options import AsJson, ConfigFile, Overrides
from pipeline.cli.output import print_json, print_table, stdout, talk
from pipeline.cli.output_files import check_output
from pipeline.cli.progress_bars import console_progress
from pipeline.report.text import cell, counted, cut

if TYPE_CHECKING:
    from pipeline.maintenance.audit import Audit
    from pipeline.maintenance.duplicates import DuplicateGroups

MAX_COUNT = 10**9  # SQLite and iterators take no number of any size
MAX_KEY_LENGTH, MAX_LABEL_LENGTH = 40, 80  # characters, in the table of an audit
Page = Annotated[
    Path | None, Option("--html", help="Write a page with thumbnails.", metavar="FILE")
]


@app.command(epilog="Example: imgsearch audit --html audit.html --side 200")
def audit(
    html: Page = None,
    distance: Annotated[
        int | None, Option(min=0, max=64, help="Bits of 256 between near-identical photos (12).")
    ] = None,
    sharpness: Annotated[
        float | None, Option(min=0, help="Edges, as a share of contrast: blurred if below (0.3).")
    ] = None,
    side: Annotated[
        int | None,
        Option(min=1, max=65_535, help="Pixels of the shorter side: small if below (100)."),
    ] = None,
    items: Annotated[
        int | None,
        Option(min=1, max=MAX_COUNT, help="Items of a category: a finding if below (4)."),
    ] = None,
    examples: Annotated[
        int | None, Option(min=1, max=MAX_COUNT, help="Examples of each finding (24).")
    ] = None,
    members: Annotated[
        int | None, Option(min=1, max=MAX_COUNT, help="Of each group, to list (all).")
    ] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Find faulty photos: missing, shared, near-identical, blurred, very small, plain."""
    from pipeline.artifacts import write_atomic
    from pipeline.engine import image_limits
    from pipeline.maintenance.audit import AuditLimits, audit_page
    from pipeline.maintenance.audit import audit as run

    settings = load_config(config, set_)
    if html:
        check_output("--html", html, [".html"], settings)
    names = ("distance", "sharpness", "side", "items", "examples", "members")
    given = zip(names, (distance, sharpness, side, items, examples, members), strict=True)
    limits = AuditLimits(**{name: value for name, value in given if value is not None})  # type: ignore[arg-type]
    result = run(settings, console_progress(), limits)
    if as_json:
        print_json(result.to_dict())
    else:
        print_audit(result)
    if html:
        write_atomic(html, audit_page(result, image_limits(settings)).encode())
        talk(f"wrote {html}")


def print_audit(audit: Audit) -> None:
    """Print how many there are of each finding, and the first of them."""
    out = stdout()
    counts = f"{counted(audit.items, 'item')}, {counted(audit.photos, 'distinct photo')}"
    out.print(cell(f"{audit.catalog}: {counts}"))
    table = Table("finding", "number", "first")
    for finding in audit.findings.values():
        group = next(iter(finding.groups), None)
        first = ""
        if group:
            label = f"{cut(group.label, MAX_LABEL_LENGTH)}: " if group.label else ""
            keys = [cut(example.key, MAX_KEY_LENGTH) for example in group.examples[:3]]
            first = label + ", ".join(keys)
        number = counted(finding.count, finding.unit) if finding.count else "none"
        table.add_row(*map(cell, (finding.title, number, first)))
    print_table(table)


@app.command(epilog="Example: imgsearch duplicates --html duplicates.html")
def duplicates(
    html: Page = None,
    parquet: Annotated[
        Path | None, Option(help="Write a row for each member.", metavar="FILE")
    ] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """List groups of items whose photos are copies: the same file, the same pixels, or edited."""
    from pipeline.artifacts import write_atomic
    from pipeline.engine import image_limits
    from pipeline.maintenance.duplicates import duplicate_groups, duplicates_page, write_parquet

    settings = load_config(config, set_)
    if html:
        check_output("--html", html, [".html"], settings)
    if parquet:
        check_output("--parquet", parquet, [".parquet"], settings)
    found = duplicate_groups(settings, console_progress())
    if as_json:
        print_json(found.to_dict())
    else:
        print_groups(found)
    if html:
        write_atomic(html, duplicates_page(found, image_limits(settings)).encode())
        talk(f"wrote {html}")
    if parquet:
        talk(f"wrote {parquet}: {counted(write_parquet(parquet, found), 'row')}")


def print_groups(found: DuplicateGroups) -> None:
    """Print a row for every member of every group."""
    table = Table("group", "shares", "id", "name", "category", "path")
    for number, group in enumerate(found.groups, 1):
        for member in group.members:
            values = (f"{number}", member.shared, f"{member.id}", member.name or member.key)
            table.add_row(*map(cell, (*values, member.category, member.photo)))
        table.add_section()
    if found.groups:
        print_table(table)
    talk(f"{counted(len(found.groups), 'group')} of near-duplicates")
