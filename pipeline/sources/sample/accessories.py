"""Bags, watches, headphones and sunglasses: random choices → a shaded product."""

from __future__ import annotations

import math
from functools import reduce

from PIL import Image, ImageChops

from pipeline.sources.sample.paint import CHALK, GOLD, INK, PAPER, SHADE, STEEL, is_dark, mix
from pipeline.sources.sample.pen import BOTH, Pen, Points, beside, mirrored, overlap, smooth


def bag(pen: Pen) -> None:
    """A tote, a handbag with a flap, or a backpack."""
    pen.rng.choice((_tote, _handbag, _backpack))(pen)


def _tote(pen: Pen) -> None:
    rng = pen.rng
    top, low, rise = rng.uniform(24, 30), rng.uniform(26, 34), rng.uniform(6, 16)
    leather = rng.choice((mix(pen.color, SHADE, 0.4), (128, 84, 54), pen.accent))
    arch = [(38, 46), (39, rise + 8), (50, rise), (61, rise + 8), (62, 46)]
    pen.line([(x + 1.5, y - 3) for x, y in arch], 2.6, mix(leather, SHADE, 0.4), 0.3)
    half = ((0, 37), (top, 36, 1), (low, 88, 1), (low - 1.5, 92, 1), (0, 93))
    body = pen.body(half, pen.fabric(), 0.45, 8)
    pen.crease(body, [(50 - top, 41), (50, 42), (50 + top, 41)], 0.7, 0.35)
    handle = pen.stroke(arch, 2.8)
    pen.shadow(body, handle)
    pen.paint(handle, leather, depth=0.5, reach=2)
    for x in (38, 62):
        pen.paint(pen.box(x - 2.6, 43, x + 2.6, 51, 0.8), leather, depth=0.4, reach=2)
    pen.creases(body, [(top - 5, 56), (low - 8, 86)], 2.4, 0.2)


def _handbag(pen: Pen) -> None:
    rng = pen.rng
    wide, rise, metal = rng.uniform(32, 38), rng.uniform(8, 20), rng.choice((GOLD, STEEL))
    arch = [(30, 44), (33, rise + 7), (50, rise), (67, rise + 7), (70, 44)]
    pen.line(arch, 4.2, mix(pen.color, SHADE, 0.3), 0.6, 3)
    half = ((0, 38), (wide - 6, 38), (wide - 3, 42), (wide, 82), (wide - 4, 88), (0, 89))
    body = pen.body(half, pen.fabric(), 0.5, 8)
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
        pen.disc(x, 44, 3, metal, 0.6, 2)


def _backpack(pen: Pen) -> None:
    rng = pen.rng
    wide, trim = rng.uniform(26, 30), rng.choice((pen.accent, mix(pen.color, SHADE, 0.35)))
    pen.line([(43, 14), (44, 6), (50, 4), (56, 6), (57, 14)], 3, trim, 0.5, 2)
    strap = ((wide - 8, 24), (wide + 7, 40), (wide + 3, 84))
    pen.lines(strap, 4.5, mix(pen.color, SHADE, 0.5), 0.4, 3)
    top = ((0, 9), (wide - 10, 12), (wide - 1, 28))
    half = [*top, (wide + 1, 60), (wide, 88), (wide - 6, 94), (0, 95)]
    body = pen.body(half, pen.fabric(), 0.5, 9)
    zip_line = mirrored([(0, 17), (wide - 12, 20), (wide - 6, 34), (wide - 5, 50)])
    pen.crease(body, zip_line[4:] + zip_line[:4], 0.7, 0.5, 0.25)
    top = ((0, 56), (wide - 7, 56), (wide - 5, 59))
    pocket = pen.blob(mirrored([*top, (wide - 5, 84), (wide - 8, 88), (0, 88.5)]))
    pen.shadow(body, pocket)
    pen.paint(pocket, pen.fabric(dim=0.06), depth=0.5, reach=5)
    pen.paint(overlap(pen.box(20, 61, 80, 62.6), pocket), mix(trim, INK, 0.3), depth=0.2, reach=1)
    pen.paint(pen.box(36, 61, 38.4, 68, 1), STEEL, depth=0.5, reach=1)
    pen.paint(pen.box(44, 32, 56, 40, 1.5), trim, depth=0.4, reach=2)


