"""A pen and one drawing function per product category: random choices → a shaded product.

Coordinates are units of a square of side 100, x to the right, y down, the product near its middle.
The scene around the product (background, cast shadow, camera) is not drawn here.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]
Paint = Colour | Image.Image
Points = Sequence[tuple[float, ...]]
"""Corners of an outline as (x, y), or (x, y, 1) where a smooth outline keeps a sharp corner."""
Floats = NDArray[np.float32]

INK: Colour = (38, 36, 42)
STEEL: Colour = (186, 190, 196)
GOLD: Colour = (205, 165, 92)
PAPER: Colour = (246, 241, 228)
CHALK: Colour = (244, 243, 240)
WOODS: tuple[Colour, ...] = ((176, 126, 82), (133, 90, 58), (205, 164, 116))
SHADE: Colour = (22, 16, 30)
PRINTS = ("stripes", "checks", "dots", "zigzag", "gradient")
# Shading is soft: at a quarter of the resolution it looks the same and costs a sixteenth.
COARSE = 4


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour that is `share` (0 to 1) of the way from `first` to `second`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def mirrored(half: Points) -> list[tuple[float, ...]]:
    """A whole outline from its right half: (distance from the axis x = 50, y), top to bottom."""
    right = [(50 + x, *rest) for x, *rest in half]
    left = [(50 - x, *rest) for x, *rest in reversed(half) if x != 0]
    return [*right, *left]


def smooth(points: Points, closed: bool = True, steps: int = 10) -> list[tuple[float, float]]:
    """A Catmull-Rom curve through the points, sharp at points with a third coordinate."""
    knots: list[tuple[float, float]] = []
    for x, y, *corner in points:
        # A doubled knot makes the curve arrive and leave straight.
        knots += [(x, y), (x, y)] if corner else [(x, y)]
    n = len(knots)
    curve: list[tuple[float, float]] = []
    for i in range(n if closed else n - 1):
        at = [i - 1, i, i + 1, i + 2]
        p0, p1, p2, p3 = (knots[j % n if closed else min(max(j, 0), n - 1)] for j in at)
        if p1 == p2:
            continue
        for t in (s / steps for s in range(steps)):
            x, y = (
                b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
                for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
            )
            curve.append((x, y))
    return curve if closed else [*curve, knots[-1]]


@cache
def _grid(side: int) -> tuple[Floats, Floats]:
    """The pixels' x as (1, side) and y as (side, 1), in units."""
    line = (np.arange(side, dtype=np.float32) + 0.5) * np.float32(100 / side)
    return line[None, :], line[:, None]


