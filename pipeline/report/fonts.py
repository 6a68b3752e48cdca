"""Fonts for drawn text: Pillow's own for Latin, the system's for every other script."""

from __future__ import annotations

import io
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FOLDERS = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("~/AppData/Local/Microsoft/Windows/Fonts", "C:/Windows/Fonts"),
}
_UNIX_FOLDERS = ("~/.local/share/fonts", "~/.fonts", "/usr/local/share/fonts", "/usr/share/fonts")
_SUFFIXES = (".ttf", ".otf", ".ttc")
_STYLES = ("bold", "italic", "oblique", "light", "black", "thin")
_ORNAMENTS = ("So", "Sk", "Cf", "Cn", "Co")  # Unicode's categories of emoji and what joins them
_NONE = Path()  # where no font has a character
_NO_VARIANTS = dict.fromkeys(map(ord, "\ufe0e\ufe0f\u20e3"))  # which ask for a look of an emoji


class Run(NamedTuple):
    """A part of a line that one font draws."""

    text: str
    font: Font


def runs(text: str, size: int) -> list[Run] | None:
    """Return the parts of a line, each with a font `size` pixels high that has its characters.

    Emoji and the like that no font has are left out. None if this machine has no font for one of
    the letters, so that nobody sees a row of empty boxes.

        line = runs("Black shirt", 14) or runs("k-17", 14)
    """
    parts: list[tuple[str, Path | None]] = []
    for character in " ".join(text.translate(_NO_VARIANTS).split()):
        current = parts[-1][1] if parts else None
        fonts = (current, None, *_system_fonts()) if character != " " else (current,)
        file = next((f for f in fonts if character == " " or character in _characters(f)), _NONE)
        if file == _NONE:
            if unicodedata.category(character) not in _ORNAMENTS:
                return None
            continue
        if parts and file == current:
            parts[-1] = (parts[-1][0] + character, file)
        else:
            parts.append((character, file))
    return [Run(part, _font(file, size)) for part, file in parts]


@cache
def _font(file: Path | None, size: int) -> Font:
    return ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)


@cache
def _characters(file: Path | None) -> frozenset[str]:
    """The characters that a font has; none if it cannot be read. None is Pillow's own font."""
    from fontTools.ttLib import TTFont, TTLibError

    source = file if file is not None else io.BytesIO(_default_bytes())
    try:
        with TTFont(source, lazy=True, fontNumber=0) as font:
            return frozenset(map(chr, font.getBestCmap() or ()))
    except (OSError, TTLibError, ValueError, KeyError, AssertionError):
        return frozenset()


def _default_bytes() -> bytes:
    font = ImageFont.load_default(12)
    return font.font_bytes if isinstance(font, ImageFont.FreeTypeFont) else b""


@cache
def _system_fonts() -> tuple[Path, ...]:
    """The fonts of this machine; regular ones first, those for Latin and many others before."""
    found = (path for folder in _folders() for path in folder.rglob("*") if _is_font(path))
    return tuple(sorted(found, key=_order))


def _folders() -> Iterator[Path]:
    for name in _FOLDERS.get(sys.platform, _UNIX_FOLDERS):
        try:
            folder = Path(name).expanduser()
        except RuntimeError:  # no home
            continue
        if folder.is_dir():
            yield folder


def _is_font(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES


def _order(path: Path) -> tuple[bool, bool, str]:
    """Upright sans serif of normal weight before others."""
    name = path.stem.lower()
    is_styled = any(
        word in name for word in ("bold", "italic", "oblique", "light", "black", "thin")
    )
    return is_styled, "sans" not in name or "mono" in name, path.name