def watch(pen: Pen) -> None:
    """A wristwatch from the front, round or square, on a strap."""
    rng = pen.rng
    r, wide = rng.uniform(19, 23), rng.uniform(11, 13.5)
    metal = rng.choice((GOLD, STEEL, STEEL, INK))
    end, edge = wide * 0.72, wide * 0.8
    upper, lower = ((0, 9), (end, 9), (edge, 12)), ((edge, 89), (end, 92), (0, 92))
    half = [*upper, (wide, 36, 1), (wide, 64, 1), *lower]
    strap = pen.body(half, pen.fabric(), 0.55, 4)
    seam = [(wide * 0.66, 12), (wide * 0.82, 36)]
    for points in (seam, [(x, 100 - y) for x, y in seam]):
        pen.creases(strap, points, 0.5, 0.35, 0.25)
    for y in (76.0, 80.0, 84.0):
        pen.disc(50, y, 0.9, mix(pen.color, INK, 0.8), 0)
    square = rng.random() < 0.35
    pen.paint(pen.box(48 + r, 47, 54 + r, 53, 1), metal, depth=0.6, reach=2)

    def face(size: float) -> Image.Image:
        corners = (50 - size, 50 - size, 50 + size, 50 + size)
        return pen.box(*corners, 5) if square else pen.oval(*corners)

    r -= 2 * square
    case = face(r)
    pen.shadow(strap, case, 0.6)
    pen.paint(case, metal, depth=0.7, reach=3.5)
    dial = rng.choice((CHALK, PAPER, mix(pen.color, INK, 0.35), (28, 30, 38)))
    plate = pen.paint(face(r - 3), dial, depth=0.3, reach=3)
    ink = CHALK if is_dark(dial) else INK
    for hour in range(12):
        long, width = (3.5, 1.5) if hour % 3 == 0 else (2.0, 0.8)
        pen.line(_radius(hour / 12, r - 5 - long, r - 5), width, ink, 0)
    for length, width in ((0.48, 1.8), (0.68, 1.3)):
        pen.line(_radius(rng.random(), -0.1 * r, length * r), width, ink, 0)
    pen.disc(50, 50, 1.4, rng.choice((metal, (200, 60, 50))), 0)
    pen.gleam(plate, [(30, 50), (52, 28), (60, 30), (34, 58)], 0.22, 0.8)


def _radius(turn: float, near: float, far: float) -> list[tuple[float, float]]:
    """The part of a clock hand between two distances from the middle, `turn` of 1 past twelve."""
    x, y = math.sin(2 * math.pi * turn), -math.cos(2 * math.pi * turn)
    return [(50 + x * near, 50 + y * near), (50 + x * far, 50 + y * far)]


