"""Queries and their hits → one contact sheet, like the article's figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageOps

from pipeline.images import ImageLimits, take_region
from pipeline.report.fonts import Run, runs
from pipeline.report.render import photo_or_none
from pipeline.search.fusion import FUSED
from pipeline.search.result import EngineResult, FusedHit, Hit, SearchResult, TextHit
from pipeline.search.word_hits import TEXT

_INK, _GRAY, _PAPER, _FRAME = "#1d1d1f", "#6e6e73", "#ffffff", "#d2d2d7"
_ELLIPSIS = 16  # pixels that are left for it
_PHOTO, _GAP, _TEXT = 180, 20, 62  # pixels: a photo's side, between photos, below a photo


class Cell(NamedTuple):
    """One photo of a contact sheet with up to three lines of text below it."""

    photo: Image.Image | None
    lines: Sequence[str]
    is_query: bool = False
    placeholder: str = "photo not found"


class QueryRow(NamedTuple):
    """A query to draw: its name, its photo, and what was found."""

    name: str
    photo: Path | None
    result: SearchResult


def query_sheet(queries: Sequence[QueryRow], limits: ImageLimits) -> Image.Image:
    """Draw each query and its hits with their distances, a row for each engine.

    An engine's title says if its weights are random, how its order was refined, and if it found no
    good match.
    """
    rows: list[tuple[str, list[Cell]]] = []
    for name, photo, result in queries:
        shown = photo_or_none(photo, limits)
        if shown and result.region:
            shown, _ = take_region(shown, result.region, limits)
        first = Cell(shown, [name, "query"], is_query=True)
        if result.text is not None:
            first = first._replace(placeholder="words")
        lists: list[tuple[str, Sequence[Hit | FusedHit | TextHit]]]
        lists = [] if result.text is None else [(TEXT, result.text)]
        lists += [(_title(engine), engine.hits) for engine in result.values()]
        lists += [] if result.fused is None else [(FUSED, result.fused)]
        for title, hits in lists:
            rows.append((title, [first, *(_cell(hit, limits.for_stored()) for hit in hits)]))
    return contact_sheet(rows)


def contact_sheet(rows: Sequence[tuple[str, Sequence[Cell]]]) -> Image.Image:
    """Draw titled rows of photos."""
    columns = max(len(cells) for _, cells in rows)
    title, row_height = 34, _PHOTO + _TEXT
    width = _GAP + columns * (_PHOTO + _GAP)
    height = _GAP + len(rows) * (title + row_height + _GAP)
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    for number, (name, cells) in enumerate(rows):
        top = _GAP + number * (title + row_height + _GAP)
        _draw_line(draw, (_GAP, top), name, width - 2 * _GAP, 20, _INK)
        for column, cell in enumerate(cells):
            _draw_cell(picture, draw, cell, _GAP + column * (_PHOTO + _GAP), top + title)
    return picture


def _title(engine: EngineResult) -> str:
    random = " (RANDOM weights)" if engine.warning else ""
    refined = f" ({engine.refined})" if engine.refined else ""
    return f"{engine.engine}{random}{refined}{': no good match' if engine.no_match else ''}"


def _cell(hit: Hit | FusedHit | TextHit, limits: ImageLimits) -> Cell:
    how_near = f"{hit.distance:.4g}" if isinstance(hit, Hit) else f"score {hit.score:.4f}"
    name = hit.item.name if runs(hit.item.name, 14) else hit.item.key
    more = f", and {len(hit.similar)} more" if hit.similar else ""
    lines = [name, hit.item.category, f"{hit.rank}.  {how_near}{more}"]
    return Cell(photo_or_none(hit.photo, limits), lines)


def _draw_cell(
    picture: Image.Image, draw: ImageDraw.ImageDraw, cell: Cell, left: int, top: int
) -> None:
    box = (left, top, left + _PHOTO - 1, top + _PHOTO - 1)
    if cell.photo is None:
        _draw_line(draw, (left + 12, top + _PHOTO // 2 - 8), cell.placeholder, _PHOTO, 14, _GRAY)
    else:
        photo = ImageOps.contain(cell.photo, (_PHOTO, _PHOTO), Image.Resampling.LANCZOS)
        place = (left + (_PHOTO - photo.width) // 2, top + (_PHOTO - photo.height) // 2)
        picture.paste(photo, place)
    draw.rectangle(box, outline=_INK if cell.is_query else _FRAME, width=3 if cell.is_query else 1)
    for number, line in enumerate(cell.lines[:3]):
        place = (left, top + _PHOTO + 5 + 18 * number)
        _draw_line(draw, place, line, _PHOTO, 14, _INK if number == 0 else _GRAY)


def _draw_line(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int, size: int, ink: str
) -> None:
    """Draw a line of text, cut to a width in pixels; nothing if no font has its letters."""
    left, baseline = place[0], place[1] + size
    for text_, font in _fit(runs(text, size) or [], width):
        draw.text((left, baseline), text_, ink, font, anchor="ls")
        left += round(font.getlength(text_))


def _fit(line: list[Run], width: int) -> list[Run]:
    """Shorten a line of text to a width in pixels."""
    if sum(run.font.getlength(run.text) for run in line) <= width:
        return line
    while line and sum(run.font.getlength(run.text) for run in line) > width - _ELLIPSIS:
        *rest, last = line
        line = [*rest, Run(last.text[:-1], last.font)] if len(last.text) > 1 else rest
    return [*line, *(runs("…", 14) or [])]
