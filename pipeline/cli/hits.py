"""Print what a query found: a table, a list for narrow terminals, or the paths alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.cli.output import print_json, print_line, stdout
from pipeline.report.text import cell, plain

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.search.result import EngineResult, FusedHit, Hit, SearchResult, TextHit

    AnyHit = Hit | FusedHit | TextHit

MIN_TABLE_WIDTH = 120  # columns; in fewer a row of the table takes many lines
_HEADINGS = ("engine", "rank", "distance", "farther than", "id", "name", "category", "path")
_NUMBERS = ("rank", "distance", "farther than", "id")


def print_result(name: str, result: SearchResult, as_json: bool) -> None:
    """Print one query's hits, engine by engine, and what to know of them.

    A table where there are 120 columns for it; in fewer a list, with each path on a line of its
    own, which a terminal does not break with spaces when it is copied.
    """
    if as_json:
        print_json({**result.to_dict(), "query": name})
        return
    console = stdout()
    print_hits = _print_table if console.width >= MIN_TABLE_WIDTH else _print_list
    part = f", region {result.region}" if result.region else ""
    print_hits(console, plain(f"Nearest to {name}{part}"), result)
    for remark in _remarks(result):
        console.print(cell(remark), style="table.caption", soft_wrap=True)


def print_paths(result: SearchResult) -> None:
    """Print the paths of the photos that were found, each once, engine by engine."""
    paths = (str(hit.photo) for _, hits in _lists(result) for hit in hits if hit.photo)
    for path in dict.fromkeys(paths):
        print_line(path)


def _print_table(console: Console, title: str, result: SearchResult) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, "table.title"), title_justify="left")
    for heading in _HEADINGS:
        justify = "right" if heading in _NUMBERS else "left"
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for engine, hits in _lists(result):
        for hit in hits:
            name = " ".join(filter(None, (hit.item.name, _more(hit))))
            item = (f"{hit.item.id}", name, hit.item.category, f"{hit.photo or ''}")
            table.add_row(*map(cell, (engine, f"{hit.rank}", _distance(hit), _farther(hit), *item)))
        table.add_section()
    console.print(table)


def _print_list(console: Console, title: str, result: SearchResult) -> None:
    console.print(cell(title), style="table.title", soft_wrap=True)
    for engine, hits in _lists(result):
        console.print(cell(engine), style="bold")
        for hit in hits:
            item = (hit.item.name, hit.item.category, _more(hit))
            near = (_distance(hit), _farther(hit, "farther than "), f"id {hit.item.id}")
            for start, parts in ((f"{hit.rank:>2}  ", near), ("    ", item)):
                line = cell(start + " · ".join(filter(None, parts)))
                console.print(line, no_wrap=True, overflow="ellipsis")
            if hit.photo:
                console.print(cell(f"    {hit.photo}"), soft_wrap=True)


def _lists(result: SearchResult) -> Iterator[tuple[str, Sequence[AnyHit]]]:
    from pipeline.search.fusion import FUSED
    from pipeline.search.word_hits import TEXT

    if result.text is not None:
        yield TEXT, result.text
    for name, engine in result.items():
        yield name, engine.hits
    if result.fused is not None:
        yield FUSED, result.fused


def _distance(hit: AnyHit) -> str:
    """How near an item is; an item of the fused list, or that words found, has a score instead."""
    from pipeline.search.result import Hit

    return f"{hit.distance:.4g}" if isinstance(hit, Hit) else f"score {hit.score:.4f}"


def _more(hit: AnyHit) -> str:
    """How many near-duplicates are hidden behind a hit, and which; nothing where none are."""
    ids = ", ".join(map(str, hit.similar))
    return f"and {len(hit.similar)} more like this (id {ids})" if ids else ""


def _farther(hit: AnyHit, label: str = "") -> str:
    """The percentage of the catalog's own photos that have a nearer neighbor, where it is known."""
    percentile: float | None = getattr(hit, "percentile", None)
    return "" if percentile is None else f"{label}{percentile:.1f} %"


def _remarks(result: SearchResult) -> list[str]:
    no_match = [
        f"{engine.engine}: no good match: {_why_no_match(engine)}"
        for engine in result.values()
        if engine.no_match
    ]
    recalls = [f"{one.engine}: approximate, {one.recall}" for one in result.values() if one.recall]
    refined = [
        f"{one.engine}: in the order of {one.refined}, not of distances"
        for one in result.values()
        if one.refined
    ]
    publication = f"publication {result.publication}"
    return [*no_match, *recalls, *refined, *result.warnings.values(), *result.notes, publication]


def _why_no_match(result: EngineResult) -> str:
    """Say what is unusual about a query: what it shows, or how far its nearest neighbor is."""
    percentile = result.hits[0].percentile or 0
    if (result.ood_percentile or 0) > percentile:
        return f"{result.ood_percentile:.4g} % of the catalog's own photos are reconstructed better"
    return (
        f"{percentile:.4g} % of the catalog's own photos have a nearer neighbor than this one's"
        " nearest"
    )
