"""`imgsearch duplicates`: the near-duplicates of a catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from typer import Option

from pipeline.cli.app import app, load_config
from pipeline.cli.options import AsJson, ConfigFile, Overrides
from pipeline.cli.output import print_json, print_table, talk
from pipeline.cli.output_files import check_output
from pipeline.cli.progress_bars import console_progress
from pipeline.report.text import cell, counted

if TYPE_CHECKING:
    from pipeline.maintenance.duplicates import DuplicateGroups


@app.command(epilog="Example: imgsearch duplicates --html duplicates.html")
def duplicates(
    html: Annotated[
        Path | None, Option(help="Write a page with thumbnails.", metavar="FILE")
    ] = None,
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
