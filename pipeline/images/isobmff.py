"""The items and tracks of a HEIC or AVIF file (ISO/IEC 14496-12 and 23008-12), not decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_MAX_BOXES, _MAX_NUMBERS = 20_000, 200_000  # real files have at most some hundred, some thousand
_IN_FILE, _IN_META = 0, 1  # methods of construction: where the data of an item are
_REPEATED = {b"free", b"skip", b"mdat", b"uuid", b"trak"}  # boxes that may stand side by side
_NEEDED = {b"meta", b"moov"}
_USED = {b"ispe", b"hvcC", b"auxC"}  # properties; others, as `colr`, an item may have twice


@dataclass
class HeifItem:
    """A picture of a file, or a part of one."""

    kind: bytes = b""
    data: bytes = b""
    properties: dict[bytes, bytes] = field(default_factory=dict)  # by type, those of `_USED`
    parts: list[int] = field(default_factory=list)  # items of which it is made


class _Fields:
    """The numbers of a box that begins with its version and flags."""

    def __init__(self, box: bytes) -> None:
        self._box, self._position, self._numbers = box, 4, 0
        self.version, self.flags = box[0], int.from_bytes(box[1:4])

    def read(self, size: int) -> int:
        """Read a number of `size` bytes; EOFError if there are fewer left."""
        start, self._position = self._position, self._position + size
        self._numbers += 1
        if self._position > len(self._box):
            raise EOFError("truncated box")
        if self._numbers > _MAX_NUMBERS:
            raise ValueError("too many entries of a box")
        return int.from_bytes(self._box[start : self._position])


def _boxes(data: bytes, is_file: bool = False) -> Iterator[tuple[bytes, bytes]]:
    """Split data into boxes: (type, content). A file may end with something else."""
    position = 0
    for _ in range(_MAX_BOXES):
        if position == len(data) or (is_file and position + 8 > len(data)):
            return
        size, kind = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if size == 1:
            size, start = struct.unpack_from(">Q", data, start)[0], start + 8
        end = position + size if size else len(data)
        if not start <= end <= len(data):
            if is_file and kind not in _NEEDED:
                return
            raise EOFError(f"truncated in box {kind!r}")
        yield kind, data[start:end]
        position = end
    raise ValueError("too many boxes")


def read_items(data: bytes) -> tuple[int, dict[int, HeifItem]]:
    """Read the items of a file: the number of the primary one, and all by number.

    Raises:
        EOFError, IndexError, KeyError, struct.error: it is truncated or damaged.
        ValueError: two boxes say the same, or data of items overlap.
    """
    meta = _distinct(_boxes(_distinct(_boxes(data, is_file=True))[b"meta"][4:]))
    primary, items = _Fields(meta[b"pitm"]), _read_kinds(meta[b"iinf"])
    _read_data(meta, data, items)
    _read_properties(meta[b"iprp"], items)
    if b"iref" in meta:
        _read_parts(meta[b"iref"], items)
    return primary.read(4 if primary.version else 2), items


def _distinct(found: Iterator[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Map types to contents; decoders differ in which of two boxes of a type they take."""
    result: dict[bytes, bytes] = {}
    for kind, content in found:
        if kind in result and kind not in _REPEATED:
            raise ValueError(f"two boxes {kind!r}")
        result[kind] = content
    return result


def _read_kinds(box: bytes) -> dict[int, HeifItem]:
    items = dict[int, HeifItem]()
    for kind, entry in _boxes(box[8 if box[0] else 6 :]):
        fields = _Fields(entry)
        if kind != b"infe" or fields.version not in (2, 3):
            raise ValueError("an item of an unknown kind")
        number = fields.read(2 if fields.version == 2 else 4)
        fields.read(2)
        items[number] = HeifItem(fields.read(4).to_bytes(4))
        entry[8:].decode()  # types and names: pi-heif crashes where they are no UTF-8
    return items


def _read_data(meta: dict[bytes, bytes], data: bytes, items: dict[int, HeifItem]) -> None:
    """Join the extents of each item, of which no byte is used twice."""
    fields, left = _Fields(meta[b"iloc"]), len(data)
    sizes = fields.read(2)
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if fields.version == 2 else 2
    for _ in range(fields.read(wide)):
        number, method = fields.read(wide), fields.read(2) & 15 if fields.version else _IN_FILE
        fields.read(2)
        start, pieces = fields.read(base), []
        source = {_IN_FILE: data, _IN_META: meta.get(b"idat", b"")}[method]
        for _ in range(fields.read(2)):
            fields.read(index if fields.version else 0)
            first, size = start + fields.read(offset), fields.read(length)
            left -= size
            if first + size > len(source):
                raise EOFError("truncated: data of an item are missing")
            if left < 0:
                raise ValueError("data of items overlap")
            pieces.append(source[first : first + size])
        items[number].data = b"".join(pieces)


def _read_properties(box: bytes, items: dict[int, HeifItem]) -> None:
    parts = _distinct(_boxes(box))
    properties, fields = list(_boxes(parts[b"ipco"])), _Fields(parts[b"ipma"])
    for _ in range(fields.read(4)):
        item = items[fields.read(4 if fields.version else 2)]
        for _ in range(fields.read(1)):
            index = fields.read(2) & 0x7FFF if fields.flags & 1 else fields.read(1) & 0x7F
            if index:
                name, value = properties[index - 1]
                if name == b"auxC":
                    value.decode()  # as in `_read_kinds`
                if name in _USED and item.properties.setdefault(name, value) != value:
                    raise ValueError(f"two boxes {name!r} for one item")


def _read_parts(box: bytes, items: dict[int, HeifItem]) -> None:
    """Give each item the parts of which it is derived."""
    wide = 4 if box[0] else 2
    for kind, content in _boxes(box[4:]):
        if kind == b"dimg":
            fields = _Fields(bytes(4) + content)
            item = items[fields.read(wide)]
            item.parts += [fields.read(wide) for _ in range(fields.read(2))]


def read_first_samples(data: bytes) -> list[bytes]:
    """Read the first sample of each track of AV1 data in a file."""
    samples = []
    for kind, track in _boxes(_distinct(_boxes(data, is_file=True))[b"moov"]):
        if kind == b"trak":
            media = _distinct(_boxes(_distinct(_boxes(track))[b"mdia"]))
            table = _distinct(_boxes(_distinct(_boxes(media[b"minf"]))[b"stbl"]))
            if table[b"stsd"][12:16] == b"av01":
                samples.append(_first_sample(data, table))
    return samples


def _first_sample(data: bytes, table: dict[bytes, bytes]) -> bytes:
    (size,) = struct.unpack_from(">I", table[b"stsz"], 4)
    if not size:
        (size,) = struct.unpack_from(">I", table[b"stsz"], 12)
    offsets, form = (table[b"co64"], ">Q") if b"co64" in table else (table[b"stco"], ">I")
    (start,) = struct.unpack_from(form, offsets, 8)
    if start + size > len(data):
        raise EOFError("truncated: data of a track are missing")
    return data[start : start + size]
