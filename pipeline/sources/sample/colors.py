"""The colors of the sample: of products, of materials, and of backgrounds."""

from __future__ import annotations

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
