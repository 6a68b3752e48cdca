"""Queries and their neighbors → one picture, like the article's figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from pipeline import images
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.search.fusion import Fused
from pipeline.search.searcher import Hit

_INK, _QUIET, _PAPER, _FRAME = "#1d1d1f", "#6e6e73", "#ffffff", "#d2d2d7"
_PHOTO, _GAP, _TEXT = 180, 20, 62  # pixels: a photo's side, between photos, below a photo


Answers = Mapping[str, Sequence[Hit | Fused]]
"""Engine, or `fused` → its neighbors of one query."""


def query_sheet(
    queries: Sequence[tuple[str, Path | None, Answers, Sequence[str]]],
    limits: ImageLimits,
    warnings: Mapping[str, str],
) -> Image.Image:
    """Draw each query and its neighbors with their distances, a row an engine.

    A query is its name, its photo, its answers, and the engines that have no good match for it.
    An engine that `warnings` names says in its title that its weights are random.
    """
    rows = []
    for name, path, answers, no_match in queries:
        query = SheetCell(_photo(path, limits), [name, "query"], is_query=True)
        for engine, neighbors in answers.items():
            found = [
                SheetCell(
                    _photo(n.path, limits.for_stored()),
                    [n.name, n.category, f"{n.rank}.  {_near(n)}"],
                )
                for n in neighbors
            ]
            title = f"{engine} (RANDOM weights)" if engine in warnings else engine
            title += ": no good match" if engine in no_match else ""
            rows.append((title, [query, *found]))
    return sheet(rows)


def _near(n: Hit | Fused) -> str:
    return f"score {n.score:.4f}" if isinstance(n, Fused) else f"{n.distance:.4g}"


def _photo(path: Path | None, limits: ImageLimits) -> Image.Image | None:
    if path is None:
        return None
    try:
        return images.decode(images.read_bytes(path, limits), limits)
    except (OSError, RejectedImage):
        return None


@dataclass(frozen=True)
class SheetCell:
    """One photo of a sheet with up to three lines of text below it."""

    photo: Image.Image | None
    lines: Sequence[str]
    is_query: bool = False


def sheet(rows: Sequence[tuple[str, Sequence[SheetCell]]]) -> Image.Image:
    """Draw titled rows of photos, like the article's figure."""
    columns = max(len(tiles) for _, tiles in rows)
    title, row_height = 34, _PHOTO + _TEXT
    width = _GAP + columns * (_PHOTO + _GAP)
    height = _GAP + len(rows) * (title + row_height + _GAP)
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    for number, (name, tiles) in enumerate(rows):
        top = _GAP + number * (title + row_height + _GAP)
        draw.text((_GAP, top), _fit(name, width - 2 * _GAP, 20), _INK, _font(20))
        for column, tile in enumerate(tiles):
            _draw_tile(picture, draw, tile, _GAP + column * (_PHOTO + _GAP), top + title)
    return picture


def _draw_tile(
    picture: Image.Image, draw: ImageDraw.ImageDraw, tile: SheetCell, left: int, top: int
) -> None:
    box = (left, top, left + _PHOTO - 1, top + _PHOTO - 1)
    if tile.photo is None:
        draw.text((left + 12, top + _PHOTO // 2 - 8), "photo not found", _QUIET, _font(14))
    else:
        photo = ImageOps.contain(tile.photo, (_PHOTO, _PHOTO), Image.Resampling.LANCZOS)
        place = (left + (_PHOTO - photo.width) // 2, top + (_PHOTO - photo.height) // 2)
        picture.paste(photo, place)
    draw.rectangle(box, outline=_INK if tile.is_query else _FRAME, width=3 if tile.is_query else 1)
    for number, line in enumerate(tile.lines[:3]):
        ink = _INK if number == 0 else _QUIET
        place = (left, top + _PHOTO + 5 + 18 * number)
        draw.text(place, _fit(line, _PHOTO, 14), ink, _font(14))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fit(text: str, width: int, size: int) -> str:
    """Shorten a line of text to a width in pixels."""
    text = " ".join(text.split())
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
