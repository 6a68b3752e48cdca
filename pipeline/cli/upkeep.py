"""Commands that look after a catalogue: what there is, what is wrong, what can go."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import (
    DEFAULT,
    ConfigOption,
    JsonOption,
    SetOption,
    app,
    check_page,
    load_config,
)


@app.command(epilog="Example: imgsearch info --json")
def info(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Show the catalogue's counts by state, and each engine's model, vectors and builds."""
    from pipeline import console
    from pipeline.info import describe

    facts = describe(load_config(config, set_))
    if as_json:
        console.print_json(facts)
    else:
        console.print_info(facts)


@app.command(epilog="Example: imgsearch audit --html audit.html --side 200")
def audit(
    html: Annotated[
        Path | None, typer.Option(help="Write a page with thumbnails.", metavar="FILE")
    ] = None,
    distance: Annotated[
        int | None,
        typer.Option(min=0, max=64, help="Bits of 256 between near-identical photos (12)."),
    ] = None,
    sharpness: Annotated[
        float | None,
        typer.Option(min=0, help="Edges, as a share of contrast: blurred if below (0.3)."),
    ] = None,
    side: Annotated[
        int | None, typer.Option(min=1, help="Pixels of the shorter side: small if below (100).")
    ] = None,
    items: Annotated[
        int | None, typer.Option(min=1, help="Items of a category: a finding if below (4).")
    ] = None,
    examples: Annotated[
        int | None, typer.Option(min=1, help="Examples of each finding (24).")
    ] = None,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong with the photos: missing, shared, alike, blurred, small, plain."""
    from pipeline import console
    from pipeline.audit import AuditLimits
    from pipeline.audit import audit as look
    from pipeline.images import ImageLimits
    from pipeline.pages import audit_page
    from pipeline.store.artifacts import write_atomic

    if html:
        check_page("--html", html)
    chosen = {
        "distance": distance,
        "sharpness": sharpness,
        "side": side,
        "items": items,
        "examples": examples,
    }
    limits = AuditLimits(**{k: v for k, v in chosen.items() if v is not None})  # type: ignore[arg-type]
    settings = load_config(config, set_)
    found = look(settings, console.progress(), limits)
    if as_json:
        console.print_json(found.facts())
    else:
        console.print_audit(found)
    if html:
        page = audit_page(found, ImageLimits(**settings.images.model_dump()))
        write_atomic(html, page.encode())
        console.talk(f"wrote {html}")


@app.command(epilog="Example: imgsearch verify --config config/flipkart.yaml")
def verify(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Check every checksum, and that catalogue, vectors and indexes agree."""
    from pipeline import console
    from pipeline.verify import verify as check

    verdict = check(load_config(config, set_), console.progress())
    if as_json:
        console.print_json(asdict(verdict))
    else:
        for problem in verdict.problems:
            console.print_line(problem)
        console.talk(
            f"checked {verdict.photos} photos, {verdict.models} models, {verdict.shards} shards"
            f" and {verdict.builds} builds: {len(verdict.problems) or 'no'} problems"
        )
    if verdict.problems:
        raise typer.Exit(1)


@app.command(epilog="Example: imgsearch clean --all --yes")
def clean(
    everything: Annotated[
        bool, typer.Option("--all", help="Remove the whole catalogue, not only what is unused.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove superseded models, vectors, builds and downloads; never the photos you gave."""
    from pipeline import console
    from pipeline.clean import clean as remove

    settings = load_config(config, set_)
    if everything and not yes:
        typer.confirm(f"Remove {settings.folder} and all in it?", abort=True, err=True)
    removed = remove(settings, everything=everything)
    if as_json:
        console.print_json([asdict(one) for one in removed])
    else:
        for one in removed:
            console.print_line(f"removed {one.path} ({console.size(one.bytes)})")
        if not removed:
            console.talk("nothing to remove")
