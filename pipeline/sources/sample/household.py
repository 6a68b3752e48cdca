"""Mugs, bottles, lamps, chairs and books: random choices → a shaded product."""

from __future__ import annotations

import numpy as np
from PIL import ImageDraw, ImageFont

from pipeline.sources.sample.paint import CHALK, GOLD, INK, PAPER, SHADE, STEEL, WOODS, is_dark, mix
from pipeline.sources.sample.pen import BOTH, Pen, Points, mirrored, overlap


def mug(pen: Pen) -> None:
    """A mug with its handle on the right; tapered, straight or bellied."""
    rng = pen.rng
    mouth, waist, foot = rng.uniform(21, 25), rng.uniform(20, 27), rng.uniform(16, 23)
    top, low, axis = rng.uniform(18, 28), 86.0, 43.0
    grip = axis + (mouth + waist) / 2
    y0, y1 = top + 12, rng.uniform(64, 74)
    loop = ((-4, y0), (12, y0 - 2), (19, (y0 + y1) / 2), (10, y1), (-5, y1))
    handle = [(grip + x, y) for x, y in loop]
    pen.line(handle, 6, mix(pen.color, SHADE, 0.08), 0.65, 3.5)
    half: Points = ((0, top), (mouth, top, 1), (waist, (top + low) / 2), (foot + 1, low - 5))
    outline = mirrored([*half, (foot - 2, low + 1), (0, low + 4)])
    side, r = pen.blob([(x + axis - 50, *rest) for x, *rest in outline]), max(mouth, waist)
    pen.paint(side, pen.fabric(tube=(axis, r, 5)), depth=0.15, reach=5)
    pen.tube(side, axis - r, axis + r)
    rim = pen.oval(axis - mouth, top - 5.5, axis + mouth, top + 5.5)
    pen.paint(rim, mix(pen.color, CHALK, 0.55), depth=0.25, reach=2)
    hole = pen.oval(axis - mouth + 1.8, top - 4.2, axis + mouth - 1.8, top + 4.6)
    inside = rng.choice((CHALK, mix(pen.color, CHALK, 0.25)))
    pen.paint(hole, mix(inside, SHADE, 0.3), depth=0)
    pen.gleam(hole, [(axis - 5, top + 9), (axis + 24, top + 8), (axis + 24, top - 6)], 0.4, 4)
    if rng.random() < 0.45:
        coffee = overlap(pen.oval(axis - mouth + 3.5, top - 0.6, axis + mouth - 3.5, top + 7), hole)
        pen.paint(coffee, rng.choice(((70, 40, 24), (150, 104, 66))), depth=0.3, reach=3)


def bottle(pen: Pen) -> None:
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
    half = [*half, (r, low - 6), (r - 2, low), (0, low + 2)]
    body = pen.body(half, pen.fabric(tube=(50, r, 2.5)), 0.12, 4)
    pen.tube(body, 50 - r, 50 + r, 0.55)
    wide = 7.5 if kind == "pump" else neck + 0.7
    y0, y1 = {"flask": (5, 19), "wine": (5, 17), "pump": (20, 28)}[kind]
    tip = pen.paint(pen.box(50 - wide, y0, 50 + wide, y1, 1.6), cap, depth=0.1, reach=3)
    pen.tube(tip, 50 - wide, 50 + wide, 0.5)
    if kind == "flask" and rng.random() < 0.5:
        pen.line([(46, 6), (46, 2), (50, 0.8), (54, 2), (54, 6)], 1.8, cap, 0.5, 1.5)
    if rng.random() < 0.55:
        y = rng.uniform(52, 58)
        edge = [(34, y, 1), (50, y + 2), (66, y, 1), (66, y + 20, 1), (50, y + 22), (34, y + 20, 1)]
        label = pen.paint(overlap(pen.blob(edge), body), PAPER, depth=0)
        for line, width in ((5.5, 7.0), (9.5, 4.5), (14, 8.0)):
            words = pen.box(50 - width, y + line + 1.4, 50 + width, y + line + 3.2)
            pen.paint(words, mix(pen.color, INK, 0.4), depth=0)
        pen.tube(label, 50 - r, 50 + r, 0.3)


