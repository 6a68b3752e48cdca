"""The scene: a drawn product → a background, its shadow, and a photograph of all that as JPEG."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from pipeline.sources.sample.paint import DUSTY, GRAYS, PASTELS, SHADE, WOODS, Color, Floats, mix
from pipeline.sources.sample.pen import Pen, faded

# The product is drawn, and the scene put together, this many times larger than the photo: the
# two reductions smooth every edge.
DRAWN = 3
COMPOSED = 2


def compose(pen: Pen, size: int, rng: random.Random, *, stands: bool, mirrors: bool) -> Image.Image:
    """The product on a background with its shadow: RGB, COMPOSED times `size` a side.

    `stands`: on a floor, seen from the side, not lying and seen from above; `mirrors`: the scene
    may be mirrored.
    """
    side = size * COMPOSED
    left, top, right, bottom = pen.alpha.getbbox() or (0, 0, pen.side, pen.side)
    fill = rng.uniform(0.66, 0.82) if stands else rng.uniform(0.7, 0.88)
    scale = min(fill * side / max(right - left, bottom - top), 1.15 * side / pen.side)
    tilt = np.radians(rng.uniform(-2, 2) if stands else rng.gauss(0, 5))
    center = side * (0.5 + rng.uniform(-0.035, 0.035))
    middle = side * (0.5 + rng.uniform(-0.03, 0.03))
    half = (bottom - top) / 2 * scale
    if stands:
        # A low product stands nearer the middle of the photo than a tall one.
        middle += 0.55 * (side * 0.42 - half)
    # The matrix takes a pixel of the photo to the pixel of the drawing that it shows.
    cos, sin = float(np.cos(tilt)) / scale, float(np.sin(tilt)) / scale
    x0, y0 = (left + right) / 2, (top + bottom) / 2
    matrix = (
        cos, sin, x0 - cos * center - sin * middle,
        -sin, cos, y0 - cos * middle + sin * center,
    )  # fmt: skip
    image, alpha = (
        layer.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        for layer in (pen.image, pen.alpha)
    )
    floor = middle + half
    scene = _background(rng, side, stands, floor / side, pen.color)
    for mask, share in _shadows(alpha, stands, rng, floor):
        dimmed = faded(mask, share).resize(scene.size, Image.Resampling.BILINEAR)
        scene.paste(SHADE, None, dimmed)
    scene.paste(image, None, alpha)
    # The whole scene and not the product alone: light and shadow have to agree.
    return ImageOps.mirror(scene) if mirrors and rng.random() < 0.5 else scene


def _background(
    rng: random.Random, side: int, stands: bool, floor: float, color: Color
) -> Image.Image:
    """A surface that the product's color stands out from; `floor`: where it stands, 0 to 1."""
    size = side // COMPOSED
    kind, base = rng.choice(_surfaces(color))
    line: Floats = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    x, y = line[None, :, None], line[:, None, None]
    horizon = floor - rng.uniform(0.08, 0.24)
    below = np.clip((y - horizon) * (150 if kind in ("room", "wood") else 4) + 0.5, 0, 1)
    pixels: Floats = np.broadcast_to(np.array(base, np.float32), (size, size, 3))
    if kind == "wood":
        planks = _planks(rng, size, base)
        walls = [c for c in (*GRAYS, *PASTELS, *DUSTY) if _far(c, color)]
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


def _surfaces(color: Color) -> list[tuple[str, Color]]:
    """Every kind and color of background that suits the product, the common ones repeated."""
    white: Color = (254, 254, 254)
    surfaces = [("white", white)] * 8
    surfaces += [(kind, c) for c in (*GRAYS, *PASTELS) for kind in ("plain", "studio")]
    surfaces += [(kind, c) for c in DUSTY for kind in ("studio", "room")]
    # The grain of wood wanders some way from the wood's color.
    surfaces += [("wood", wood) for wood in WOODS if _far(wood, color, 85)] * 2
    return [(kind, c) for kind, c in surfaces if _far(c, color)]


def _far(first: Color, second: Color, min_distance: float = 55) -> bool:
    return math.dist(first, second) > min_distance


def _planks(rng: random.Random, size: int, wood: Color) -> Floats:
    """A wooden table from above: (size, size, 3), 0 to 255, the grain from left to right."""
    noise = np.random.default_rng(rng.getrandbits(64))
    grain = np.zeros((size, size), np.float32)
    for cells, share in ((3, 9.0), (9, 6.0)):
        coarse = noise.normal(size=(size, cells)).astype(np.float32)
        stretched = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        grain += share * np.asarray(stretched)
    boards = rng.randint(3, 6)
    position = (np.arange(size) / size * boards + rng.random()) % (boards + 1)
    board = position.astype(int)
    tone = noise.normal(0, 9, boards + 2)[board]
    seam = np.where((position - board) * size / boards < 1.6, -38.0, 0.0)
    light = grain + (tone + seam).astype(np.float32)[:, None]
    table: Floats = np.array(wood, np.float32) + light[:, :, None]
    return table


def _shadows(
    alpha: Image.Image, stands: bool, rng: random.Random, floor: float
) -> Iterator[tuple[Image.Image, float]]:
    """Yield masks at the photo's final size, where the product dims the scene, and how much."""
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


def photograph(scene: Image.Image, size: int, rng: random.Random, again: bool) -> bytes:
    """Encode the scene as JPEG; `again`: closer, shifted, in other light, and compressed more."""
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
    shown = np.clip(pixels.round(), 0, 255).astype(np.uint8)
    Image.fromarray(shown).save(out, "JPEG", quality=quality)
    return out.getvalue()
