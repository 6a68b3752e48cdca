"""The command that says what a catalog will take before it is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from typer import Option

from pipeline.cli.app import app, load_config
from pipeline.cli.options import AsJson, ConfigFile, Overrides
from pipeline.cli.output import print_json, print_line, print_table
from pipeline.cli.progress_bars import console_progress
from pipeline.report.text import cell, counted, size

if TYPE_CHECKING:
    from pipeline.maintenance.plan.plan import Plan


@app.command(epilog="Example: imgsearch plan --items 10m --qps 50 --p95 100ms --measure")
def plan(
    items: Annotated[
        str | None,
        Option(help="How many: 300k, 10m; else as many as there are.", metavar="COUNT"),
    ] = None,
    qps: Annotated[str, Option(help="Queries a second, at the most.", metavar="RATE")] = "1",
    p95: Annotated[
        str, Option(help="Time that 95 % of queries may take: 100ms, 0.5s.", metavar="TIME")
    ] = "100ms",
    measure: Annotated[
        bool,
        Option(
            "--measure",
            help="Measure this machine, in about a minute, and keep that in the catalog's folder.",
        ),
    ] = False,
    config: ConfigFile = None,
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Say what a catalog of so many items takes: bytes, hours, machines, and which index."""
    from pipeline.maintenance.plan.amounts import parse_count, parse_rate, parse_seconds
    from pipeline.maintenance.plan.catalog_facts import catalog_facts
    from pipeline.maintenance.plan.choose import Request
    from pipeline.maintenance.plan.measure import measure_speeds
    from pipeline.maintenance.plan.networks import network
    from pipeline.maintenance.plan.plan import count_items, make_plan
    from pipeline.maintenance.plan.speeds import SHIPPED, read_speeds

    settings = load_config(config, set_)
    rate, seconds = parse_rate(qps, "--qps"), parse_seconds(p95, "--p95")
    facts = catalog_facts(settings)
    count = parse_count(items, "--items") if items is not None else count_items(facts)
    if measure:
        speeds = measure_speeds(settings, console_progress())
    else:
        speeds = read_speeds(settings.folder) or SHIPPED
    networks = [network(name, settings) for name in settings.engines]
    made = make_plan(settings, networks, facts, speeds, Request(count, rate, seconds))
    if as_json:
        print_json(made.to_dict())
    else:
        print_plan(made)


def print_plan(made: Plan) -> None:
    """Print what engines take, what each type of index takes, and which one to choose."""
    for line in _head(made):
        print_line(line)
    engines = Table("engine", "dimensions", "training", "embedding", "a photo, by")
    for engine in made.engines:
        cells = (duration(engine.training_seconds), duration(engine.embedding_seconds))
        engines.add_row(*map(cell, (engine.name, f"{engine.dim:,}", *cells, engine.basis)))
    print_table(engines)
    table = Table("index", "disk", "memory", "building", "core time", "p95", "machines")
    for option in made.options:
        table.add_row(
            *map(
                cell,
                (
                    option.name,
                    size(option.disk),
                    size(option.memory) + ("" if option.fits else " (too much)"),
                    duration(option.build_seconds),
                    duration(option.query_seconds),
                    duration(option.p95),
                    f"{option.machines:,}",
                ),
            )
        )
    print_table(table)
    for line in _foot(made):
        print_line(line)


def _head(made: Plan) -> Iterator[str]:
    request, machine = made.request, made.machine
    yield (
        f"{made.catalog}: {counted(request.items, 'item')}, {counted(made.photos, 'photo')};"
        f" {request.qps:g} queries a second, p95 {duration(request.p95)}; machines of"
        f" {counted(machine.cores, 'core')} and {size(machine.memory)}"
    )
    if made.download_seconds:
        yield f"download: {duration(made.download_seconds)}, if all photos are at one host"
    yield f"ledger, photos and signatures: {size(made.other_disk)} on the disk"


def _foot(made: Plan) -> Iterator[str]:
    chosen, exact = made.choice.chosen, made.choice.exact
    yield f"choose {chosen.name}: {made.choice.why}"
    if not chosen.is_exact:
        yield (
            f"exact is {exact.name}: {size(exact.memory)} of memory, {duration(exact.p95)},"
            f" {counted(exact.machines, 'machine')}"
        )
    yield f"of each p95, encoding a photo takes {duration(made.encoding_seconds)}"
    needed = chosen.building_disk + made.other_disk
    free = "" if made.free_disk is None else f", {size(made.free_disk)} are free"
    yield f"disk at the most while it is built: {size(needed)}{free}"
    errors = {name: f"± {100 * share:.0f} %" for name, share in made.errors.items()}
    if made.is_measured:
        yield f"measured here; benchmarks found bytes {errors['bytes']}, times {errors['times']}"
    else:
        yield (
            f"bytes {errors['bytes']}; times are of another machine: --measure measures this one,"
            f" and they are then {errors['times']} in benchmarks"
        )


def duration(seconds: float) -> str:
    """Return a time with a fitting unit: `duration(5400)` is "1.5 h"."""
    units = {"h": 3600.0, "min": 60.0, "s": 1.0}
    if seconds == 0:
        return "none"
    if seconds < 1:
        return f"{1000 * seconds:,.3g} ms"
    unit = next(unit for unit, length in units.items() if seconds >= length)
    return f"{seconds / units[unit]:,.1f} {unit}"
