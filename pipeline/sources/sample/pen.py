"""The pen: outlines → masks, masks and paint → a shaded product on a transparent square.

An outline is a few points. Coordinates are units of a square of side 100, x to the right, y down,
the product near its middle.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from pipeline.sources.sample.paint import LIGHT, SHADE, Color, Pattern, Tube, mix, pixel_grid

Paint = Color | Image.Image
Mask = Image.Image
"""L, 0 to 255: how much of each pixel of the drawing a shape covers."""
Points = Sequence[tuple[float, ...]]
"""Corners of an outline as (x, y), or (x, y, 1) where a smooth outline keeps a sharp corner."""
BOTH = (-1, 1)  # the sides of the axis: left, right

# Shading is soft: at a quarter of the resolution it looks the same and costs a sixteenth.
COARSE = 4


def beside(side: int, points: Points) -> list[tuple[float, ...]]:
    """Place points, given as (distance from the axis x = 50, y), to its right (1) or left (-1)."""
    return [(50 + side * x, *rest) for x, *rest in points]


def mirrored(half: Points) -> list[tuple[float, ...]]:
    """Complete an outline from its right half, (distance from the axis x = 50, y), from the top."""
    return [*beside(1, half), *beside(-1, [point for point in reversed(half) if point[0] != 0])]


def smooth(points: Points, closed: bool = True, steps: int = 10) -> list[tuple[float, float]]:
    """Draw a Catmull-Rom curve through points; those with a third coordinate are sharp corners."""
    knots: list[tuple[float, float]] = []
    for x, y, *corner in points:
        # A doubled knot makes the curve arrive and leave straight.
        knots += [(x, y), (x, y)] if corner else [(x, y)]
    n = len(knots)
    curve: list[tuple[float, float]] = []
    for i in range(n if closed else n - 1):
        around = (i - 1, i, i + 1, i + 2)
        p0, p1, p2, p3 = (knots[j % n if closed else min(max(j, 0), n - 1)] for j in around)
        if p1 == p2:
            continue
        for t in (s / steps for s in range(steps)):
            x, y = (
                b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
                for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
            )
            curve.append((x, y))
    return curve if closed else [*curve, knots[-1]]


def faded(mask: Mask, share: float) -> Mask:
    """Multiply every value of a mask by `share`."""
    return mask.point([round(v * share) for v in range(256)])


def overlap(first: Mask, second: Mask) -> Mask:
    """Return the part of two masks that is in both."""
    return ImageChops.multiply(first, second)


def _softened(mask: Mask, radius: float) -> Mask:
    """Reduce a mask to the coarse resolution and blur it by a radius in its pixels."""
    return mask.reduce(COARSE).filter(ImageFilter.GaussianBlur(radius))


class Pen:
    """Draws one product on a transparent square of `side` pixels."""

    def __init__(
        self, side: int, rng: random.Random, color: Color, accent: Color, pattern: str
    ) -> None:
        self.side, self.rng, self.color, self.accent = side, rng, color, accent
        self.pattern = Pattern.choose(pattern, rng)
        # The hidden pixels have the product's color, so that resampled edges get no dark fringe.
        self.image = Image.new("RGB", (side, side), color)
        self.alpha = Image.new("L", (side, side), 0)
        self._fabrics: dict[object, Paint] = {}

    def _blank(self) -> tuple[Image.Image, ImageDraw.ImageDraw, float]:
        """An empty mask, what draws on it, and how many of its pixels are a unit."""
        mask = Image.new("L", (self.side, self.side), 0)
        return mask, ImageDraw.Draw(mask), self.side / 100

    def _coarse(self, units: float) -> float:
        """A length in pixels of the coarse resolution."""
        return units * self.side / 100 / COARSE

    def polygon(self, points: Points) -> Mask:
        """A shape with straight edges."""
        mask, draw, scale = self._blank()
        draw.polygon([(p[0] * scale, p[1] * scale) for p in points], fill=255)
        return mask

    def blob(self, points: Points) -> Mask:
        """A smooth outline through the points."""
        return self.polygon(smooth(points))

    def oval(self, x0: float, y0: float, x1: float, y1: float) -> Mask:
        """An upright ellipse between two corners."""
        mask, draw, scale = self._blank()
        draw.ellipse([v * scale for v in (x0, y0, x1, y1)], fill=255)
        return mask

    def box(self, x0: float, y0: float, x1: float, y1: float, r: float = 0) -> Mask:
        """An upright rectangle, its corners rounded with radius r; x0 and x1 in either order."""
        x0, x1 = min(x0, x1), max(x0, x1)
        mask, draw, scale = self._blank()
        draw.rounded_rectangle([v * scale for v in (x0, y0, x1, y1)], r * scale, fill=255)
        return mask

    def bar(
        self, top: tuple[float, float], foot: tuple[float, float], w0: float, w1: float
    ) -> Mask:
        """A straight leg or post, w0 wide at its top and w1 at its foot."""
        (x0, y0), (x1, y1), half, end = top, foot, w0 / 2, w1 / 2
        return self.polygon([(x0 - half, y0), (x0 + half, y0), (x1 + end, y1), (x1 - end, y1)])

    def stroke(self, points: Points, width: float) -> Mask:
        """A smooth line with round ends."""
        mask, draw, scale = self._blank()
        r = width * self.side / 200
        line = [(x * scale, y * scale) for x, y in smooth(points, closed=False)]
        draw.line(line, fill=255, width=max(1, round(2 * r)), joint="curve")
        for x, y in (line[0], line[-1]):
            draw.ellipse([x - r, y - r, x + r, y + r], fill=255)
        return mask

    def fabric(self, turn: float = 0, tube: Tube | None = None, dim: float = 0) -> Paint:
        """The product's pattern, turned by degrees, or bent around a tube; `dim` darkens it."""
        if (turn, tube, dim) not in self._fabrics:
            base, accent = mix(self.color, SHADE, dim), mix(self.accent, SHADE, dim)
            is_plain = self.pattern.kind == "plain"
            woven = base if is_plain else self.pattern.weave(self.side, base, accent, turn, tube)
            self._fabrics[turn, tube, dim] = woven
        return self._fabrics[turn, tube, dim]

    def paint(self, mask: Mask, paint: Paint, depth: float = 0.4, reach: float = 5) -> Mask:
        """Cover the mask, rounded by light from the top left over `reach` units; return it."""
        bounds = mask.getbbox()
        if bounds is None:
            return mask
        part = mask.crop(bounds)
        patch = paint.crop(bounds) if isinstance(paint, Image.Image) else paint
        self.image.paste(patch, bounds, part)
        self.alpha.paste(255, bounds, part)
        if depth > 0:
            radius = self._coarse(reach)
            soft = _softened(mask, radius * 0.6)
            shift = round(radius * 0.55)
            dark = ImageChops.invert(ImageChops.offset(soft, -shift, -shift))
            light = ImageChops.invert(ImageChops.offset(soft, shift, shift))
            self._tint(mask, dark, SHADE, depth)
            self._tint(mask, ImageChops.subtract(light, dark), LIGHT, depth * 0.7)
        return mask

    def _tint(self, mask: Mask, amount: Mask, tint: Color, share: float) -> None:
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
        self.image.paste(tint, bounds, overlap(mask.crop(bounds), faded(full, share)))

    def body(self, half: Points, paint: Paint, *shading: float) -> Mask:
        """Paint a smooth, symmetric shape, given by its right half as for `mirrored`."""
        return self.paint(self.blob(mirrored(half)), paint, *shading)

    def line(self, points: Points, width: float, paint: Paint, *shading: float) -> Mask:
        """Paint a smooth line with round ends."""
        return self.paint(self.stroke(points, width), paint, *shading)

    def lines(self, points: Points, width: float, paint: Paint, *shading: float) -> None:
        """Paint a line and its mirror image; the points are given as for `beside`."""
        for side in BOTH:
            self.line(beside(side, points), width, paint, *shading)

    def disc(self, x: float, y: float, r: float, paint: Paint, *shading: float) -> Mask:
        """Paint a circle."""
        return self.paint(self.oval(x - r, y - r, x + r, y + r), paint, *shading)

    def tube(self, mask: Mask, x0: float, x1: float, gloss: float = 0.45) -> None:
        """Shade the mask as an upright cylinder between x0 and x1, with one vertical highlight."""
        x = (pixel_grid(self.side)[0] - x0) / (x1 - x0)
        edge = np.clip(np.abs(x - 0.42) / 0.58, 0, 1) ** 2.2
        shine = np.exp(-(((x - 0.24) / 0.06) ** 2)) + 0.35 * np.exp(-(((x - 0.3) / 0.16) ** 2))
        for values, tint, share in ((edge, SHADE, 0.55), (shine, LIGHT, gloss)):
            row = Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))
            self._tint(mask, row, tint, share)

    def crease(
        self, mask: Mask, points: Points, width: float, dark: float = 0.3, light: float = 0.2
    ) -> None:
        """A soft fold along the points: dark, with a lit edge beside it."""
        radius = self._coarse(width)
        soft = _softened(self.stroke(points, width), radius * 0.7)
        shift = max(1, round(radius * 0.9))
        self._tint(mask, ImageChops.offset(soft, -shift, -shift // 2), LIGHT, light)
        self._tint(mask, soft, SHADE, dark)

    def creases(self, mask: Mask, points: Points, width: float, *shading: float) -> None:
        """A fold and its mirror image; the points are given as for `beside`."""
        for side in BOTH:
            self.crease(mask, beside(side, points), width, *shading)

    def gleam(self, mask: Mask, points: Points, share: float = 0.35, blur: float = 1) -> None:
        """A white reflection with soft edges, kept inside the mask."""
        self._tint(mask, _softened(self.polygon(points), self._coarse(blur)), LIGHT, share)

    def shadow(self, mask: Mask, caster: Mask, share: float = 0.4) -> None:
        """What `caster` throws on the mask: soft, to the lower right."""
        radius = self._coarse(1.6)
        soft = _softened(caster, radius)
        self._tint(mask, ImageChops.offset(soft, round(radius), round(radius)), SHADE, share)
