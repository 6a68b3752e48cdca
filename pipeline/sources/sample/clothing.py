"""Shirts, dresses and shoes: random choices → a shaded product."""

from __future__ import annotations

import numpy as np

from pipeline.sources.sample.paint import CHALK, GOLD, INK, SHADE, mix
from pipeline.sources.sample.pen import BOTH, Pen, Points, beside, overlap


def shirt(pen: Pen) -> None:
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
    for side in BOTH:
        sleeve = pen.blob(beside(side, arm))
        pen.paint(sleeve, pen.fabric(turn=-side * (14 if long else 36)), depth=0.45)
        pen.crease(sleeve, beside(side, cuff), 0.7, 0.35)
        pen.crease(sleeve, beside(side, [(23, 40), (29, 36 if long else 33)]), 1.6)
    half: Points = ((0, dip), (6, dip - 4), (9, 13, 1), (22, 18.5))
    if cut == "v":
        half = ((0, dip, 1), (9, 13, 1), (22, 18.5))
    sides = ((23, 36), (22, 60), (hip, hem, 1), (0, hem + 1.5))
    torso = pen.body([*half, *sides], pen.fabric(), 0.42)
    for _ in range(4):
        x, y, lean = rng.uniform(32, 68), rng.uniform(45, 70), rng.uniform(-8, 8)
        pen.crease(torso, [(x, y), (x + lean / 2, y + 9), (x + lean, y + 18)], 2.2, 0.16, 0.12)
    pen.crease(torso, [(50 - hip, hem - 2.6), (50, hem - 1.2), (50 + hip, hem - 2.6)], 0.6, 0.3)
    trim = rng.choice((pen.color, pen.accent)) if pen.pattern.kind == "plain" else pen.color
    if cut in ("crew", "v"):
        neck: Points = [(41, 13), (44, dip - 4), (50, dip), (56, dip - 4), (59, 13)]
        if cut == "v":
            neck = [(41, 13), (50, dip, 1), (59, 13)]
        pen.line(neck, 2.6, mix(trim, SHADE, 0.12), 0.3, 2)
        return
    end = 42.0 if cut == "polo" else hem
    placket = overlap(pen.box(47.4, dip - 3, 52.6, end), torso)
    pen.paint(placket, pen.fabric(dim=0.06), depth=0.35, reach=2)
    for y in np.arange(dip + 5, end - 2, 8 if cut == "polo" else 10).tolist():
        pen.disc(50, y, 1, CHALK, 0.5, 1)
    for side in BOTH:
        flap = beside(side, [(0.2, dip - 1), (8.6, 11), (11.5, 15), (6.5, 27)])
        pen.paint(pen.polygon(flap), pen.fabric(turn=side * 40, dim=0.04), depth=0.5, reach=3)


def dress(pen: Pen) -> None:
    """A dress with a fitted waist, straps or sleeves, and a skirt from straight to wide."""
    rng = pen.rng
    flare, hem, waist = rng.uniform(20, 36), rng.uniform(82, 95), rng.uniform(40, 46)
    sleeve = rng.choice(("straps", "straps", "cap", "long"))
    if sleeve == "straps":
        pen.lines([(9, 6), (10, 20)], 2.6, mix(pen.color, SHADE, 0.1), 0.3, 2)
        top: Points = ((0, 19), (7, 15), (12, 16, 1), (14.5, 25))
    else:
        pen.paint(pen.oval(42.5, 4.6, 57.5, 15), pen.fabric(dim=0.45), depth=0.2)
        tip = (23, 27, 15, 29) if sleeve == "cap" else (27, 56, 20, 58)
        arm = ((8, 7, 1), (15.5, 10), (tip[0], tip[1], 1), (tip[2], tip[3], 1), (12, 24))
        for side in BOTH:
            pen.paint(pen.blob(beside(side, arm)), pen.fabric(turn=-side * 24), depth=0.45)
        top = ((0, 15), (5, 12), (8, 7, 1), (15, 10), (14, 25))
    bodice = pen.body([*top, (11, waist, 1), (0, waist + 1)], pen.fabric(), 0.4)
    pen.creases(bodice, [(7, waist), (6.5, waist - 12)], 1, 0.25)
    wave = ((flare, hem, 1), (flare * 0.7, hem + 1.6), (flare * 0.35, hem + 1), (0, hem + 2))
    hip = ((11, waist, 1), (flare * 0.55 + 5, waist + (hem - waist) * 0.35))
    skirt = pen.body([(0, waist - 0.5), *hip, *wave], pen.fabric(), 0.42, 6)
    for fold in np.linspace(-0.75, 0.75, rng.choice((5, 6, 7))).tolist():
        low = 50 + flare * fold + rng.uniform(-1, 1)
        middle = 50 + (flare * 0.5 + 4) * fold
        end = hem - rng.uniform(0, 6)
        pen.crease(skirt, [(50 + 9 * fold, waist + 3), (middle, (waist + hem) / 2), (low, end)], 2)
    if rng.random() < 0.6:
        belt = pen.box(38.6, waist - 2, 61.4, waist + 2, 1)
        dark = mix(pen.accent if rng.random() < 0.5 else pen.color, SHADE, 0.35)
        pen.paint(belt, dark, depth=0.5, reach=2)


def shoe(pen: Pen) -> None:
    """A shoe from the side: a trainer, an ankle boot or a court shoe with a heel."""
    pen.rng.choice((_trainer, _trainer, _boot, _court_shoe))(pen)


