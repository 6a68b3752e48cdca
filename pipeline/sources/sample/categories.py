"""The kinds of product that can be drawn: a word → a drawing function and what suits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.sources.sample import accessories, clothing, household
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
    """Its photo may be mirrored; writing, and the crown of a watch, would be wrong then."""


PRINTS = ("stripes", "checks", "dots", "zigzag", "gradient")
_PLAIN = ("plain",) * 4
_STRIPES, _GRADIENT = (*_PLAIN, "stripes"), (*_PLAIN, "gradient")
CATEGORIES = (
    Category("shirts", "shirt", clothing.shirt, (*_PLAIN[1:], *PRINTS), stands=False),
    Category("shoes", "shoe", clothing.shoe, (*_PLAIN, "gradient", "checks", "dots"), stands=True),
    Category("mugs", "mug", household.mug, (*_PLAIN[1:], *PRINTS), stands=True),
    Category("watches", "watch", accessories.watch, _STRIPES, stands=False, mirrors=False),
    Category("bags", "bag", accessories.bag, (*_PLAIN, *PRINTS), stands=True),
    Category("lamps", "lamp", household.lamp, (*_PLAIN, *PRINTS), stands=True),
    Category("dresses", "dress", clothing.dress, (*_PLAIN[1:], *PRINTS), stands=False),
    Category("books", "book", household.book, (*_PLAIN, *PRINTS), stands=True, mirrors=False),
    Category("chairs", "chair", household.chair, (*_PLAIN, *PRINTS), stands=True),
    Category("sunglasses", "sunglasses", accessories.sunglasses, _GRADIENT, stands=False),
    Category("bottles", "bottle", household.bottle, (*_PLAIN, *PRINTS), stands=True),
    Category("headphones", "headphones", accessories.headphones, _GRADIENT, stands=False),
)
