"""Which row of a table describes which photo: by path, file name, or file name without suffix."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from pipeline.sources.walk import path_text

_NAMINGS: tuple[Callable[[Path], str], ...] = (
    lambda photo: path_text(photo.as_posix()),
    lambda photo: path_text(photo.name),
    lambda photo: path_text(photo.stem),
)


def match_rows(keys: Collection[str], photos: Iterable[Path]) -> dict[Path, str]:
    """Photo → the key of its row, each given to at most one photo, the first.

    What is written alike goes first: by path, then by name, then by stem. Of what is left, names
    meet that are alike once they are normalized (`normalized`), if only one photo and only one key
    is.

        match_rows(["a.jpg"], [Path("p/A.JPG")])  # {Path("p/A.JPG"): "a.jpg"}
    """
    photos = list(photos)
    matched: dict[Path, str] = {}
    for match in (_written_alike, _alike):
        for naming in _NAMINGS:
            used = set(matched.values())
            names = [(naming(photo), photo) for photo in photos if photo not in matched]
            matched |= match(names, [key for key in keys if key not in used])
    return matched


def _written_alike(names: list[tuple[str, Path]], keys: list[str]) -> dict[Path, str]:
    first = {name: photo for name, photo in reversed(names) if name}
    return {first[key]: key for key in keys if key in first}


def _alike(names: list[tuple[str, Path]], keys: list[str]) -> dict[Path, str]:
    photos, rows = defaultdict(list), defaultdict(list)
    for name, photo in names:
        photos[normalized(name)].append(photo)
    for key in keys:
        rows[normalized(key)].append(key)
    return {
        photos[name][0]: rows[name][0]
        for name in photos.keys() & rows.keys()
        if name and len(photos[name]) == len(rows[name]) == 1
    }


def normalized(name: str) -> str:
    r"""Return what names have in common that mean one file on another system.

    The letters as macOS and as others write them (Unicode's NFC), large and small ones, and the
    slashes of Windows: `.\Caf\u00c9\1.JPG` and `cafe\u0301/1.jpg` are one.
    """
    name = unicodedata.normalize("NFC", name.strip().replace("\\", "/")).casefold()
    return unicodedata.normalize("NFC", name).removeprefix("./").lstrip("/")
