"""Writes HEIC and AVIF files of given items, where encoders cannot."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple


class Part(NamedTuple):
    """An item: what it is made of, and its properties as boxes."""

    kind: bytes
    data: bytes
    properties: tuple[bytes, ...]
    made_of: tuple[int, ...] = ()  # items, of which the first is 1
    is_alpha_of: int = 0


def box(kind: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def ispe(width: int, height: int) -> bytes:
    return box(b"ispe", bytes(4), struct.pack(">2I", width, height))


def grid(rows: int, columns: int, width: int, height: int) -> bytes:
    return struct.pack(">4B2H", 0, 0, rows - 1, columns - 1, width, height)


ALPHA = box(b"auxC", bytes(4), b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")


def find_box(data: bytes, kind: bytes, number: int = 0) -> bytes:
    """Cut the box of a type out of a file, by its name."""
    at = -4
    for _ in range(number + 1):
        at = data.index(kind, at + 4 if at >= 0 else 0)
    return data[at - 4 : at - 4 + int.from_bytes(data[at - 4 : at])]


def heif_file(brand: bytes, parts: list[Part], in_meta: bool = False, extents: int = 1) -> bytes:
    """Write a file whose primary item is the last one.

    The data stand in `idat` if `in_meta`, else in `mdat`; each in `extents` pieces.
    """
    head = box(b"ftyp", brand, bytes(4), b"mif1", brand)
    meta = _meta(parts, 0, in_meta, extents)
    start = 8 if in_meta else len(head) + len(meta) + 8
    meta = _meta(parts, 0 if in_meta else start, in_meta, extents)
    media = b"" if in_meta else box(b"mdat", *(part.data for part in parts))
    return head + meta + media


def _meta(parts: list[Part], start: int, in_meta: bool, extents: int) -> bytes:
    count = struct.pack(">H", len(parts))
    references = b"".join(map(_references, range(1, 1 + len(parts)), parts))
    return box(
        b"meta",
        bytes(4),
        box(b"hdlr", bytes(8), b"pict", bytes(13)),
        box(b"pitm", bytes(4), count),
        box(b"iinf", bytes(4), count, *map(_kind, range(1, 1 + len(parts)), parts)),
        box(b"iref", bytes(4), references) if references else b"",
        _properties(parts),
        box(b"idat", *(part.data for part in parts)) if in_meta else b"",
        box(b"iloc", b"\1\0\0\0\x44\0", count, *_places(parts, start, in_meta, extents)),
    )


def _kind(number: int, part: Part) -> bytes:
    return box(b"infe", b"\2\0\0\0", struct.pack(">2H", number, 0), part.kind, b"\0")


def _references(number: int, part: Part) -> bytes:
    count = len(part.made_of)
    made_of = box(b"dimg", struct.pack(f">{2 + count}H", number, count, *part.made_of))
    alpha = box(b"auxl", struct.pack(">3H", number, 1, part.is_alpha_of))
    return made_of * (count > 0) + alpha * (part.is_alpha_of > 0)


def _properties(parts: list[Part]) -> bytes:
    links, index = struct.pack(">I", len(parts)), 1
    for number, part in enumerate(parts, 1):
        links += struct.pack(">HB", number, len(part.properties))
        for _ in part.properties:
            links += struct.pack(">H", index)
            index += 1
    properties = box(b"ipco", *(prop for part in parts for prop in part.properties))
    return box(b"iprp", properties, box(b"ipma", b"\0\0\0\1", links))


def _places(parts: list[Part], start: int, in_meta: bool, extents: int) -> Iterator[bytes]:
    for number, part in enumerate(parts, 1):
        place = struct.pack(">4H", number, in_meta, 0, extents)
        cuts = [len(part.data) * index // extents for index in range(extents + 1)]
        for first, end in pairwise(cuts):
            place += struct.pack(">2I", start + first, end - first)
        yield place
        start += len(part.data)