def headphones(pen: Pen) -> None:
    """Over-ear headphones from the front."""
    rng = pen.rng
    wide, top, drop = rng.uniform(27, 31), rng.uniform(8, 14), rng.uniform(56, 62)
    band: list[tuple[float, float]]
    band = [(50 - wide, drop), (50 - wide + 1, drop - 22), (50 - wide * 0.62, top + 6), (50, top)]
    band += [(100 - x, y) for x, y in reversed(band[:-1])]
    trim = rng.choice((INK, STEEL, mix(pen.color, SHADE, 0.5)))
    pen.line(band, 6.5, pen.fabric(), 0.6, 3)
    pad = [(50 + (x - 50) * 0.9, y + 4.4) for x, y in band[2:-2]]
    pen.line(pad, 4, mix(trim, INK, 0.4), 0.5, 2)
    tall, thick = rng.uniform(15, 18), rng.uniform(8.5, 11)
    slider = STEEL if trim != STEEL else INK
    for side in BOTH:
        x = 50 + side * wide
        pen.line([(x, drop - 18), (x, drop - 4)], 3.4, slider, 0.6, 2)
        inner, outer = x - side * thick * 1.05, x + side * thick * 0.15
        ear = pen.box(inner, drop - tall + 2, outer, drop + tall - 2, 4)
        pen.paint(ear, mix(trim, INK, 0.55), depth=0.6, reach=3)
        near, far = x - side * thick * 0.3, x + side * thick
        upper = [(near, -tall, 1), (x + side * 4, -tall), (far, -tall * 0.5)]
        lower = [(px, -py, *rest) for px, py, *rest in reversed(upper)]
        shell = [*upper, (far + side, 0), *lower]
        cup = pen.blob([(px, py + drop, *rest) for px, py, *rest in shell])
        pen.paint(cup, pen.fabric(), depth=0.6, reach=5)
        pen.paint(overlap(pen.box(near, 0, near + side * 2, 100), cup), trim, 0.3, 1)
        shine = [(1.5, 4 - tall), (3.5, 4 - tall), (3.5, 0), (1.5, 0)]
        pen.gleam(cup, [(x + px, drop + py) for px, py in shine], 0.4)


def sunglasses(pen: Pen) -> None:
    """Sunglasses from the front: square, round, cat-eye or aviator, arms folded behind."""
    rng = pen.rng
    shape = rng.choice(tuple(LENSES))
    lens, rim = LENSES[shape], rng.uniform(1.17, 1.26) - 0.06 * (shape == "aviator")
    tint = rng.choice(((40, 38, 44), (66, 46, 36), (38, 56, 60), mix(pen.color, INK, 0.45)))
    spread, reach = rng.uniform(28, 40), rng.uniform(12, 22)
    arm = ((42, 43), (spread, reach + 6), (spread - 4, reach))
    pen.lines(arm, 2.8, mix(pen.color, SHADE, 0.25), 0.5, 2)

    def pane(side: int, size: float) -> Image.Image:
        outline = [(24 + x * size, 50 + y * size, *rest) for x, y, *rest in lens]
        return pen.blob(beside(side, outline))

    frame = [pane(side, rim) for side in BOTH]
    frame += [pen.stroke(beside(side, [(38, 41), (43, 41.5)]), 5) for side in BOTH]
    frame.append(pen.stroke([(42, 45), (50, 42), (58, 45)], 4 if shape != "aviator" else 2.6))
    if shape == "aviator":
        frame.append(pen.stroke([(38, 37.5), (50, 37), (62, 37.5)], 2.4))
    pen.paint(reduce(ImageChops.lighter, frame), pen.fabric(), depth=0.6, reach=2.5)
    for side in BOTH:
        glass = pane(side, 1)
        pen.paint(glass, tint, depth=0.15, reach=2)
        x = 50 + side * 24
        pen.gleam(glass, [(x - 20, 70), (x + 20, 70), (x + 20, 50), (x - 20, 56)], 0.28, 7)
        pen.gleam(glass, [(x - 10, 56), (x - 2, 38), (x + 3, 38), (x - 5, 56)], 0.3, 0.8)


LENSES: dict[str, Points] = {
    "square": ((-16, -11), (0, -12), (16, -12.5), (17, -6), (13, 9), (5, 12), (-8, 12), (-15, 6)),
    "round": ((0, -14), (10, -10), (14, 0), (10, 10), (0, 14), (-10, 10), (-14, 0), (-10, -10)),
    "cat-eye": ((-15, -8), (0, -11), (19, -14, 1), (16, 2), (8, 10), (-6, 11), (-14, 4)),
    "aviator": ((-15, -10), (0, -12), (15, -11), (17, -4), (12, 10), (4, 15), (-6, 12), (-14, 0)),
}