def lamp(pen: Pen) -> None:
    """A table lamp, lit: a shade over a ceramic, metal or three-legged base."""
    rng = pen.rng
    top, low, edge = rng.uniform(12, 22), rng.uniform(25, 32), rng.uniform(46, 54)
    foot, metal = rng.choice(("ceramic", "rod", "tripod")), rng.choice((GOLD, STEEL, INK))
    pen.paint(pen.box(48.6, 40, 51.4, 90), metal, depth=0.5, reach=2)
    if foot == "ceramic":
        glaze = mix(pen.accent, pen.color, rng.choice((0.0, 1.0)))
        wide = rng.uniform(11, 16)
        half = ((0, 58), (4, 58), (wide, 73), (wide * 0.8, 86), (7, 92, 1), (0, 93))
        vase = pen.body(half, glaze, 0.2)
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
    pen.paint(inner, mix((255, 236, 190), pen.color, 0.25), depth=0.3, reach=3)
    rise = ((0, 6.6), (top * 0.7, 7.4), (top, 10, 1))
    sag = ((low, edge - 1, 1), (low * 0.7, edge + 2.6), (0, edge + 3.4))
    shade = pen.body([*rise, *sag], pen.fabric(tube=(50, low, 3.5)), 0.15)
    pen.tube(shade, 50 - low * 1.04, 50 + low * 1.1, 0.12)
    pen.gleam(shade, mirrored([(top * 0.5, 22), (low * 0.5, edge + 2)]), 0.24, 9)
    for end, middle, reach in ((edge - 1, edge + 2.8, low), (6.8, 7.2, top)):
        rim = [(50 - reach, end), (50, middle), (50 + reach, end)]
        pen.paint(overlap(pen.stroke(rim, 1.3), shade), mix(pen.color, SHADE, 0.3), depth=0)


def chair(pen: Pen) -> None:
    """A dining chair in perspective, or an armchair from the front."""
    pen.rng.choice((_dining_chair, _armchair))(pen)


def _dining_chair(pen: Pen) -> None:
    rng = pen.rng
    wood, top, low = rng.choice((*WOODS, INK)), rng.uniform(5, 12), rng.uniform(36, 46)
    dark = mix(wood, SHADE, 0.3)
    for x0, x1 in ((33, 31), (68, 71)):
        pen.paint(pen.bar((x0, 58), (x1, 86), 3, 2), dark, 0.4, 2)
    for x in (31, 69):
        pen.paint(pen.bar((x, top + 4), (x, 60), 3.2, 3.2), wood, 0.5, 2)
    half: Points = ((0, top + 1), (17, top), (21, top + 4), (20, low - 3), (17, low), (0, low + 1))
    pen.body(half, pen.fabric(), 0.5, 5)
    seat = ((0, 53), (19, 53), (21, 55), (26, 66), (25, 72), (20, 74), (0, 75))
    cushion = pen.body(seat, pen.fabric(), 0.5, 5)
    pen.crease(cushion, [(24, 66.5), (50, 69), (76, 66.5)], 0.8, 0.4, 0.35)
    for x0, x1 in ((28, 25), (72, 75)):
        pen.paint(pen.bar((x0, 73), (x1, 96), 4, 2.6), wood, 0.5, 2)


