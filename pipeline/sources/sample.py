"""The built-in sample catalogue: a seed → drawn product photos, no network and no files."""

from __future__ import annotations

import hashlib
import io
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageChops, ImageFilter, ImageOps

from pipeline.errors import ConfigError
from pipeline.sources import drawings
from pipeline.sources.base import Item, Photo
from pipeline.sources.drawings import (
    CATEGORIES,
    SHADE,
    WOODS,
    Category,
    Colour,
    Floats,
    Pen,
    mix,
)

COLOURS: dict[str, Colour] = {
    "red": (200, 40, 48),
    "orange": (240, 118, 38),
    "mustard": (222, 172, 52),
    "olive": (116, 120, 54),
    "teal": (22, 132, 132),
    "sky blue": (116, 182, 228),
    "navy": (34, 48, 98),
    "purple": (118, 70, 152),
    "pink": (238, 142, 170),
    "brown": (122, 80, 52),
    "charcoal": (62, 64, 70),
    "cream": (240, 230, 206),
}
ADJECTIVES = {
    "plain": "",
    "stripes": "striped ",
    "checks": "checked ",
    "dots": "dotted ",
    "zigzag": "zigzag ",
    "gradient": "ombre ",
}
DUSTY: tuple[Colour, ...] = (
    (184, 204, 220),
    (190, 208, 190),
    (240, 210, 200),
    (178, 190, 202),
    (206, 190, 214),
)
PASTELS: tuple[Colour, ...] = (
    (247, 226, 222),
    (222, 234, 245),
    (226, 240, 228),
    (247, 239, 218),
    (234, 228, 244),
    (216, 238, 238),
)
GREYS: tuple[Colour, ...] = ((236, 237, 239), (226, 227, 230), (214, 217, 222))
# The product is drawn, and the scene put together, this many times larger than the photo: the
# two reductions smooth every edge.
DRAWN = 3
COMPOSED = 2


@dataclass(frozen=True)
class Product:
    """What item `number` shows, before anything is drawn."""

    number: int
    category: Category
    serial: int
    colour: str
    pattern: str

    @property
    def key(self) -> str:
        """The item's identifier, such as "shirts-0003"."""
        return f"{self.category.name}-{self.serial:04d}"

    @property
    def title(self) -> str:
        """A name for people, such as "Navy striped shirt"."""
        return f"{self.colour} {ADJECTIVES[self.pattern]}{self.category.singular}".capitalize()


