"""Commands about what is published: which state of the catalog answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from typer import Argument, Option

from pipeline.cli.app import app, load_config
from pipeline.cli.build import run_stages
from pipeline.cli.options import AcceptRemovals, AsJson, ConfigFile, Overrides
from pipeline.cli.output import print_json, print_table, talk
from pipeline.report.text import cell

if TYPE_CHECKING:
    from pipeline.maintenance.publications import PublicationInfo
    from pipeline.stages import Stage


@app.command(epilog="Example: imgsearch publish --force")
def publish(
    force: Annotated[
        bool, Option("--force", help="Let the one answer that the gate has kept aside.")
    ] = False,
    accept_removals: AcceptRemovals = False,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Let the catalog and the indexes answer as they are now; or what was held or kept aside."""
    from pipeline.publish.switching import force as use_refused

    settings = load_config(config, set_)
    if force:
        _say_answering(use_refused(settings).number, as_json)
    else:
        stages: tuple[Stage, ...] | None = None if accept_removals else ("index",)
        run_stages(settings, stages, as_json, accept_removals=accept_removals)


@app.command(epilog="Example: imgsearch publications --json")
def publications(
    config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False
) -> None:
    """List what was published, what changed in each, and which one answers."""
    from pipeline.maintenance.publications import publications as listed

    found = listed(load_config(config, set_))
    if as_json:
        print_json([one.to_dict() for one in found])
        return
    table = Table("publication", "published", "parent", "changes", "photos", "tags", "state")
    for one in found:
        table.add_row(*map(cell, _cells(one)))
    print_table(table)


@app.command(epilog="Examples: imgsearch rollback | imgsearch rollback 7 | imgsearch rollback sale")
def rollback(
    publication: Annotated[
        str | None,
        Argument(
            help="A number or a tag; else the parent of the one that answers.",
            show_default=False,
            metavar="N|TAG",
        ),
    ] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Let an earlier publication answer, or a later one again."""
    from pipeline.publish.switching import roll_back

    _say_answering(roll_back(load_config(config, set_), publication).number, as_json)


@app.command(epilog="Examples: imgsearch tag christmas | imgsearch tag christmas --remove")
def tag(
    name: Annotated[str, Argument(help="The name.", show_default=False)],
    publication: Annotated[
        str | None,
        Argument(
            help="A number or a tag; else the one that answers.",
            show_default=False,
            metavar="N|TAG",
        ),
    ] = None,
    remove: Annotated[bool, Option("--remove", help="Take the name away.")] = False,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Give a publication a name, which keeps it until the name is taken away."""
    from pipeline.publish.switching import changing

    with changing(load_config(config, set_)) as (store, pointer):
        if remove:
            store.remove_tag(name)
            talk(f"nothing is called {name} any more")
            return
        number = store.number_of(pointer.publication if publication is None else publication)
        store.tag(number, name)
    talk(f"publication {number} is called {name}")


def changes_text(changes: Mapping[str, int] | None) -> str:
    """Say what became of items: `3 added, 1 changed`; "" if nothing did, or all are new."""
    return ", ".join(f"{count:,} {what}" for what, count in (changes or {}).items() if count)


def _say_answering(number: int, as_json: bool) -> None:
    if as_json:
        print_json({"answering": number})
    else:
        talk(f"publication {number} answers")


def _cells(one: PublicationInfo) -> tuple[str, ...]:
    changed = [text] if (text := changes_text(one.changes)) else []
    changed += [f"new model of {name}" for name in one.new_models]
    state = "answers" if one.answers else ""
    if one.refused:
        state = f"{state or 'kept aside'}: {'; '.join(one.refused)}"
    return (
        f"{one.number}",
        one.time,
        f"{one.parent or ''}",
        ", ".join(changed),
        ", ".join(f"{name} {photos:,}" for name, photos in one.photos.items()),
        ", ".join(one.tags),
        state,
    )