class Pen:
    """Draws one product on a transparent square of `side` pixels."""

    def __init__(
        self, side: int, rng: random.Random, colour: Colour, accent: Colour, pattern: str
    ) -> None:
        self.side, self.rng, self.pattern = side, rng, pattern
        self.colour, self.accent = colour, accent
        # The hidden pixels have the product's colour, so that resampled edges get no dark fringe.
        self.image = Image.new("RGB", (side, side), colour)
        self.alpha = Image.new("L", (side, side), 0)
        self._period = rng.uniform(0.85, 1.3)
        self._angle = rng.choice((0.0, 90.0, 90.0, rng.uniform(20, 70)))
        self._duty = rng.uniform(0.32, 0.5)
        self._fabrics: dict[object, Paint] = {}

    def polygon(self, points: Points) -> Image.Image:
        """Straight edges; like every shape a mask, L, 0 or 255, as large as the drawing."""
        mask = Image.new("L", (self.side, self.side), 0)
        scale = self.side / 100
        ImageDraw.Draw(mask).polygon([(p[0] * scale, p[1] * scale) for p in points], fill=255)
        return mask

    def blob(self, points: Points) -> Image.Image:
        """A smooth outline through the points."""
        return self.polygon(smooth(points))

    def oval(self, x0: float, y0: float, x1: float, y1: float) -> Image.Image:
        """An upright ellipse between two corners."""
        mask = Image.new("L", (self.side, self.side), 0)
        scale = self.side / 100
        ImageDraw.Draw(mask).ellipse([v * scale for v in (x0, y0, x1, y1)], fill=255)
        return mask

    def box(self, x0: float, y0: float, x1: float, y1: float, r: float = 0) -> Image.Image:
        """An upright rectangle, its corners rounded with radius r; x0 and x1 in either order."""
        x0, x1 = min(x0, x1), max(x0, x1)
        mask = Image.new("L", (self.side, self.side), 0)
        scale = self.side / 100
        edges = [v * scale for v in (x0, y0, x1, y1)]
        ImageDraw.Draw(mask).rounded_rectangle(edges, r * scale, fill=255)
        return mask

    def bar(
        self, top: tuple[float, float], foot: tuple[float, float], w0: float, w1: float
    ) -> Image.Image:
        """A straight leg or post, w0 wide at its top and w1 at its foot."""
        (x0, y0), (x1, y1), half, end = top, foot, w0 / 2, w1 / 2
        return self.polygon([(x0 - half, y0), (x0 + half, y0), (x1 + end, y1), (x1 - end, y1)])

    def stroke(self, points: Points, width: float, closed: bool = False) -> Image.Image:
        """A smooth line with round ends."""
        mask = Image.new("L", (self.side, self.side), 0)
        draw, scale, r = ImageDraw.Draw(mask), self.side / 100, width * self.side / 200
        curve = smooth(points, closed)
        line = [(x * scale, y * scale) for x, y in (curve + curve[:1] if closed else curve)]
        draw.line(line, fill=255, width=max(1, round(2 * r)), joint="curve")
        for x, y in () if closed else (line[0], line[-1]):
            draw.ellipse([x - r, y - r, x + r, y + r], fill=255)
        return mask

    def fabric(
        self, turn: float = 0, tube: tuple[float, float, float] | None = None, dim: float = 0
    ) -> Paint:
        """The product's pattern, turned by degrees, or bent round a tube (axis x, radius, sag)."""
        made = self._fabrics.get((turn, tube, dim))
        if made is None:
            made = self._fabrics[turn, tube, dim] = self._weave(turn, tube, dim)
        return made

    def _weave(self, turn: float, tube: tuple[float, float, float] | None, dim: float) -> Paint:
        base, accent = mix(self.colour, SHADE, dim), mix(self.accent, SHADE, dim)
        if self.pattern == "plain":
            return base
        x, y = _grid(self.side)
        if tube is not None:
            axis, radius, sag = np.array(tube, np.float32)
            across = np.clip((x - axis) / radius, -0.999, 0.999)
            x = axis + radius * np.arcsin(across)
            y = y - sag * np.sqrt(1 - across**2)
        angle = math.radians(turn + (self._angle if self.pattern == "stripes" else 0))
        turned = (math.cos(angle) / self._period, math.sin(angle) / self._period)
        cos, sin = np.array(turned, np.float32)
        x, y = x - np.float32(50), y - np.float32(50)
        weights = np.clip(self._weights(x * cos + y * sin, y * cos - x * sin), 0, 1)
        mask = Image.fromarray((weights * np.float32(255)).astype(np.uint8))
        return Image.composite(
            Image.new("RGB", mask.size, accent), Image.new("RGB", mask.size, base), mask
        )

    def _weights(self, u: Floats, v: Floats) -> Floats:
        """How much of the accent the pattern shows at (u, v), about 0 to 1."""
        weights: NDArray[np.bool_] | NDArray[np.floating]
        if self.pattern == "stripes":
            weights = u / 9 % 1 < self._duty
        elif self.pattern == "checks":
            weights = 0.42 * (u / 9 % 1 < 0.5) + 0.42 * (v / 9 % 1 < 0.5)
        elif self.pattern == "dots":
            du, dv = (u / 9 + np.floor(v / 6) * 0.5) % 1 - 0.5, v / 6 % 1 - 0.5
            weights = (du * 9) ** 2 + (dv * 6) ** 2 < 3.6
        elif self.pattern == "zigzag":
            weights = (v + np.abs(u / 10 % 1 - 0.5) * 10) / 9 % 1 < self._duty
        else:
            weights = np.clip((v + 34) / 80, 0, 1) ** 1.3
        return np.asarray(weights, np.float32)

    def paint(
        self, mask: Image.Image, paint: Paint, depth: float = 0.4, reach: float = 5
    ) -> Image.Image:
        """Cover the mask, rounded by light from the top left over `reach` units; return it."""
        bounds = mask.getbbox()
        if bounds is None:
            return mask
        part = mask.crop(bounds)
        patch = paint.crop(bounds) if isinstance(paint, Image.Image) else paint
        self.image.paste(patch, bounds, part)
        self.alpha.paste(255, bounds, part)
        if depth > 0:
            radius = reach * self.side / 100 / COARSE
            soft = mask.reduce(COARSE).filter(ImageFilter.GaussianBlur(radius * 0.6))
            shift = round(radius * 0.55)
            dark = ImageChops.invert(ImageChops.offset(soft, -shift, -shift))
            light = ImageChops.invert(ImageChops.offset(soft, shift, shift))
            self._tint(mask, dark, SHADE, depth)
            self._tint(mask, ImageChops.subtract(light, dark), (255, 255, 255), depth * 0.7)
        return mask

    def _tint(self, mask: Image.Image, amount: Image.Image, tint: Colour, share: float) -> None:
        """Blend a tint into the mask; `amount` may be of any size and is stretched over it."""
        shape, tinted = mask.getbbox(), amount.getbbox()
        if shape is None or tinted is None:
            return
        # Only where both are: most parts and folds are small, and this is most of the work.
        across, down = amount.width / self.side, amount.height / self.side
        x0 = max(shape[0], int((tinted[0] - 1) / across))
        y0 = max(shape[1], int((tinted[1] - 1) / down))
        x1 = min(shape[2], int((tinted[2] + 1) / across))
        y1 = min(shape[3], int((tinted[3] + 1) / down))
        if x0 >= x1 or y0 >= y1:
            return
        bounds = (x0, y0, x1, y1)
        source = (x0 * across, y0 * down, x1 * across, y1 * down)
        full = amount.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, source)
        eased = full.point([round(v * share) for v in range(256)])
        self.image.paste(tint, bounds, ImageChops.multiply(mask.crop(bounds), eased))

    def tube(self, mask: Image.Image, x0: float, x1: float, gloss: float = 0.45) -> None:
        """Shade the mask as an upright cylinder between x0 and x1, with one vertical highlight."""
        x = (_grid(self.side)[0] - x0) / (x1 - x0)
        edge = np.clip(np.abs(x - 0.42) / 0.58, 0, 1) ** 2.2
        shine = np.exp(-(((x - 0.24) / 0.06) ** 2)) + 0.35 * np.exp(-(((x - 0.3) / 0.16) ** 2))
        for values, tint, share in ((edge, SHADE, 0.55), (shine, (255, 255, 255), gloss)):
            row = Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))
            self._tint(mask, row, tint, share)

    def crease(
        self, mask: Image.Image, points: Points, width: float, dark: float = 0.3, light: float = 0.2
    ) -> None:
        """A soft fold along the points: dark, with a lit edge beside it."""
        line = self.stroke(points, width).reduce(COARSE)
        soft = line.filter(ImageFilter.GaussianBlur(width * self.side / 100 / COARSE * 0.7))
        shift = max(1, round(width * self.side / 100 / COARSE * 0.9))
        self._tint(mask, ImageChops.offset(soft, -shift, -shift // 2), (255, 255, 255), light)
        self._tint(mask, soft, SHADE, dark)

    def gleam(
        self, mask: Image.Image, points: Points, share: float = 0.35, blur: float = 1
    ) -> None:
        """A white reflection with soft edges, kept inside the mask."""
        glow = self.polygon(points).reduce(COARSE)
        glow = glow.filter(ImageFilter.GaussianBlur(blur * self.side / 100 / COARSE))
        self._tint(mask, glow, (255, 255, 255), share)

    def shadow(self, mask: Image.Image, caster: Image.Image, share: float = 0.4) -> None:
        """What `caster` throws on the mask: soft, to the lower right."""
        radius = 1.6 * self.side / 100 / COARSE
        soft = caster.reduce(COARSE).filter(ImageFilter.GaussianBlur(radius))
        self._tint(mask, ImageChops.offset(soft, round(radius), round(radius)), SHADE, share)


def overlap(first: Image.Image, second: Image.Image) -> Image.Image:
    """The part of two masks that is in both."""
    return ImageChops.multiply(first, second)


def draw_shirt(pen: Pen) -> None:
    """A T-shirt, polo or button-up laid flat, with short or long sleeves."""
    rng = pen.rng
    long, cut = rng.random() < 0.4, rng.choice(("crew", "crew", "v", "polo", "buttons"))
    hip, hem = rng.uniform(20, 25), rng.uniform(84, 92)
    tip = rng.uniform(34, 41) if long else rng.uniform(37, 42)
    dip = {"crew": 20.0, "v": 31.0}.get(cut, 22.0)
    back = pen.blob([(40.5, 13), (50, 9.5), (59.5, 13), (57, dip), (50, dip + 3), (43, dip)])
    pen.paint(back, pen.fabric(dim=0.45), depth=0.2)
    arm: Points = ((14, 15), (24, 20), (tip, 41, 1), (tip - 10, 49, 1), (19, 37))
    cuff: Points = ((tip - 1, 40), (tip - 10.5, 47.5))
    if long:
        arm = ((14, 15), (24, 20), (tip - 4, 46), (tip, 80, 1), (tip - 9, 82, 1), (21, 44))
        cuff = ((tip - 0.2, 79), (tip - 8.8, 81))
    for way in (-1, 1):
        sleeve = pen.blob([(50 + way * x, *rest) for x, *rest in arm])
        pen.paint(sleeve, pen.fabric(turn=-way * (14 if long else 36)), depth=0.45)
        pen.crease(sleeve, [(50 + way * x, y) for x, y in cuff], 0.7, 0.35)
        pen.crease(sleeve, [(50 + way * 23, 40), (50 + way * 29, 36 if long else 33)], 1.6)
    half: Points = ((0, dip), (6, dip - 4), (9, 13, 1), (22, 18.5))
    if cut == "v":
        half = ((0, dip, 1), (9, 13, 1), (22, 18.5))
    sides = ((23, 36), (22, 60), (hip, hem, 1), (0, hem + 1.5))
    torso = pen.paint(pen.blob(mirrored([*half, *sides])), pen.fabric(), depth=0.42)
    for _ in range(4):
        x, y, lean = rng.uniform(32, 68), rng.uniform(45, 70), rng.uniform(-8, 8)
        pen.crease(torso, [(x, y), (x + lean / 2, y + 9), (x + lean, y + 18)], 2.2, 0.16, 0.12)
    pen.crease(torso, [(50 - hip, hem - 2.6), (50, hem - 1.2), (50 + hip, hem - 2.6)], 0.6, 0.3)
    trim = rng.choice((pen.colour, pen.accent)) if pen.pattern == "plain" else pen.colour
    if cut in ("crew", "v"):
        neck: Points = [(41, 13), (44, dip - 4), (50, dip), (56, dip - 4), (59, 13)]
        if cut == "v":
            neck = [(41, 13), (50, dip, 1), (59, 13)]
        pen.paint(pen.stroke(neck, 2.6), mix(trim, SHADE, 0.12), depth=0.3, reach=2)
        return
    end = 42.0 if cut == "polo" else hem
    placket = overlap(pen.box(47.4, dip - 3, 52.6, end), torso)
    pen.paint(placket, pen.fabric(dim=0.06), depth=0.35, reach=2)
    for y in np.arange(dip + 5, end - 2, 8 if cut == "polo" else 10).tolist():
        pen.paint(pen.oval(49, y - 1, 51, y + 1), CHALK, depth=0.5, reach=1)
    for way in (-1, 1):
        flap = [(50 + way * x, y) for x, y in ((0.2, dip - 1), (8.6, 11), (11.5, 15), (6.5, 27))]
        pen.paint(pen.polygon(flap), pen.fabric(turn=way * 40, dim=0.04), depth=0.5, reach=3)


def draw_dress(pen: Pen) -> None:
    """A dress with a fitted waist, straps or sleeves, and a skirt from straight to wide."""
    rng = pen.rng
    flare, hem, waist = rng.uniform(20, 36), rng.uniform(82, 95), rng.uniform(40, 46)
    sleeve = rng.choice(("straps", "straps", "cap", "long"))
    if sleeve == "straps":
        for way in (-1, 1):
            strap = pen.stroke([(50 + way * 9, 6), (50 + way * 10, 20)], 2.6)
            pen.paint(strap, mix(pen.colour, SHADE, 0.1), depth=0.3, reach=2)
        top: Points = ((0, 19), (7, 15), (12, 16, 1), (14.5, 25))
    else:
        pen.paint(pen.oval(42.5, 4.6, 57.5, 15), pen.fabric(dim=0.45), depth=0.2)
        tip = (23, 27, 15, 29) if sleeve == "cap" else (27, 56, 20, 58)
        arm = ((8, 7, 1), (15.5, 10), (tip[0], tip[1], 1), (tip[2], tip[3], 1), (12, 24))
        for way in (-1, 1):
            mask = pen.blob([(50 + way * x, *rest) for x, *rest in arm])
            pen.paint(mask, pen.fabric(turn=-way * 24), depth=0.45)
        top = ((0, 15), (5, 12), (8, 7, 1), (15, 10), (14, 25))
    bodice = pen.paint(
        pen.blob(mirrored([*top, (11, waist, 1), (0, waist + 1)])), pen.fabric(), depth=0.4
    )
    for way in (-1, 1):
        pen.crease(bodice, [(50 + way * 7, waist), (50 + way * 6.5, waist - 12)], 1, 0.25)
    wave = ((flare, hem, 1), (flare * 0.7, hem + 1.6), (flare * 0.35, hem + 1), (0, hem + 2))
    side = ((11, waist, 1), (flare * 0.55 + 5, waist + (hem - waist) * 0.35))
    skirt = pen.blob(mirrored([(0, waist - 0.5), *side, *wave]))
    pen.paint(skirt, pen.fabric(), depth=0.42, reach=6)
    for fold in np.linspace(-0.75, 0.75, rng.choice((5, 6, 7))).tolist():
        low = 50 + flare * fold + rng.uniform(-1, 1)
        middle = 50 + (flare * 0.5 + 4) * fold
        end = hem - rng.uniform(0, 6)
        pen.crease(skirt, [(50 + 9 * fold, waist + 3), (middle, (waist + hem) / 2), (low, end)], 2)
    if rng.random() < 0.6:
        belt = pen.box(38.6, waist - 2, 61.4, waist + 2, 1)
        dark = mix(pen.accent if rng.random() < 0.5 else pen.colour, SHADE, 0.35)
        pen.paint(belt, dark, depth=0.5, reach=2)


def draw_shoe(pen: Pen) -> None:
    """A shoe from the side: a trainer, an ankle boot or a court shoe with a heel."""
    draw = pen.rng.choice((_trainer, _trainer, _boot, _court_shoe))
    draw(pen)


def _trainer(pen: Pen) -> None:
    rng = pen.rng
    collar, sole = rng.uniform(34, 40), rng.choice((CHALK, CHALK, (226, 196, 150), INK))
    inner = pen.blob([(15, collar + 2), (27, collar + 1), (42, collar - 4), (42, 50), (20, 52)])
    pen.paint(inner, mix(pen.colour, SHADE, 0.6), depth=0.2)
    tongue = pen.blob([(36, collar - 4), (43, collar - 8), (56, 50), (44, 52)])
    pen.paint(tongue, mix(pen.accent, SHADE, 0.05), depth=0.4, reach=3)
    back = ((12, collar, 1), (20, collar + 9), (32, collar + 9), (41, collar - 1, 1))
    front = ((52, 48), (66, 57), (84, 61), (93, 70), (93, 77, 1), (10, 77, 1), (12, 58))
    upper = pen.paint(pen.blob([*back, *front]), pen.fabric(), depth=0.5, reach=7)
    toe = overlap(pen.oval(77, 58, 108, 92), upper)
    trim = mix(pen.colour, sole, 0.75) if rng.random() < 0.5 else mix(pen.colour, SHADE, 0.25)
    pen.paint(toe, trim, depth=0.5, reach=4)
    heel = overlap(pen.blob([(6, 50), (16, 50), (21, 62), (22, 80), (6, 80)]), upper)
    pen.paint(heel, trim, depth=0.4, reach=4)
    if rng.random() < 0.65:
        swoosh = [(26, 70), (40, 70), (54, 60), (50, 66), (40, 74), (30, 74)]
        pen.paint(overlap(pen.blob(swoosh), upper), pen.accent, depth=0.15, reach=2)
    for step in range(5):
        x, y = 44 + step * 5.2, collar + 4 + step * (57 - collar) * 0.16
        pen.paint(pen.stroke([(x, y), (x + 2, y + 3), (x + 0.6, y + 7)], 1.7), CHALK, 0.5, 1.5)
    base = pen.blob(
        [
            (8, 74, 1),
            (50, 76),
            (95, 73, 1),
            (96, 79),
            (92, 84),
            (84, 85),
            (18, 85),
            (10, 83),
            (7, 79),
        ]
    )
    pen.paint(base, sole, depth=0.45, reach=4)
    pen.crease(base, [(9, 80), (50, 81), (94, 79)], 0.8, 0.3, 0)


def _boot(pen: Pen) -> None:
    rng = pen.rng
    top = rng.uniform(8, 26)
    pen.paint(pen.oval(19, top - 3, 49, top + 4), mix(pen.colour, SHADE, 0.6), depth=0.2)
    shaft = ((19, top, 1), (34, top + 3), (49, top, 1), (49, 42), (58, 56), (78, 62), (91, 72))
    boot = pen.blob([*shaft, (92, 80, 1), (15, 80, 1), (15, 66), (20, 46)])
    pen.paint(boot, pen.fabric(), depth=0.55, reach=8)
    gore = overlap(pen.polygon([(29, top + 2), (41, top + 2), (38, 46), (32, 46)]), boot)
    if rng.random() < 0.5:
        pen.paint(gore, mix(pen.colour, INK, 0.65), depth=0.3, reach=2)
    else:
        for y in np.arange(top + 8, 56, 6).tolist():
            bend = max(0.0, y - 42) * 0.55
            pen.paint(pen.stroke([(41 + bend, y + 2), (49 + bend, y)], 1.7), CHALK, 0.5, 1.5)
    pen.crease(boot, [(30, 56), (44, 62), (58, 60)], 1.4, 0.3)
    pen.gleam(boot, [(70, 63), (84, 68), (86, 71), (70, 66)], 0.5)
    sole = pen.polygon([(14, 79), (93, 79), (93, 84), (40, 84), (36, 90), (14, 90)])
    pen.paint(sole, rng.choice((INK, (92, 64, 44))), depth=0.4, reach=2)


def _court_shoe(pen: Pen) -> None:
    heel = pen.rng.uniform(0, 12)
    stem = [(12, 50 - heel), (24, 58 - heel), (19, 88), (15, 88)]
    pen.paint(pen.polygon(stem), mix(pen.colour, SHADE, 0.25), depth=0.5, reach=3)
    inside = pen.blob([(13, 40 - heel), (30, 46 - heel), (58, 70), (66, 66), (60, 78), (24, 60)])
    pen.paint(inside, mix(pen.colour, SHADE, 0.2), depth=0.3)
    back = ((11, 38 - heel, 1), (24, 53 - heel), (42, 68 - heel * 0.4), (56, 72), (70, 65, 1))
    toe = ((84, 73), (96, 84), (95, 88, 1), (66, 88, 1), (54, 83), (36, 68 - heel * 0.5))
    upper = pen.blob([*back, *toe, (24, 60 - heel), (11, 52 - heel)])
    pen.paint(upper, pen.fabric(), depth=0.5, reach=6)
    pen.gleam(upper, [(72, 70), (84, 77), (82, 80), (70, 73)], 0.7)
    sole = [(36, 68.5 - heel * 0.5), (54, 84), (66, 88.4), (95, 88.4)]
    pen.paint(pen.stroke(sole, 1.2), INK, depth=0)
    if pen.rng.random() < 0.4:
        pen.paint(pen.oval(66, 63, 74, 69), GOLD, depth=0.6, reach=2)


def draw_bag(pen: Pen) -> None:
    """A tote, a handbag with a flap, or a backpack."""
    draw = pen.rng.choice((_tote, _handbag, _backpack))
    draw(pen)


def _tote(pen: Pen) -> None:
    rng = pen.rng
    top, low, rise = rng.uniform(24, 30), rng.uniform(26, 34), rng.uniform(6, 16)
    leather = rng.choice((mix(pen.colour, SHADE, 0.4), (128, 84, 54), pen.accent))
    arch = [(38, 46), (39, rise + 8), (50, rise), (61, rise + 8), (62, 46)]
    pen.paint(pen.stroke([(x + 1.5, y - 3) for x, y in arch], 2.6), mix(leather, SHADE, 0.4), 0.3)
    half = ((0, 37), (top, 36, 1), (low, 88, 1), (low - 1.5, 92, 1), (0, 93))
    body = pen.paint(pen.blob(mirrored(half)), pen.fabric(), depth=0.45, reach=8)
    pen.crease(body, [(50 - top, 41), (50, 42), (50 + top, 41)], 0.7, 0.35)
    handle = pen.stroke(arch, 2.8)
    pen.shadow(body, handle)
    pen.paint(handle, leather, depth=0.5, reach=2)
    for x in (38, 62):
        pen.paint(pen.box(x - 2.6, 43, x + 2.6, 51, 0.8), leather, depth=0.4, reach=2)
    for way in (-1, 1):
        pen.crease(body, [(50 + way * (top - 5), 56), (50 + way * (low - 8), 86)], 2.4, 0.2)


def _handbag(pen: Pen) -> None:
    rng = pen.rng
    wide, rise, metal = rng.uniform(32, 38), rng.uniform(8, 20), rng.choice((GOLD, STEEL))
    trim = mix(pen.colour, SHADE, 0.3)
    arch = [(30, 44), (33, rise + 7), (50, rise), (67, rise + 7), (70, 44)]
    pen.paint(pen.stroke(arch, 4.2), trim, depth=0.6, reach=3)
    half = ((0, 38), (wide - 6, 38), (wide - 3, 42), (wide, 82), (wide - 4, 88), (0, 89))
    body = pen.paint(pen.blob(mirrored(half)), pen.fabric(), depth=0.5, reach=8)
    drop = rng.uniform(60, 70)
    top: Points = ((0, 37), (wide - 6, 37), (wide - 2.5, 42))
    cover = mirrored([*top, (wide - 4, 52), (wide - 14, drop), (0, drop + 3)])
    flap = pen.blob(cover)
    pen.shadow(body, flap)
    pen.paint(flap, pen.fabric(), depth=0.5, reach=5)
    pen.crease(flap, [(x, y - 1.6) for x, y in smooth(cover)[18:-18]], 0.4, 0.3, 0.1)
    pen.paint(pen.box(45, drop - 3, 55, drop + 6, 1.5), metal, depth=0.7, reach=3)
    pen.paint(pen.box(48.6, drop + 0.5, 51.4, drop + 3.4, 0.6), mix(metal, INK, 0.7), depth=0)
    for x in (30, 70):
        pen.paint(pen.oval(x - 3, 41, x + 3, 47), metal, depth=0.6, reach=2)


def _backpack(pen: Pen) -> None:
    rng = pen.rng
    wide, trim = rng.uniform(26, 30), rng.choice((pen.accent, mix(pen.colour, SHADE, 0.35)))
    pen.paint(pen.stroke([(43, 14), (44, 6), (50, 4), (56, 6), (57, 14)], 3), trim, 0.5, 2)
    for way in (-1, 1):
        strap = ((wide - 8, 24), (wide + 7, 40), (wide + 3, 84))
        line = pen.stroke([(50 + way * x, y) for x, y in strap], 4.5)
        pen.paint(line, mix(pen.colour, SHADE, 0.5), depth=0.4, reach=3)
    top = ((0, 9), (wide - 10, 12), (wide - 1, 28))
    outline = mirrored([*top, (wide + 1, 60), (wide, 88), (wide - 6, 94), (0, 95)])
    body = pen.paint(pen.blob(outline), pen.fabric(), depth=0.5, reach=9)
    zip_line = mirrored([(0, 17), (wide - 12, 20), (wide - 6, 34), (wide - 5, 50)])
    pen.crease(body, zip_line[4:] + zip_line[:4], 0.7, 0.5, 0.25)
    top = ((0, 56), (wide - 7, 56), (wide - 5, 59))
    pocket = pen.blob(mirrored([*top, (wide - 5, 84), (wide - 8, 88), (0, 88.5)]))
    pen.shadow(body, pocket)
    pen.paint(pocket, pen.fabric(dim=0.06), depth=0.5, reach=5)
    pen.paint(overlap(pen.box(20, 61, 80, 62.6), pocket), mix(trim, INK, 0.3), depth=0.2, reach=1)
    pen.paint(pen.box(36, 61, 38.4, 68, 1), STEEL, depth=0.5, reach=1)
    pen.paint(pen.box(44, 32, 56, 40, 1.5), trim, depth=0.4, reach=2)


def draw_mug(pen: Pen) -> None:
    """A mug with its handle on the right; tapered, straight or bellied."""
    rng = pen.rng
    mouth, waist, foot = rng.uniform(21, 25), rng.uniform(20, 27), rng.uniform(16, 23)
    top, low, axis = rng.uniform(18, 28), 86.0, 43.0
    grip = axis + (mouth + waist) / 2
    y0, y1 = top + 12, rng.uniform(64, 74)
    loop = ((-4, y0), (12, y0 - 2), (19, (y0 + y1) / 2), (10, y1), (-5, y1))
    handle = pen.stroke([(grip + x, y) for x, y in loop], 6)
    pen.paint(handle, mix(pen.colour, SHADE, 0.08), depth=0.65, reach=3.5)
    half: Points = ((0, top), (mouth, top, 1), (waist, (top + low) / 2), (foot + 1, low - 5))
    outline = mirrored([*half, (foot - 2, low + 1), (0, low + 4)])
    outline = [(x + axis - 50, *rest) for x, *rest in outline]
    body = pen.paint(
        pen.blob(outline), pen.fabric(tube=(axis, max(mouth, waist), 5)), depth=0.15, reach=5
    )
    pen.tube(body, axis - max(mouth, waist), axis + max(mouth, waist))
    rim = pen.oval(axis - mouth, top - 5.5, axis + mouth, top + 5.5)
    pen.paint(rim, mix(pen.colour, CHALK, 0.55), depth=0.25, reach=2)
    hole = pen.oval(axis - mouth + 1.8, top - 4.2, axis + mouth - 1.8, top + 4.6)
    inside = rng.choice((CHALK, mix(pen.colour, CHALK, 0.25)))
    pen.paint(hole, mix(inside, SHADE, 0.3), depth=0)
    pen.gleam(hole, [(axis - 5, top + 9), (axis + 24, top + 8), (axis + 24, top - 6)], 0.4, 4)
    if rng.random() < 0.45:
        coffee = overlap(pen.oval(axis - mouth + 3.5, top - 0.6, axis + mouth - 3.5, top + 7), hole)
        pen.paint(coffee, rng.choice(((70, 40, 24), (150, 104, 66))), depth=0.3, reach=3)


def draw_bottle(pen: Pen) -> None:
    """A bottle: an insulated flask, a wine-shaped one, or one with a pump."""
    rng = pen.rng
    kind, r = rng.choice(("flask", "wine", "pump")), rng.uniform(13, 18)
    cap = rng.choice((STEEL, INK, WOODS[0], pen.accent))
    low, bend = 93.0, {"flask": 24.0, "wine": 40.0, "pump": 34.0}[kind] + rng.uniform(-2, 4)
    neck = {"flask": r * 0.62, "wine": 4.6, "pump": 5.5}[kind]
    top = {"flask": 17.0, "wine": 10.0, "pump": 25.0}[kind]
    if kind == "pump":
        pen.paint(pen.box(48.6, 12, 51.4, 24), STEEL, depth=0.4, reach=2)
        nozzle = pen.blob([(42, 7), (54, 6), (66, 8), (70, 13), (67, 13), (62, 11.5), (44, 12)])
        pen.paint(nozzle, cap, depth=0.6, reach=3)
    half: Points = ((0, top), (neck, top, 1), (neck, bend - 9), (r, bend + 3))
    outline = mirrored([*half, (r, low - 6), (r - 2, low), (0, low + 2)])
    body = pen.paint(pen.blob(outline), pen.fabric(tube=(50, r, 2.5)), depth=0.12, reach=4)
    pen.tube(body, 50 - r, 50 + r, 0.55)
    wide = 7.5 if kind == "pump" else neck + 0.7
    y0, y1 = {"flask": (5, 19), "wine": (5, 17), "pump": (20, 28)}[kind]
    tip = pen.paint(pen.box(50 - wide, y0, 50 + wide, y1, 1.6), cap, depth=0.1, reach=3)
    pen.tube(tip, 50 - wide, 50 + wide, 0.5)
    if kind == "flask" and rng.random() < 0.5:
        ring = pen.stroke([(46, 6), (46, 2), (50, 0.8), (54, 2), (54, 6)], 1.8)
        pen.paint(ring, cap, depth=0.5, reach=1.5)
    if rng.random() < 0.55:
        y = rng.uniform(52, 58)
        edge = [(34, y, 1), (50, y + 2), (66, y, 1), (66, y + 20, 1), (50, y + 22), (34, y + 20, 1)]
        label = pen.paint(overlap(pen.blob(edge), body), PAPER, depth=0)
        for line, width in ((5.5, 7.0), (9.5, 4.5), (14, 8.0)):
            words = pen.box(50 - width, y + line + 1.4, 50 + width, y + line + 3.2)
            pen.paint(words, mix(pen.colour, INK, 0.4), depth=0)
        pen.tube(label, 50 - r, 50 + r, 0.3)


def draw_lamp(pen: Pen) -> None:
    """A table lamp, lit: a shade over a ceramic, metal or three-legged base."""
    rng = pen.rng
    top, low, edge = rng.uniform(12, 22), rng.uniform(25, 32), rng.uniform(46, 54)
    foot, metal = rng.choice(("ceramic", "rod", "tripod")), rng.choice((GOLD, STEEL, INK))
    pen.paint(pen.box(48.6, 40, 51.4, 90), metal, depth=0.5, reach=2)
    if foot == "ceramic":
        glaze = mix(pen.accent, pen.colour, rng.choice((0.0, 1.0)))
        wide = rng.uniform(11, 16)
        half = ((0, 58), (4, 58), (wide, 73), (wide * 0.8, 86), (7, 92, 1), (0, 93))
        vase = pen.paint(pen.blob(mirrored(half)), glaze, depth=0.2)
        pen.tube(vase, 50 - wide, 50 + wide, 0.6)
    elif foot == "rod":
        pen.paint(pen.oval(34, 87, 66, 95), metal, depth=0.5, reach=3)
        pen.paint(pen.oval(34, 85.5, 66, 92.5), mix(metal, CHALK, 0.2), depth=0.4, reach=3)
        pen.paint(pen.box(48.8, 50, 51.2, 89.5), metal, depth=0.5, reach=1.5)
    else:
        wood = rng.choice(WOODS)
        for x, y in ((52, 89), (33, 94), (67, 94)):
            pen.paint(pen.bar((50, 56), (x, y), 3, 2.4), wood, depth=0.5, reach=2)
    inner = pen.oval(50 - low, edge - 5, 50 + low, edge + 5)
    pen.paint(inner, mix((255, 236, 190), pen.colour, 0.25), depth=0.3, reach=3)
    rise = ((0, 6.6), (top * 0.7, 7.4), (top, 10, 1))
    sag = ((low, edge - 1, 1), (low * 0.7, edge + 2.6), (0, edge + 3.4))
    shade = pen.paint(pen.blob(mirrored([*rise, *sag])), pen.fabric(tube=(50, low, 3.5)), 0.15)
    pen.tube(shade, 50 - low * 1.04, 50 + low * 1.1, 0.12)
    glow = mirrored([(top * 0.5, 22), (low * 0.5, edge + 2)])
    pen.gleam(shade, glow, 0.24, 9)
    for end, middle, reach in ((edge - 1, edge + 2.8, low), (6.8, 7.2, top)):
        rim = [(50 - reach, end), (50, middle), (50 + reach, end)]
        pen.paint(overlap(pen.stroke(rim, 1.3), shade), mix(pen.colour, SHADE, 0.3), depth=0)


def draw_watch(pen: Pen) -> None:
    """A wristwatch from the front, round or square, on a strap."""
    rng = pen.rng
    r, wide = rng.uniform(19, 23), rng.uniform(11, 13.5)
    metal = rng.choice((GOLD, STEEL, STEEL, INK))
    end, edge = wide * 0.72, wide * 0.8
    upper, lower = ((0, 9), (end, 9), (edge, 12)), ((edge, 89), (end, 92), (0, 92))
    outline = mirrored([*upper, (wide, 36, 1), (wide, 64, 1), *lower])
    strap = pen.paint(pen.blob(outline), pen.fabric(), depth=0.55, reach=4)
    for way in (-1, 1):
        seam = [(50 + way * wide * 0.66, 12), (50 + way * wide * 0.82, 36)]
        for points in (seam, [(x, 100 - y) for x, y in seam]):
            pen.crease(strap, points, 0.5, 0.35, 0.25)
    for y in (76.0, 80.0, 84.0):
        pen.paint(pen.oval(49.1, y - 0.9, 50.9, y + 0.9), mix(pen.colour, INK, 0.8), depth=0)
    square = rng.random() < 0.35
    pen.paint(pen.box(48 + r, 47, 54 + r, 53, 1), metal, depth=0.6, reach=2)

    def face(size: float) -> Image.Image:
        corners = (50 - size, 50 - size, 50 + size, 50 + size)
        return pen.box(*corners, 5) if square else pen.oval(*corners)

    r -= 2 * square
    case = face(r)
    pen.shadow(strap, case, 0.6)
    pen.paint(case, metal, depth=0.7, reach=3.5)
    dial = rng.choice((CHALK, PAPER, mix(pen.colour, INK, 0.35), (28, 30, 38)))
    plate = pen.paint(face(r - 3), dial, depth=0.3, reach=3)
    ink = INK if sum(dial) > 400 else CHALK
    for hour in range(12):
        long, width = (3.5, 1.5) if hour % 3 == 0 else (2.0, 0.8)
        pen.paint(pen.stroke(_radius(hour / 12, r - 5 - long, r - 5), width), ink, depth=0)
    for length, width in ((0.48, 1.8), (0.68, 1.3)):
        hand = _radius(rng.random(), -0.1 * r, length * r)
        pen.paint(pen.stroke(hand, width), ink, depth=0)
    pen.paint(pen.oval(48.6, 48.6, 51.4, 51.4), rng.choice((metal, (200, 60, 50))), depth=0)
    pen.gleam(plate, [(30, 50), (52, 28), (60, 30), (34, 58)], 0.22, 0.8)


def _radius(turn: float, near: float, far: float) -> list[tuple[float, float]]:
    """The part of a clock hand between two distances from the middle, `turn` of 1 past twelve."""
    x, y = math.sin(2 * math.pi * turn), -math.cos(2 * math.pi * turn)
    return [(50 + x * near, 50 + y * near), (50 + x * far, 50 + y * far)]


def draw_chair(pen: Pen) -> None:
    """A dining chair in perspective, or an armchair from the front."""
    draw = pen.rng.choice((_dining_chair, _armchair))
    draw(pen)


def _dining_chair(pen: Pen) -> None:
    rng = pen.rng
    wood, top, low = rng.choice((*WOODS, INK)), rng.uniform(5, 12), rng.uniform(36, 46)
    dark = mix(wood, SHADE, 0.3)
    for x0, x1 in ((33, 31), (68, 71)):
        pen.paint(pen.bar((x0, 58), (x1, 86), 3, 2), dark, 0.4, 2)
    for x in (31, 69):
        pen.paint(pen.bar((x, top + 4), (x, 60), 3.2, 3.2), wood, 0.5, 2)
    half: Points = ((0, top + 1), (17, top), (21, top + 4), (20, low - 3), (17, low), (0, low + 1))
    back = pen.blob(mirrored(half))
    pen.paint(back, pen.fabric(), depth=0.5, reach=5)
    seat = ((0, 53), (19, 53), (21, 55), (26, 66), (25, 72), (20, 74), (0, 75))
    cushion = pen.paint(pen.blob(mirrored(seat)), pen.fabric(), depth=0.5, reach=5)
    pen.crease(cushion, [(24, 66.5), (50, 69), (76, 66.5)], 0.8, 0.4, 0.35)
    for x0, x1 in ((28, 25), (72, 75)):
        pen.paint(pen.bar((x0, 73), (x1, 96), 4, 2.6), wood, 0.5, 2)


def _armchair(pen: Pen) -> None:
    rng = pen.rng
    wood, top, wide = rng.choice(WOODS), rng.uniform(12, 24), rng.uniform(33, 37)
    for x in (50 - wide + 6, 50 + wide - 6):
        pen.paint(pen.bar((x, 84), (x, 95), 4.8, 2.6), wood, 0.5, 2)
    half: Points = ((0, top - 1), (wide - 12, top), (wide - 5, top + 5), (wide - 4, 62), (0, 64))
    back = pen.paint(pen.blob(mirrored(half)), pen.fabric(dim=0.1), depth=0.6, reach=7)
    if rng.random() < 0.5:
        button = mix(pen.colour, SHADE, 0.4)
        for x, drop in ((38, 14), (50, 14), (62, 14), (44, 23), (56, 23)):
            y = top + drop
            pen.crease(back, [(x - 4, y - 4), (x, y), (x + 4, y - 4)], 1, 0.2)
            pen.paint(pen.oval(x - 1.1, y - 1.1, x + 1.1, y + 1.1), button, 0.4, 1)
    front = pen.box(50 - wide + 3, 66, 50 + wide - 3, 86, 3)
    pen.shadow(back, front, 0.6)
    pen.paint(front, pen.fabric(dim=0.16), depth=0.4, reach=4)
    half = ((0, 55), (wide - 11, 55), (wide - 8, 58), (wide - 7, 68), (wide - 10, 71.5), (0, 72))
    cushion = pen.blob(mirrored(half))
    pen.shadow(front, cushion, 0.6)
    pen.shadow(back, cushion, 0.6)
    pen.paint(cushion, pen.fabric(turn=90), depth=0.6, reach=4)
    roll = rng.uniform(8, 12)
    for way in (-1, 1):
        inner, outer = 50 + way * (wide - roll), 50 + way * (wide + 2)
        arm = pen.box(inner, 45, outer, 87, 5)
        for part in (back, cushion, front):
            pen.shadow(part, arm, 0.75)
        pen.paint(arm, pen.fabric(turn=way * 7), depth=0.65, reach=5)


def draw_book(pen: Pen) -> None:
    """A closed hardback with its page edges on view, and a title."""
    rng = pen.rng
    x0, x1, thick = rng.uniform(18, 24), rng.uniform(66, 72), rng.uniform(5, 12)
    y0, y1, rise = rng.uniform(14, 20), rng.uniform(84, 92), thick * 0.55
    x2, y2, y3 = x1 + thick, y0 - rise, y1 - rise
    rear = [(x0 + thick, y2 - 1), (x2 + 1, y2 - 1), (x2 + 1, y3 + 1), (x1, y1), (x0, y1), (x0, y0)]
    pen.paint(pen.polygon(rear), mix(pen.colour, SHADE, 0.4), depth=0.2)
    fore = pen.polygon([(x1 - 1, y0), (x2 - 1, y2), (x2 - 1, y3 - 1), (x1 - 1, y1 - 1)])
    head = pen.polygon([(x0 + 1, y0), (x0 + thick, y2), (x2 - 1, y2), (x1, y0)])
    pen.paint(head, PAPER, depth=0)
    pen.paint(fore, mix(PAPER, SHADE, 0.16), depth=0)
    for step in np.arange(0.12, 1, 0.16).tolist():
        dx, dy = thick * step, -rise * step
        pen.crease(fore, [(x1 + dx - 1, y0 + dy), (x1 + dx - 1, y1 + dy)], 0.25, 0.4, 0)
        pen.crease(head, [(x0 + dx, y0 + dy), (x1 + dx, y0 + dy)], 0.25, 0.3, 0)
    cover = pen.paint(pen.box(x0, y0, x1, y1, 0.8), pen.fabric(), depth=0.25, reach=3)
    pen.crease(cover, [(x0 + 4, y0), (x0 + 4, y1)], 1, 0.4, 0.3)
    title, middle = rng.choice(TITLES), (x0 + x1) / 2 + 2
    light = sum(pen.colour) < 400
    ink = PAPER if light else INK
    y = y0 + rng.choice((8.0, 20.0, 34.0))
    if pen.pattern != "plain" or rng.random() < 0.4:
        plate = pen.box(middle - 17, y - 2, middle + 17, y + 20, 1)
        pen.paint(plate, PAPER if light else mix(pen.colour, INK, 0.75), depth=0.15, reach=1)
        ink = mix(pen.colour, INK, 0.5) if light else PAPER
    elif y < y0 + 30:
        disc = pen.oval(middle - 10, y + 18, middle + 10, y + 38)
        pen.paint(disc, pen.accent, depth=0.1, reach=2)
    draw, scale = ImageDraw.Draw(pen.image), pen.side / 100
    for line, word in enumerate(title):
        font = ImageFont.load_default(size=7.2 * scale)
        draw.text((middle * scale, (y + 5 + line * 8.5) * scale), word, ink, font, anchor="mm")
    bar = pen.box(middle - 8, y1 - 7, middle + 8, y1 - 5.6)
    pen.paint(bar, PAPER if light else INK, depth=0)
    pen.gleam(cover, [(x0, y0), (x0 + 24, y0), (x0, y0 + 44)], 0.14, 4)


TITLES = (
    ("THE", "GARDEN"),
    ("NORTH", "SEA"),
    ("SMALL", "HOURS"),
    ("ATLAS", "OF AIR"),
    ("LONG", "WALK"),
    ("SALT", "& RYE"),
    ("PAPER", "MOON"),
    ("WINTER", "LIGHT"),
    ("RED", "KITES"),
    ("HOUSE", "OF OAK"),
)


def draw_headphones(pen: Pen) -> None:
    """Over-ear headphones from the front."""
    rng = pen.rng
    wide, top, drop = rng.uniform(27, 31), rng.uniform(8, 14), rng.uniform(56, 62)
    band: list[tuple[float, float]]
    band = [(50 - wide, drop), (50 - wide + 1, drop - 22), (50 - wide * 0.62, top + 6), (50, top)]
    band += [(100 - x, y) for x, y in reversed(band[:-1])]
    trim = rng.choice((INK, STEEL, mix(pen.colour, SHADE, 0.5)))
    pen.paint(pen.stroke(band, 6.5), pen.fabric(), depth=0.6, reach=3)
    pad = [(50 + (x - 50) * 0.9, y + 4.4) for x, y in band[2:-2]]
    pen.paint(pen.stroke(pad, 4), mix(trim, INK, 0.4), depth=0.5, reach=2)
    tall, thick = rng.uniform(15, 18), rng.uniform(8.5, 11)
    for way in (-1, 1):
        x = 50 + way * wide
        slider = pen.stroke([(x, drop - 18), (x, drop - 4)], 3.4)
        pen.paint(slider, STEEL if trim != STEEL else INK, depth=0.6, reach=2)
        inner, outer = x - way * thick * 1.05, x + way * thick * 0.15
        ear = pen.box(inner, drop - tall + 2, outer, drop + tall - 2, 4)
        pen.paint(ear, mix(trim, INK, 0.55), depth=0.6, reach=3)
        near, far = x - way * thick * 0.3, x + way * thick
        upper = [(near, -tall, 1), (x + way * 4, -tall), (far, -tall * 0.5)]
        lower = [(px, -py, *rest) for px, py, *rest in reversed(upper)]
        shell = [*upper, (far + way, 0), *lower]
        cup = pen.blob([(px, py + drop, *rest) for px, py, *rest in shell])
        pen.paint(cup, pen.fabric(), depth=0.6, reach=5)
        pen.paint(overlap(pen.box(near, 0, near + way * 2, 100), cup), trim, 0.3, 1)
        shine = [(1.5, 4 - tall), (3.5, 4 - tall), (3.5, 0), (1.5, 0)]
        pen.gleam(cup, [(x + px, drop + py) for px, py in shine], 0.4)


def draw_sunglasses(pen: Pen) -> None:
    """Sunglasses from the front: square, round, cat-eye or aviator, arms folded behind."""
    rng = pen.rng
    shape = rng.choice(tuple(LENSES))
    lens, rim = LENSES[shape], rng.uniform(1.17, 1.26) - 0.06 * (shape == "aviator")
    tint = rng.choice(((40, 38, 44), (66, 46, 36), (38, 56, 60), mix(pen.colour, INK, 0.45)))
    spread, reach = rng.uniform(28, 40), rng.uniform(12, 22)
    for way in (-1, 1):
        arm = ((42, 43), (spread, reach + 6), (spread - 4, reach))
        line = pen.stroke([(50 + way * x, y) for x, y in arm], 2.8)
        pen.paint(line, mix(pen.colour, SHADE, 0.25), depth=0.5, reach=2)
    frames = []
    for way in (-1, 1):
        outer = [(50 + way * (24 + x * rim), 50 + y * rim, *rest) for x, y, *rest in lens]
        frames.append(pen.blob(outer))
        frames.append(pen.stroke([(50 + way * 38, 41), (50 + way * 43, 41.5)], 5))
    frames.append(pen.stroke([(42, 45), (50, 42), (58, 45)], 4 if shape != "aviator" else 2.6))
    if shape == "aviator":
        frames.append(pen.stroke([(38, 37.5), (50, 37), (62, 37.5)], 2.4))
    whole = frames[0]
    for part in frames[1:]:
        whole = ImageChops.lighter(whole, part)
    pen.paint(whole, pen.fabric(), depth=0.6, reach=2.5)
    for way in (-1, 1):
        glass = pen.blob([(50 + way * (24 + x), 50 + y, *rest) for x, y, *rest in lens])
        pen.paint(glass, tint, depth=0.15, reach=2)
        x = 50 + way * 24
        pen.gleam(glass, [(x - 20, 70), (x + 20, 70), (x + 20, 50), (x - 20, 56)], 0.28, 7)
        pen.gleam(glass, [(x - 10, 56), (x - 2, 38), (x + 3, 38), (x - 5, 56)], 0.3, 0.8)


LENSES: dict[str, Points] = {
    "square": ((-16, -11), (0, -12), (16, -12.5), (17, -6), (13, 9), (5, 12), (-8, 12), (-15, 6)),
    "round": ((0, -14), (10, -10), (14, 0), (10, 10), (0, 14), (-10, 10), (-14, 0), (-10, -10)),
    "cat-eye": ((-15, -8), (0, -11), (19, -14, 1), (16, 2), (8, 10), (-6, 11), (-14, 4)),
    "aviator": ((-15, -10), (0, -12), (15, -11), (17, -4), (12, 10), (4, 15), (-6, 12), (-14, 0)),
}


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