def _armchair(pen: Pen) -> None:
    rng = pen.rng
    wood, top, wide = rng.choice(WOODS), rng.uniform(12, 24), rng.uniform(33, 37)
    for x in (50 - wide + 6, 50 + wide - 6):
        pen.paint(pen.bar((x, 84), (x, 95), 4.8, 2.6), wood, 0.5, 2)
    half: Points = ((0, top - 1), (wide - 12, top), (wide - 5, top + 5), (wide - 4, 62), (0, 64))
    back = pen.body(half, pen.fabric(dim=0.1), 0.6, 7)
    if rng.random() < 0.5:
        button = mix(pen.color, SHADE, 0.4)
        for x, drop in ((38, 14), (50, 14), (62, 14), (44, 23), (56, 23)):
            y = top + drop
            pen.crease(back, [(x - 4, y - 4), (x, y), (x + 4, y - 4)], 1, 0.2)
            pen.disc(x, y, 1.1, button, 0.4, 1)
    front = pen.box(50 - wide + 3, 66, 50 + wide - 3, 86, 3)
    pen.shadow(back, front, 0.6)
    pen.paint(front, pen.fabric(dim=0.16), depth=0.4, reach=4)
    half = ((0, 55), (wide - 11, 55), (wide - 8, 58), (wide - 7, 68), (wide - 10, 71.5), (0, 72))
    cushion = pen.blob(mirrored(half))
    pen.shadow(front, cushion, 0.6)
    pen.shadow(back, cushion, 0.6)
    pen.paint(cushion, pen.fabric(turn=90), depth=0.6, reach=4)
    roll = rng.uniform(8, 12)
    for side in BOTH:
        inner, outer = 50 + side * (wide - roll), 50 + side * (wide + 2)
        arm = pen.box(inner, 45, outer, 87, 5)
        for part in (back, cushion, front):
            pen.shadow(part, arm, 0.75)
        pen.paint(arm, pen.fabric(turn=side * 7), depth=0.65, reach=5)


def book(pen: Pen) -> None:
    """A closed hardback with its page edges on view, and a title."""
    rng = pen.rng
    x0, x1, thick = rng.uniform(18, 24), rng.uniform(66, 72), rng.uniform(5, 12)
    y0, y1, rise = rng.uniform(14, 20), rng.uniform(84, 92), thick * 0.55
    x2, y2, y3 = x1 + thick, y0 - rise, y1 - rise
    rear = [(x0 + thick, y2 - 1), (x2 + 1, y2 - 1), (x2 + 1, y3 + 1), (x1, y1), (x0, y1), (x0, y0)]
    pen.paint(pen.polygon(rear), mix(pen.color, SHADE, 0.4), depth=0.2)
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
    light = is_dark(pen.color)
    ink = PAPER if light else INK
    y = y0 + rng.choice((8.0, 20.0, 34.0))
    if pen.pattern.kind != "plain" or rng.random() < 0.4:
        plate = pen.box(middle - 17, y - 2, middle + 17, y + 20, 1)
        pen.paint(plate, PAPER if light else mix(pen.color, INK, 0.75), depth=0.15, reach=1)
        ink = mix(pen.color, INK, 0.5) if light else PAPER
    elif y < y0 + 30:
        pen.disc(middle, y + 28, 10, pen.accent, 0.1, 2)
    draw, scale = ImageDraw.Draw(pen.image), pen.side / 100
    for line, word in enumerate(title):
        font = ImageFont.load_default(size=7.2 * scale)
        draw.text((middle * scale, (y + 5 + line * 8.5) * scale), word, ink, font, anchor="mm")
    bar = pen.box(middle - 8, y1 - 7, middle + 8, y1 - 5.6)
    pen.paint(bar, PAPER if light else INK, depth=0)
    pen.gleam(cover, [(x0, y0), (x0 + 24, y0), (x0, y0 + 44)], 0.14, 4)


TITLES = tuple(
    title.split(" ", 1)
    for title in (
        "THE GARDEN", "NORTH SEA", "SMALL HOURS", "ATLAS OF AIR", "LONG WALK",
        "SALT & RYE", "PAPER MOON", "WINTER LIGHT", "RED KITES", "HOUSE OF OAK",
    )
)  # fmt: skip
