"""Neighbours of a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from pipeline.console.output import cell, plain, print_json, stdout, talk

if TYPE_CHECKING:
    from pipeline.fusion import Fused
    from pipeline.search import Neighbour


def print_failure(query: str, error: Exception, as_json: bool) -> None:
    """Say, in one line, why one query of several has no answer."""
    talk(f"imgsearch: {error}")
    if as_json:
        print_json({"query": query, "error": str(error)})


def print_answers(
    query: str,
    answers: Mapping[str, Sequence[Neighbour | Fused]],
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
    title = Text(plain(f"Nearest to {query}"), "table.title")
    table = Table(title=title, title_justify="left")
    remarks = [f"{engine}: no good match: {_far(answers[engine][0])}" for engine in no_match]
    if remarks := [*remarks, *warnings.values()]:
        table.caption = Text("\n".join(map(plain, remarks)), "table.caption")
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
            numbers = (f"{n.rank}", *_near(n), f"{n.id}")
            table.add_row(*map(cell, (engine, *numbers, n.name, n.category, f"{n.path}")))
        table.add_section()
    stdout().print(table)


def _near(n: Neighbour | Fused) -> tuple[str, str]:
    """How near an item is, and the percentile of that; an item of the fused list has a score."""
    from pipeline.fusion import Fused

    if isinstance(n, Fused):
        return f"score {n.score:.4f}", ""
    return f"{n.distance:.4g}", "" if n.percentile is None else f"{n.percentile:.1f}"


def _far(nearest: Any) -> str:
    """Say what is unusual about a query: how far its nearest neighbour is, or what it shows."""
    if (nearest.strangeness or 0) > (nearest.percentile or 0):
        return f"{nearest.strangeness:.4g} % of the catalogue's own photos are rebuilt better"
    return (
        f"{nearest.percentile:.4g} % of the catalogue's own photos have a nearer neighbour than"
        " this one's nearest"
    )
