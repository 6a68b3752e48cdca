"""HEIC and AVIF bytes → an opened decoder, after a look at what it would have to decode.

Each picture, and each tile of one, is told in three places how large it is: in its properties, in
the header of its data, and in the grid. Decoders allocate by the data, and scale what they find to
what the properties say; here all must agree.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable
from functools import cache

from PIL.AvifImagePlugin import AvifImageFile
from PIL.ImageFile import ImageFile

from pipeline.errors import RejectedImage
from pipeline.images.av1 import av1_pictures
from pipeline.images.bitstream import CodedPicture
from pipeline.images.hevc import hevc_pictures
from pipeline.images.isobmff import HeifItem, read_first_samples, read_items
from pipeline.images.limits import ImageLimits, Reject, check_size

_MAX_BYTES = 160_000_000  # bytes of planes; RGB takes up to 400 MB more
_HEVC_BLOCK = 64  # pixels: HEVC codes whole blocks, of which the margin is cut off
_DERIVED, _HEVC = {b"grid", b"iden"}, {b"hvc1", b"hev1"}
_ALPHA = re.compile(rb"(?s).{4}urn:mpeg:(?:mpegB:cicp:systems:auxiliary:alpha|\w+:2015:auxid:1)\0")


def open_avif(data: bytes, limits: ImageLimits) -> ImageFile:
    """Open an AVIF file, of a sequence the first frame; see `open_heif` for the errors."""
    image = AvifImageFile(io.BytesIO(data))
    check_size(image.size, limits)
    if data[8:12] == b"avis":
        tracks = [av1_pictures(sample) for sample in read_first_samples(data)]
        for pictures in tracks:
            _check_size(pictures, image.size)
        _check_bytes(_bytes(picture for pictures in tracks for picture in pictures))
    else:
        _check_items(*read_items(data))
    return image


def open_heif(data: bytes) -> ImageFile:
    """Open HEIF with libheif, which turns pictures upright.

    Raises:
        RejectedImage: the limits are exceeded, or it is made of what is not read here.
        EOFError, IndexError, KeyError, struct.error: it is truncated or damaged.
        ValueError: it disagrees with itself about the pictures that it holds.
        Exception: what libheif raises on damaged bytes.
    """
    from pi_heif.as_plugin import HeifImageFile

    _check_items(*read_items(data))
    image: ImageFile = HeifImageFile(io.BytesIO(data))
    return image


def _check_items(primary: int, items: dict[int, HeifItem]) -> None:
    """Check what is decoded for the primary item: each tile of it, and of what may be its alpha."""
    coded = cache(lambda number: _coded(items[number]))
    shown = {primary, *(number for number, item in items.items() if _is_alpha(item))}
    kinds, depths, total = set[tuple[int, float]](), set[int](), 0
    for whole in shown:
        for number in _tiles(whole, items):
            copies = 1 if number == whole else 2  # tiles are copied into the whole
            total += copies * _bytes(coded(number))
            _check_bytes(total)
            kinds |= {(whole, picture.samples) for picture in coded(number)}
            depths |= {picture.depth for picture in coded(number)}
    if len(kinds) > len(shown) or len(depths) > 1:  # decoders expect those of the first tile
        raise ValueError("tiles of several kinds")


def _bytes(pictures: Iterable[CodedPicture]) -> int:
    return sum(picture.bytes for picture in pictures)


def _check_bytes(count: int) -> None:
    if count > _MAX_BYTES:
        message = f"{_MAX_BYTES} bytes of its planes are the limit of HEIC and AVIF"
        raise RejectedImage(Reject.TOO_MANY_PIXELS, message)


def _is_alpha(item: HeifItem) -> bool:
    return _ALPHA.match(item.properties.get(b"auxC", b"")) is not None


def _tiles(number: int, items: dict[int, HeifItem]) -> list[int]:
    """List the coded items of which an item is made."""
    item = items[number]
    if item.kind == b"grid":
        form = ">2I" if item.data[1] & 1 else ">2H"
        if struct.unpack_from(form, item.data, 4) != _declared(item):
            raise ValueError("a grid of another size than it declares")
    return item.parts if item.kind in _DERIVED else [number]


def _declared(item: HeifItem) -> tuple[int, int]:
    width, height = struct.unpack_from(">2I", item.properties[b"ispe"], 4)
    return width, height


def _coded(item: HeifItem) -> list[CodedPicture]:
    """List the pictures in the data of an item, which are as large as it declares."""
    if item.kind == b"av01":
        pictures, block = av1_pictures(item.data), 1
    elif item.kind in _HEVC:
        pictures, block = hevc_pictures(item.data, item.properties[b"hvcC"]), _HEVC_BLOCK
    else:
        raise RejectedImage(Reject.UNSUPPORTED_FORMAT, f"HEIF with pictures of type {item.kind!r}")
    _check_size(pictures, _declared(item), block)
    return pictures


def _check_size(pictures: list[CodedPicture], declared: tuple[int, int], block: int = 1) -> None:
    """Raise ValueError if a picture is not as large as declared, in whole blocks."""
    _check_bytes(declared[0] * declared[1])
    if not pictures:
        raise EOFError("truncated: no picture")
    for picture in pictures:
        margins = picture.width - declared[0], picture.height - declared[1]
        if min(margins) < 0 or max(margins) >= block:
            size = f"{picture.width}x{picture.height}"
            raise ValueError(f"a picture of {size} that declares {declared[0]}x{declared[1]}")
