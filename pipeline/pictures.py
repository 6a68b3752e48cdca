"""Numbers and photos → PNG pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from pipeline.homes import keep_out_of_home

_INK, _QUIET, _PAPER, _FRAME = "#1d1d1f", "#6e6e73", "#ffffff", "#d2d2d7"
_PHOTO, _GAP, _TEXT = 180, 20, 62  # pixels: a photo's side, between photos, below a photo


@dataclass(frozen=True)
class Tile:
    """One photo of a sheet with up to three lines of text below it."""

    photo: Image.Image | None
    lines: Sequence[str]
    is_query: bool = False


def sheet(rows: Sequence[tuple[str, Sequence[Tile]]]) -> Image.Image:
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
    picture: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int
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


def pairs(originals: npt.NDArray[np.uint8], rebuilt: npt.NDArray[np.uint8], file: Path) -> None:
    """Write originals above their reconstructions; both (n, h, w, 3) uint8."""
    gap = 4
    count, height, width, _ = originals.shape
    size = (count * (width + gap) + gap, 2 * (height + gap) + gap)
    picture = Image.new("RGB", size, _PAPER)
    for column in range(count):
        left = gap + column * (width + gap)
        picture.paste(Image.fromarray(originals[column]), (left, gap))
        picture.paste(Image.fromarray(rebuilt[column]), (left, 2 * gap + height))
    scale = max(1, 128 // height)
    picture.resize((size[0] * scale, size[1] * scale), Image.Resampling.NEAREST).save(file)


def loss_curve(training: Sequence[float], validation: Sequence[float], file: Path) -> None:
    """Plot mean squared errors by epoch, with the best validation loss marked."""
    keep_out_of_home()
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    epochs = range(1, len(validation) + 1)
    marker = "o" if len(validation) == 1 else None
    axes.plot(epochs, training, label="training", color="#8e8e93", marker=marker)
    axes.plot(epochs, validation, label="validation", color="#0071e3", marker=marker)
    best = int(np.argmin(validation))
    axes.plot(best + 1, validation[best], "o", color="#0071e3")
    axes.annotate(
        f"best: {validation[best]:.5f}",
        (best + 1, validation[best]),
        xytext=(0, 12),
        textcoords="offset points",
        ha="right" if best else "left",
    )
    axes.set(xlabel="epoch", ylabel="mean squared error", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    figure.savefig(file, format="png", metadata={"Software": None})