def _trainer(pen: Pen) -> None:
    rng = pen.rng
    collar, sole = rng.uniform(34, 40), rng.choice((CHALK, CHALK, (226, 196, 150), INK))
    inner = pen.blob([(15, collar + 2), (27, collar + 1), (42, collar - 4), (42, 50), (20, 52)])
    pen.paint(inner, mix(pen.color, SHADE, 0.6), depth=0.2)
    tongue = pen.blob([(36, collar - 4), (43, collar - 8), (56, 50), (44, 52)])
    pen.paint(tongue, mix(pen.accent, SHADE, 0.05), depth=0.4, reach=3)
    back = ((12, collar, 1), (20, collar + 9), (32, collar + 9), (41, collar - 1, 1))
    front = ((52, 48), (66, 57), (84, 61), (93, 70), (93, 77, 1), (10, 77, 1), (12, 58))
    upper = pen.paint(pen.blob([*back, *front]), pen.fabric(), depth=0.5, reach=7)
    toe = overlap(pen.oval(77, 58, 108, 92), upper)
    trim = mix(pen.color, sole, 0.75) if rng.random() < 0.5 else mix(pen.color, SHADE, 0.25)
    pen.paint(toe, trim, depth=0.5, reach=4)
    heel = overlap(pen.blob([(6, 50), (16, 50), (21, 62), (22, 80), (6, 80)]), upper)
    pen.paint(heel, trim, depth=0.4, reach=4)
    if rng.random() < 0.65:
        swoosh = [(26, 70), (40, 70), (54, 60), (50, 66), (40, 74), (30, 74)]
        pen.paint(overlap(pen.blob(swoosh), upper), pen.accent, depth=0.15, reach=2)
    for step in range(5):
        x, y = 44 + step * 5.2, collar + 4 + step * (57 - collar) * 0.16
        pen.line([(x, y), (x + 2, y + 3), (x + 0.6, y + 7)], 1.7, CHALK, 0.5, 1.5)
    tip = ((50, 76), (95, 73, 1), (96, 79), (92, 84), (84, 85))
    base = pen.blob([(8, 74, 1), *tip, (18, 85), (10, 83), (7, 79)])
    pen.paint(base, sole, depth=0.45, reach=4)
    pen.crease(base, [(9, 80), (50, 81), (94, 79)], 0.8, 0.3, 0)


def _boot(pen: Pen) -> None:
    rng = pen.rng
    top = rng.uniform(8, 26)
    pen.paint(pen.oval(19, top - 3, 49, top + 4), mix(pen.color, SHADE, 0.6), depth=0.2)
    shaft = ((19, top, 1), (34, top + 3), (49, top, 1), (49, 42), (58, 56), (78, 62), (91, 72))
    boot = pen.blob([*shaft, (92, 80, 1), (15, 80, 1), (15, 66), (20, 46)])
    pen.paint(boot, pen.fabric(), depth=0.55, reach=8)
    gore = overlap(pen.polygon([(29, top + 2), (41, top + 2), (38, 46), (32, 46)]), boot)
    if rng.random() < 0.5:
        pen.paint(gore, mix(pen.color, INK, 0.65), depth=0.3, reach=2)
    else:
        for y in np.arange(top + 8, 56, 6).tolist():
            bend = max(0.0, y - 42) * 0.55
            pen.line([(41 + bend, y + 2), (49 + bend, y)], 1.7, CHALK, 0.5, 1.5)
    pen.crease(boot, [(30, 56), (44, 62), (58, 60)], 1.4, 0.3)
    pen.gleam(boot, [(70, 63), (84, 68), (86, 71), (70, 66)], 0.5)
    sole = pen.polygon([(14, 79), (93, 79), (93, 84), (40, 84), (36, 90), (14, 90)])
    pen.paint(sole, rng.choice((INK, (92, 64, 44))), depth=0.4, reach=2)


def _court_shoe(pen: Pen) -> None:
    heel = pen.rng.uniform(0, 12)
    stem = [(12, 50 - heel), (24, 58 - heel), (19, 88), (15, 88)]
    pen.paint(pen.polygon(stem), mix(pen.color, SHADE, 0.25), depth=0.5, reach=3)
    inside = pen.blob([(13, 40 - heel), (30, 46 - heel), (58, 70), (66, 66), (60, 78), (24, 60)])
    pen.paint(inside, mix(pen.color, SHADE, 0.2), depth=0.3)
    back = ((11, 38 - heel, 1), (24, 53 - heel), (42, 68 - heel * 0.4), (56, 72), (70, 65, 1))
    toe = ((84, 73), (96, 84), (95, 88, 1), (66, 88, 1), (54, 83), (36, 68 - heel * 0.5))
    upper = pen.blob([*back, *toe, (24, 60 - heel), (11, 52 - heel)])
    pen.paint(upper, pen.fabric(), depth=0.5, reach=6)
    pen.gleam(upper, [(72, 70), (84, 77), (82, 80), (70, 73)], 0.7)
    sole = [(36, 68.5 - heel * 0.5), (54, 84), (66, 88.4), (95, 88.4)]
    pen.line(sole, 1.2, INK, 0)
    if pen.rng.random() < 0.4:
        pen.paint(pen.oval(66, 63, 74, 69), GOLD, depth=0.6, reach=2)
