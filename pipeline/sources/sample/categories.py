"""The kinds of product that can be drawn: a word → a drawing function and what suits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.sources.sample.accessories import (
    draw_bag,
    draw_headphones,
    draw_sunglasses,
    draw_watch,
)
from pipeline.sources.sample.clothing import draw_dress, draw_shirt, draw_shoe
from pipeline.sources.sample.household import (
    draw_book,
    draw_bottle,
    draw_chair,
    draw_lamp,
    draw_mug,
)
from pipeline.sources.sample.pen import Pen


@dataclass(frozen=True)
class Category:
    """One kind of product: its words, the patterns that suit it, and how it is photographed."""

    name: str
    singular: str
    draw: Callable[[Pen], None]
    patterns: tuple[str, ...]
    stands: bool
    """It stands on a floor and is seen from the side; otherwise it lies and is seen from above."""
    mirrors: bool = True
    """Its mirror image is as good a product; writing and crowns of watches are not."""


PRINTS = ("stripes", "checks", "dots", "zigzag", "gradient")
_PLAIN = ("plain",) * 4
CATEGORIES = (
    Category("shirts", "shirt", draw_shirt, (*_PLAIN[1:], *PRINTS), stands=False),
    Category("shoes", "shoe", draw_shoe, (*_PLAIN, "gradient", "checks", "dots"), stands=True),
    Category("mugs", "mug", draw_mug, (*_PLAIN[1:], *PRINTS), stands=True),
    Category("watches", "watch", draw_watch, (*_PLAIN, "stripes"), stands=False, mirrors=False),
    Category("bags", "bag", draw_bag, (*_PLAIN, *PRINTS), stands=True),
    Category("lamps", "lamp", draw_lamp, (*_PLAIN, *PRINTS), stands=True),
    Category("dresses", "dress", draw_dress, (*_PLAIN[1:], *PRINTS), stands=False),
    Category("books", "book", draw_book, (*_PLAIN, *PRINTS), stands=True, mirrors=False),
    Category("chairs", "chair", draw_chair, (*_PLAIN, *PRINTS), stands=True),
    Category("sunglasses", "sunglasses", draw_sunglasses, (*_PLAIN, "gradient"), stands=False),
    Category("bottles", "bottle", draw_bottle, (*_PLAIN, *PRINTS), stands=True),
    Category("headphones", "headphones", draw_headphones, (*_PLAIN, "gradient"), stands=False),
)
