"""The built-in sample catalog: a seed → drawn product photos, no network and no files."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from pipeline.config import SampleSettings
from pipeline.errors import ConfigError
from pipeline.sources.base import SourceItem, SourcePhoto
from pipeline.sources.sample import accessories, clothing, household
from pipeline.sources.sample.paint import PRODUCT_COLORS, SHADE, Color, is_dark, mix
from pipeline.sources.sample.pen import Pen
from pipeline.sources.sample.scene import DRAWN, compose, photograph


@dataclass(frozen=True)
class Category:
    """One kind of product: its words, the patterns that suit it, and how it is photographed."""

    name: str
    singular: str
    draw: Callable[[Pen], None]
    patterns: tuple[str, ...]
    stands: bool  # on a floor, seen from the side; otherwise it lies and is seen from above
    mirrors: bool = True  # its photo may be mirrored: not with writing or the crown of a watch


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
ADJECTIVES = {"plain": "", "stripes": "striped ", "checks": "checked ", "dots": "dotted ",
              "zigzag": "zigzag ", "gradient": "ombre "}  # fmt: skip


@dataclass(frozen=True)
class SampleSource:
    """A catalog of `photos` drawn products, then `near_duplicates` second photos of some.

    Item n depends only on (seed, size, n): a larger catalog begins with the products of a smaller
    one, and machines with the same Pillow and NumPy draw the same bytes. Photos are JPEG, RGB,
    size by size pixels.

        first = next(SampleSource(photos=60).items())
    """

    photos: int = 240
    near_duplicates: int = 8
    size: int = 250
    seed: int = 7

    def __post_init__(self) -> None:
        for name, minimum in (("photos", 1), ("near_duplicates", 0), ("size", 16)):
            value = getattr(self, name)
            if value < minimum:
                hint = f"use {minimum} or more"
                raise ConfigError(f"{name} is {value}", where="sample catalog", hint=hint)

    @classmethod
    def of(cls, settings: SampleSettings) -> SampleSource:
        """Open the sample that a configuration describes."""
        return cls(**settings.model_dump(exclude={"type"}))

    @property
    def version(self) -> str:
        """Identifies the photos: the parameters, this code, and the libraries that draw."""
        code = hashlib.sha256()
        for module in sorted(Path(__file__).parent.glob("*.py")):
            code.update(module.read_bytes())
        drawn = f"{self.photos}-{self.near_duplicates}-{self.size}-{self.seed}"
        libraries = f"pillow{PIL.__version__}-numpy{np.__version__}"
        return f"sample-{drawn}-{libraries}-{code.hexdigest()[:16]}"

    @property
    def total(self) -> int:
        """All products and second photos."""
        return self.photos + self.near_duplicates

    def items(self) -> Iterator[SourceItem]:
        """The products in category order 0, 1, …, 0, 1, …, then the second photos."""
        for number in range(self.photos):
            yield self._item(number, 1)
        order = self._rng("second photos").sample(range(self.photos), self.photos)
        for n in range(self.near_duplicates):
            yield self._item(order[n % self.photos], n // self.photos + 2)

    def _rng(self, *names: object) -> random.Random:
        """Return a generator for one purpose, so that no random choice depends on another."""
        return random.Random(":".join(map(str, (self.seed, *names))))  # noqa: S311

    def _choose(self, what: str, category: Category, serial: int, choices: tuple[str, ...]) -> str:
        """Choose for product `serial` of a category, in rounds: each shows every choice once."""
        rounds, index = divmod(serial, len(choices))
        return self._rng(what, category.name, rounds).sample(choices, len(choices))[index]

    def _item(self, number: int, take: int) -> SourceItem:
        """Return product `number` with its photo number `take`, from 1."""
        serial, index = divmod(number, len(CATEGORIES))
        category = CATEGORIES[index]
        color = self._choose("colors", category, serial, tuple(PRODUCT_COLORS))
        pattern = self._choose("patterns", category, serial, category.patterns)
        folder, file, original = category.name, f"{serial:04d}", None
        name = f"{color} {ADJECTIVES[pattern]}{category.singular}".capitalize()
        if take > 1:
            file, original = f"{file}-{take}", f"{folder}-{file}"
            name += " (second photo)" if take == 2 else f" (photo {take})"
        data = self._draw(number, take, category, PRODUCT_COLORS[color], pattern)
        photo = SourcePhoto(f"{folder}/{file}.jpg", data=data)
        metadata = {"color": color, "pattern": pattern, "near_duplicate_of": original}
        return SourceItem(f"{folder}-{file}", name, folder, (photo,), metadata)

    def _draw(
        self, number: int, take: int, category: Category, color: Color, pattern: str
    ) -> bytes:
        """Draw a product's photo as JPEG; later takes show the same scene by another camera."""
        rng = self._rng("scene", number)
        pen = Pen(self.size * DRAWN, rng, color, _accent(rng, color), pattern)
        category.draw(pen)
        scene = compose(pen, self.size, rng, stands=category.stands, mirrors=category.mirrors)
        return photograph(scene, self.size, self._rng("camera", number, take), again=take > 1)


def _accent(rng: random.Random, color: Color) -> Color:
    """Choose the second color of a pattern, which differs clearly from the first."""
    if is_dark(color):
        return rng.choice(((245, 242, 234), (245, 242, 234), mix(color, (255, 250, 240), 0.62)))
    return rng.choice(
        ((250, 248, 244), PRODUCT_COLORS["navy"], mix(color, SHADE, 0.45), PRODUCT_COLORS["red"])
    )
