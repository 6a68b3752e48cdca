"""Results → pictures and pages for people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from pipeline import images
from pipeline.errors import RejectedImage
from pipeline.fusion import Fused
from pipeline.images import ImageLimits
from pipeline.pictures import Tile, sheet
from pipeline.search import Neighbour

if TYPE_CHECKING:
    from pipeline.download import DownloadReport

Answers = Mapping[str, Sequence[Neighbour | Fused]]
"""Engine, or `fused` → its neighbours of one query."""


def query_sheet(
    queries: Sequence[tuple[str, Path | None, Answers, Sequence[str]]],
    limits: ImageLimits,
    warnings: Mapping[str, str],
) -> Image.Image:
    """Draw each query and its neighbours with their distances, a row an engine.

    A query is its name, its photo, its answers, and the engines that have no good match for it.
    An engine that `warnings` names says in its title that its weights are random.
    """
    rows = []
    for name, path, answers, no_match in queries:
        query = Tile(_photo(path, limits), [name, "query"], is_query=True)
        for engine, neighbours in answers.items():
            found = [
                Tile(
                    _photo(n.path, limits.for_stored()),
                    [n.name, n.category, f"{n.rank}.  {_near(n)}"],
                )
                for n in neighbours
            ]
            title = f"{engine} (RANDOM weights)" if engine in warnings else engine
            title += ": no good match" if engine in no_match else ""
            rows.append((title, [query, *found]))
    return sheet(rows)


def _near(n: Neighbour | Fused) -> str:
    return f"score {n.score:.4f}" if isinstance(n, Fused) else f"{n.distance:.4g}"


def _photo(path: Path | None, limits: ImageLimits) -> Image.Image | None:
    if path is None:
        return None
    try:
        return images.decode(images.read_bytes(path, limits), limits)
    except (OSError, RejectedImage):
        return None


def download_page(report: DownloadReport) -> str:
    """Write what became of the photos at URLs as a page of Markdown."""
    total = sum(sum(reasons.values()) for reasons in report.counts.values())
    lines = [
        "# Downloads",
        "",
        f"{total:,} images at URLs; the last run tried {report.tried:,} URLs and received"
        f" {report.bytes / 1e6:,.1f} MB.",
        *_table("state | reason | images", report.counts),
        *_table("host | reason | images", report.trouble),
    ]
    return "\n".join(lines) + "\n"


def _table(heading: str, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A Markdown table of three columns, the last one numbers; nothing if it would be empty."""
    rows = [
        f"| {_cell(name)} | {_cell(reason)} | {number:,} |"
        for name, reasons in counts.items()
        for reason, number in reasons.items()
    ]
    return ["", f"| {heading} |", "|---|---|---:|", *rows] if rows else []


def _cell(text: str) -> str:
    """Text that cannot leave its cell, nor be taken for markup: hosts come from anywhere."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~!])", r"\\\1", " ".join(text.split()))
