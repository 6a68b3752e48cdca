"""Which row of a table describes which photo: by path, file name, or file name without suffix."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

from pipeline.sources.walk import path_text

T = TypeVar("T")

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
    for naming in _NAMINGS:
        used = set(matched.values())
        for photo in photos:
            key = naming(photo)
            if photo not in matched and key and key in keys and key not in used:
                matched[photo] = key
                used.add(key)
    for naming in _NAMINGS:
        used = set(matched.values())
        rest = [photo for photo in photos if photo not in matched]
        by_name = _grouped(rest, lambda photo: normalized(naming(photo)))  # noqa: B023
        by_key = _grouped((key for key in keys if key not in used), normalized)
        for name in by_name.keys() & by_key.keys():
            if name and len(by_name[name]) == len(by_key[name]) == 1:
                matched[by_name[name][0]] = by_key[name][0]
    return matched


def normalized(name: str) -> str:
    r"""Return what names have in common that mean one file on another system.

    The letters as macOS and as others write them (Unicode's NFC), large and small ones, and the
    slashes of Windows: `.\Caf\u00c9\1.JPG` and `cafe\u0301/1.jpg` are one.
    """
    name = unicodedata.normalize("NFC", name.strip().replace("\\", "/")).casefold()
    return unicodedata.normalize("NFC", name).removeprefix("./").lstrip("/")


def _grouped(things: Iterable[T], name: Callable[[T], str]) -> dict[str, list[T]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for thing in things:
        groups[name(thing)].append(thing)
    return groups
