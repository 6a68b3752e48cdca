"""The paint of the sample: colors, and the patterns of fabrics, flat or around a tube."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Tube = tuple[float, float, float]
"""An upright cylinder: the x of its axis, its radius, and how far its pattern sags in front."""
Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

PRODUCT_COLORS: dict[str, Color] = {
    "red": (200, 40, 48), "orange": (240, 118, 38), "mustard": (222, 172, 52),
    "olive": (116, 120, 54), "teal": (22, 132, 132), "sky blue": (116, 182, 228),
    "navy": (34, 48, 98), "purple": (118, 70, 152), "pink": (238, 142, 170),
    "brown": (122, 80, 52), "charcoal": (62, 64, 70), "cream": (240, 230, 206),
}  # fmt: skip
INK: Color = (38, 36, 42)
STEEL: Color = (186, 190, 196)
GOLD: Color = (205, 165, 92)
PAPER: Color = (246, 241, 228)
CHALK: Color = (244, 243, 240)
WOODS: tuple[Color, ...] = ((176, 126, 82), (133, 90, 58), (205, 164, 116))
SHADE: Color = (22, 16, 30)
LIGHT: Color = (255, 255, 255)
DUSTY: tuple[Color, ...] = ((184, 204, 220), (190, 208, 190), (240, 210, 200), (178, 190, 202),
                            (206, 190, 214))  # fmt: skip
PASTELS: tuple[Color, ...] = ((247, 226, 222), (222, 234, 245), (226, 240, 228), (247, 239, 218),
                              (234, 228, 244), (216, 238, 238))  # fmt: skip
GRAYS: tuple[Color, ...] = ((236, 237, 239), (226, 227, 230), (214, 217, 222))


def mix(first: Color, second: Color, share: float) -> Color:
    """Return the color that is `share` (0 to 1) of the way from `first` to `second`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def is_dark(color: Color) -> bool:
    """Whether light ink shows on the color better than dark ink does."""
    return sum(color) < 400


@cache
def pixel_grid(side: int) -> tuple[Floats, Floats]:
    """Return the pixels' x as (1, side) and y as (side, 1), in units of a square of side 100."""
    line = (np.arange(side, dtype=np.float32) + 0.5) * np.float32(100 / side)
    return line[None, :], line[:, None]


@dataclass(frozen=True)
class Pattern:
    """A kind of pattern and its proportions, which differ between products."""

    kind: str
    period: float
    angle: float
    duty: float

    @classmethod
    def choose(cls, kind: str, rng: random.Random) -> Pattern:
        """Choose the proportions of a pattern at random."""
        period = rng.uniform(0.85, 1.3)
        angle = rng.choice((0.0, 90.0, 90.0, rng.uniform(20, 70)))
        return cls(kind, period, angle, rng.uniform(0.32, 0.5))

    def weave(
        self, side: int, base: Color, accent: Color, turn: float, tube: Tube | None
    ) -> Image.Image:
        """Draw the pattern in two colors, RGB, `side` pixels square, turned by degrees."""
        x, y = pixel_grid(side)
        if tube is not None:
            axis, radius, sag = np.array(tube, np.float32)
            across = np.clip((x - axis) / radius, -0.999, 0.999)
            x = axis + radius * np.arcsin(across)
            y = y - sag * np.sqrt(1 - across**2)
        angle = math.radians(turn + (self.angle if self.kind == "stripes" else 0))
        turned = (math.cos(angle) / self.period, math.sin(angle) / self.period)
        cos, sin = np.array(turned, np.float32)
        x, y = x - np.float32(50), y - np.float32(50)
        weights = np.clip(self._weights(x * cos + y * sin, y * cos - x * sin), 0, 1)
        mask = Image.fromarray((weights * np.float32(255)).astype(np.uint8))
        over, under = (Image.new("RGB", mask.size, color) for color in (accent, base))
        return Image.composite(over, under, mask)

    def _weights(self, u: Floats, v: Floats) -> Floats:
        """Return how much of the accent the pattern shows at (u, v), about 0 to 1."""
        weights: NDArray[np.bool_] | NDArray[np.floating]
        if self.kind == "stripes":
            weights = u / 9 % 1 < self.duty
        elif self.kind == "checks":
            weights = 0.42 * (u / 9 % 1 < 0.5) + 0.42 * (v / 9 % 1 < 0.5)
        elif self.kind == "dots":
            du, dv = (u / 9 + np.floor(v / 6) * 0.5) % 1 - 0.5, v / 6 % 1 - 0.5
            weights = (du * 9) ** 2 + (dv * 6) ** 2 < 3.6
        elif self.kind == "zigzag":
            weights = (v + np.abs(u / 10 % 1 - 0.5) * 10) / 9 % 1 < self.duty
        else:
            weights = np.clip((v + 34) / 80, 0, 1) ** 1.3
        return np.asarray(weights, np.float32)