@dataclass(frozen=True)
class SampleSource:
    """A catalogue of `photos` drawn products, then `near_duplicates` second photos of some.

    Item n depends on (seed, size, n) alone: a larger catalogue begins with the smaller one's
    products, and machines with the same Pillow and NumPy draw the same bytes. Photos are JPEG,
    RGB, size by size pixels.
    """

    photos: int = 240
    near_duplicates: int = 8
    size: int = 250
    seed: int = 7

    def __post_init__(self) -> None:
        for name, least in (("photos", 1), ("near_duplicates", 0), ("size", 16)):
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"sample catalogue: {name} is {value}; use {least} or more")

    @property
    def version(self) -> str:
        """Names the photos completely: the parameters, this code, and the libraries that draw."""
        code = hashlib.sha256()
        for module in (__file__, drawings.__file__):
            code.update(Path(module).read_bytes())
        drawn = f"{self.photos}-{self.near_duplicates}-{self.size}-{self.seed}"
        libraries = f"pillow{PIL.__version__}-numpy{np.__version__}"
        return f"sample-{drawn}-{libraries}-{code.hexdigest()[:16]}"

    def items(self) -> Iterator[Item]:
        """The products in category order 0, 1, …, 0, 1, …, then the second photos."""
        for number in range(self.photos):
            yield self._item(number, 1)
        order = self._rng("second photos").sample(range(self.photos), self.photos)
        for n in range(self.near_duplicates):
            yield self._item(order[n % self.photos], n // self.photos + 2)

    def _rng(self, *names: object) -> random.Random:
        """A generator of its own for each purpose, so that no draw depends on another."""
        return random.Random(":".join(map(str, (self.seed, *names))))  # noqa: S311

    def _product(self, number: int) -> Product:
        serial, place = divmod(number, len(CATEGORIES))
        category = CATEGORIES[place]
        colour = self._dealt("colours", category, serial, tuple(COLOURS))
        pattern = self._dealt("patterns", category, serial, category.patterns)
        return Product(number, category, serial, colour, pattern)

    def _dealt(self, what: str, category: Category, serial: int, pack: tuple[str, ...]) -> str:
        """Card `serial` of shuffled packs: a category shows all of one before any comes again."""
        packs, card = divmod(serial, len(pack))
        return self._rng(what, category.name, packs).sample(pack, len(pack))[card]

    def _item(self, number: int, take: int) -> Item:
        """Product `number` in its first, second, … photo."""
        product = self._product(number)
        file, name, original = f"{product.serial:04d}", product.title, None
        if take > 1:
            file, original = f"{file}-{take}", product.key
            name += " (second photo)" if take == 2 else f" (photo {take})"
        folder = product.category.name
        return Item(
            key=f"{folder}-{file}",
            name=name,
            category=folder,
            photos=(Photo(f"{folder}/{file}.jpg", data=self._draw(product, take)),),
            metadata={
                "colour": product.colour,
                "pattern": product.pattern,
                "near_duplicate_of": original,
            },
        )

    def _draw(self, product: Product, take: int) -> bytes:
        """The product's photo as JPEG; later takes show the same scene through other cameras."""
        rng = self._rng("scene", product.number)
        colour = COLOURS[product.colour]
        pen = Pen(self.size * DRAWN, rng, colour, _accent(rng, colour), product.pattern)
        product.category.draw(pen)
        scene = _compose(pen, product, self.size * COMPOSED, rng)
        camera = self._rng("camera", product.number, take)
        return _photograph(scene, self.size, camera, again=take > 1)


def _accent(rng: random.Random, colour: Colour) -> Colour:
    """The second colour of a pattern, easily told from the first."""
    if sum(colour) < 400:
        return rng.choice(((245, 242, 234), (245, 242, 234), mix(colour, (255, 250, 240), 0.62)))
    return rng.choice(((250, 248, 244), COLOURS["navy"], mix(colour, SHADE, 0.45), COLOURS["red"]))


def _compose(pen: Pen, product: Product, side: int, rng: random.Random) -> Image.Image:
    """The product on a background with its shadow: RGB, side by side pixels."""
    stands = product.category.stands
    left, top, right, bottom = pen.alpha.getbbox() or (0, 0, pen.side, pen.side)
    fill = rng.uniform(0.66, 0.82) if stands else rng.uniform(0.7, 0.88)
    scale = min(fill * side / max(right - left, bottom - top), 1.15 * side / pen.side)
    tilt = np.radians(rng.uniform(-2, 2) if stands else rng.gauss(0, 5))
    centre = side * (0.5 + rng.uniform(-0.035, 0.035))
    middle = side * (0.5 + rng.uniform(-0.03, 0.03))
    half = (bottom - top) / 2 * scale
    if stands:
        # A low product stands nearer the middle of the photo than a tall one.
        middle += 0.55 * (side * 0.42 - half)
    # The matrix takes a pixel of the photo to the pixel of the drawing that it shows.
    cos, sin = float(np.cos(tilt)) / scale, float(np.sin(tilt)) / scale
    x0, y0 = (left + right) / 2, (top + bottom) / 2
    matrix = (
        cos, sin, x0 - cos * centre - sin * middle,
        -sin, cos, y0 - cos * middle + sin * centre,
    )  # fmt: skip
    image, alpha = (
        layer.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        for layer in (pen.image, pen.alpha)
    )
    floor = middle + half
    scene = _background(rng, side, stands, floor / side, pen.colour)
    for mask, share in _shadows(alpha, stands, rng, floor):
        dimmed = mask.point([round(v * share) for v in range(256)])
        scene.paste(SHADE, None, dimmed.resize(scene.size, Image.Resampling.BILINEAR))
    scene.paste(image, None, alpha)
    # The whole scene and not the product alone: light and shadow have to agree.
    mirror = product.category.mirrors and rng.random() < 0.5
    return ImageOps.mirror(scene) if mirror else scene


def _background(
    rng: random.Random, side: int, stands: bool, floor: float, colour: Colour
) -> Image.Image:
    """A surface that the product's colour stands out from; `floor`: where it stands, 0 to 1."""
    size = side // COMPOSED
    kind, base = rng.choice(_surfaces(colour))
    line: Floats = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    x, y = line[None, :, None], line[:, None, None]
    horizon = floor - rng.uniform(0.08, 0.24)
    below = np.clip((y - horizon) * (150 if kind in ("room", "wood") else 4) + 0.5, 0, 1)
    pixels: Floats = np.broadcast_to(np.array(base, np.float32), (size, size, 3))
    if kind == "wood":
        planks = _planks(rng, size, base)
        walls = [c for c in (*GREYS, *PASTELS, *DUSTY) if _far(c, colour)]
        wall = np.array(rng.choice(walls), np.float32)
        pixels = wall + (planks - wall) * below if stands else planks
    elif kind == "room":
        other = np.array(mix(base, SHADE, rng.uniform(0.1, 0.2)), np.float32)
        edge = below if stands else np.clip((x + 0.3 * y - rng.uniform(0.3, 0.9)) * 150, 0, 1)
        pixels = pixels + (other - pixels) * edge
    elif kind == "studio":
        pixels = pixels * (0.91 + 0.09 * (below if stands else 1 - y))
    glow = 1 - np.sqrt((x - 0.4) ** 2 + (y - 0.4) ** 2) * (0.02 if kind == "white" else 0.11)
    shown = np.clip(pixels * glow + 3 * (kind != "white"), 0, 255).astype(np.uint8)
    return Image.fromarray(shown).resize((side, side), Image.Resampling.BILINEAR)


def _surfaces(colour: Colour) -> list[tuple[str, Colour]]:
    """Every kind and colour of background that suits the product, the common ones repeated."""
    white: Colour = (254, 254, 254)
    offers = [("white", white)] * 8
    offers += [(kind, c) for c in (*GREYS, *PASTELS) for kind in ("plain", "studio")]
    offers += [(kind, c) for c in DUSTY for kind in ("studio", "room")]
    # The grain of wood wanders some way from the wood's colour.
    offers += [("wood", wood) for wood in WOODS if _far(wood, colour, 85)] * 2
    return [(kind, c) for kind, c in offers if _far(c, colour)]


def _far(first: Colour, second: Colour, least: float = 55) -> bool:
    return math.dist(first, second) > least


def _planks(rng: random.Random, size: int, wood: Colour) -> Floats:
    """A wooden table from above: (size, size, 3), 0 to 255, the grain from left to right."""
    noise = np.random.default_rng(rng.getrandbits(64))
    grain = np.zeros((size, size), np.float32)
    for cells, share in ((3, 9.0), (9, 6.0)):
        coarse = noise.normal(size=(size, cells)).astype(np.float32)
        stretched = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        grain += share * np.asarray(stretched)
    boards = rng.randint(3, 6)
    place = (np.arange(size) / size * boards + rng.random()) % (boards + 1)
    board = place.astype(int)
    tone = noise.normal(0, 9, boards + 2)[board]
    seam = np.where((place - board) * size / boards < 1.6, -38.0, 0.0)
    light = grain + (tone + seam).astype(np.float32)[:, None]
    table: Floats = np.array(wood, np.float32) + light[:, :, None]
    return table


def _shadows(
    alpha: Image.Image, stands: bool, rng: random.Random, floor: float
) -> Iterator[tuple[Image.Image, float]]:
    """Masks at the photo's final size and how dark each is: where the product dims the scene."""
    mask = alpha.reduce(COMPOSED)
    unit = mask.width / 100
    if not stands:
        for blur, shift, share in ((2.4, 1.6, 0.36), (0.7, 0.5, 0.34)):
            soft = mask.filter(ImageFilter.GaussianBlur(blur * unit))
            yield ImageChops.offset(soft, round(shift * unit), round(1.3 * shift * unit)), share
        return
    low = floor / COMPOSED
    # Seen from above the shadow is the outline laid down: flattened, and leaning off the light.
    squash, lean = rng.uniform(0.16, 0.26), rng.uniform(0.7, 1.5)
    matrix = (1, lean, -lean * low, 0, 1 / squash, low - low / squash)
    laid = mask.transform(mask.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    yield laid.filter(ImageFilter.GaussianBlur(1.6 * unit)), 0.26
    feet = mask.crop((0, round(low - 3 * unit), mask.width, round(low + unit)))
    contact = Image.new("L", mask.size)
    flat = feet.resize((mask.width, max(1, round(2.4 * unit))), Image.Resampling.BOX)
    contact.paste(flat, (0, round(low - 1.4 * unit)))
    yield contact.filter(ImageFilter.GaussianBlur(1.1 * unit)), 0.75


def _photograph(scene: Image.Image, size: int, rng: random.Random, again: bool) -> bytes:
    """The scene as JPEG; `again`: nearer, shifted, lit a little differently, compressed more."""
    side, near, quality = scene.width, 1.0, 90
    tint = np.ones(3, np.float32)
    if again:
        near, quality = rng.uniform(0.965, 0.985), rng.randint(74, 84)
        tint = np.array([rng.uniform(0.94, 0.99) for _ in range(3)], np.float32)
    x, y = (rng.uniform(0.2, 0.8) * side * (1 - near) for _ in range(2))
    box = (x, y, x + side * near, y + side * near)
    photo = scene.resize((size, size), Image.Resampling.LANCZOS, box)
    noise = np.random.default_rng(rng.getrandbits(64)).normal(0, 1.2, (size, size, 1))
    pixels = np.asarray(photo, np.float32) * tint + noise
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels.round(), 0, 255).astype(np.uint8)).save(
        out, "JPEG", quality=quality
    )
    return out.getvalue()
