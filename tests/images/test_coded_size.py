"""HEIC and AVIF files that would decode to something else than they declare.

The pictures are encoded by libaom and x265, the files around them written by `heif_files.py`.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, _imaging

from pipeline.errors import RejectedImage
from pipeline.images import Reject
from pipeline.images.av1 import av1_pictures
from pipeline.images.isobmff import read_items
from tests.images.heif_files import ALPHA, Part, box, find_box, grid, heif_file, ispe
from tests.images.test_images import encode, photo, pixels_of, reason


def part(data: bytes, configuration: bytes, size: tuple[int, int], **options: Any) -> Part:
    """Take the primary picture of a file, to be declared in another size."""
    primary, items = read_items(data)
    properties = (ispe(*size), find_box(data, configuration))
    return Part(items[primary].kind, items[primary].data, properties, **options)


def avif(width: int, height: int, size: tuple[int, int], mode: str = "RGB", **options: Any) -> Part:
    return part(encode(photo(height, width), "AVIF", mode), b"av1C", size, **options)


def heic(size: tuple[int, int] = (64, 64), **options: Any) -> Part:
    gray = (Path(__file__).parent / "heic" / "gray.heic").read_bytes()
    return part(gray, b"hvcC", size, **options)


PICTURES = [(b"avif", avif(64, 64, (64, 64))), (b"heic", heic())]
HALVES = [(b"avif", avif(64, 64, (64, 32))), (b"heic", heic((64, 128)))]


def canvas(brand: bytes, tiles: list[Part], size: tuple[int, int] = (120, 100)) -> bytes:
    """Lay tiles out in rows of two."""
    whole = grid(len(tiles) // 2, 2, *size)
    numbers = tuple(range(1, len(tiles) + 1))
    return heif_file(brand, [*tiles, Part(b"grid", whole, (ispe(120, 100),), numbers)])


@pytest.mark.parametrize(("brand", "picture"), PICTURES)
def test_where_the_data_stand_makes_no_difference(brand: bytes, picture: Part) -> None:
    expected = pixels_of(heif_file(brand, [picture]))
    for in_meta, extents in ((False, 3), (True, 1), (True, 2)):
        data = heif_file(brand, [picture], in_meta, extents)
        np.testing.assert_array_equal(pixels_of(data), expected)
        for junk in (b"\0", bytes(50), b"SEFT of a phone, which is no box"):
            np.testing.assert_array_equal(pixels_of(data + junk), expected)


@pytest.mark.parametrize(("brand", "picture"), PICTURES)
def test_tiles_are_read(brand: bytes, picture: Part) -> None:
    tile = pixels_of(heif_file(brand, [picture])).astype(int)
    whole = np.tile(tile, (2, 2, 1))[:100, :120]
    assert np.abs(pixels_of(canvas(brand, [picture] * 4)) - whole).mean() < 2


@pytest.mark.parametrize(("brand", "picture"), HALVES)
def test_a_picture_of_another_size_than_it_declares_is_refused(brand: bytes, picture: Part) -> None:
    whole = dict(PICTURES)[brand]
    made = _imaging.get_stats()["new_count"]
    assert reason(heif_file(brand, [picture])) == Reject.CORRUPT
    assert reason(canvas(brand, [whole, whole, whole, picture])) == Reject.CORRUPT
    alpha = picture._replace(properties=(*picture.properties, ALPHA), is_alpha_of=2)
    assert reason(heif_file(brand, [alpha, whole])) == Reject.CORRUPT
    assert _imaging.get_stats()["new_count"] == made


def test_a_picture_may_have_two_color_profiles_but_not_two_sizes() -> None:
    profiles = box(b"colr", b"prof", bytes(20)), box(b"colr", b"nclx", b"\0\1\0\x0d\0\6\x80")
    for brand, picture in PICTURES:
        colored = picture._replace(properties=(*picture.properties, *profiles))
        assert pixels_of(heif_file(brand, [colored])).shape == (64, 64, 3)
        double = picture._replace(properties=(*picture.properties, ispe(32, 32)))
        assert reason(heif_file(brand, [double])) == Reject.CORRUPT


def test_a_grid_is_as_large_as_it_declares() -> None:
    for size in ((121, 100), (120, 99)):
        with pytest.raises(RejectedImage, match="corrupt: a grid of another size"):
            pixels_of(canvas(b"heic", [heic()] * 4, size))


@pytest.mark.parametrize("size", [(63, 64), (65, 64), (64, 63), (64, 65)])
def test_every_pixel_of_av1_is_declared(size: tuple[int, int]) -> None:
    assert reason(heif_file(b"avif", [avif(64, 64, size)])) == Reject.CORRUPT


def test_alpha_is_laid_on_white() -> None:
    alpha = avif(64, 64, (64, 64), "L", is_alpha_of=2)
    alpha = alpha._replace(properties=(*alpha.properties, ALPHA))
    picture = pixels_of(heif_file(b"avif", [PICTURES[0][1]])).astype(int)
    gray = pixels_of(heif_file(b"avif", [avif(64, 64, (64, 64), "L")])).astype(int)
    expected = (picture * gray + 255 * (255 - gray)) / 255
    assert np.abs(pixels_of(heif_file(b"avif", [alpha, PICTURES[0][1]])) - expected).max() < 3


def test_a_second_picture_in_the_data_of_one_is_refused() -> None:
    small, large = avif(64, 64, (64, 64)), avif(128, 64, (64, 64))
    data = small._replace(data=small.data + large.data)
    assert reason(heif_file(b"avif", [data])) == Reject.CORRUPT
    twice = heic()._replace(data=heic().data * 2)
    assert reason(heif_file(b"heic", [twice])) == Reject.CORRUPT


def test_large_pictures_are_refused_before_they_are_decoded() -> None:
    flat = np.zeros((2000, 2000, 3), np.uint8)
    data = encode(flat, "AVIF", speed=10, subsampling="4:4:4")  # 12 MB
    picture = part(data, b"av1C", (2000, 2000))
    alpha = picture._replace(properties=(*picture.properties, ALPHA), is_alpha_of=14)
    made = _imaging.get_stats()["new_count"]
    assert reason(heif_file(b"avif", [alpha] * 13 + [picture])) == Reject.TOO_MANY_PIXELS
    many = Part(b"grid", grid(100, 100, 6400, 6400), (ispe(6400, 6400),), (1,) * 10_000)
    assert reason(heif_file(b"heic", [heic(), many])) == Reject.TOO_MANY_PIXELS
    assert _imaging.get_stats()["new_count"] == made


def test_frames_of_a_sequence_are_as_large_as_it_declares() -> None:
    out = io.BytesIO()
    frames = [Image.fromarray(photo(40, 60, seed)) for seed in range(3)]
    frames[0].save(out, "AVIF", subsampling="4:4:4", save_all=True, append_images=frames[1:])
    data = out.getvalue()
    assert np.abs(pixels_of(data).astype(int) - photo(40, 60)).mean() < 12
    at = data.rindex(struct.pack(">2I", 60 << 16, 40 << 16))  # in the header of the track
    smaller = data[:at] + struct.pack(">2I", 40 << 16, 30 << 16) + data[at + 8 :]
    assert reason(smaller) == Reject.CORRUPT


def bits(*fields: tuple[int, int]) -> bytes:
    """Write numbers of given counts of bits: (number, count)."""
    text = "".join(f"{number:0{count}b}" for number, count in fields if count) + "1"
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8))


def unit(kind: int, payload: bytes) -> bytes:
    return bytes((kind << 3 | 2, len(payload))) + payload


@pytest.mark.parametrize("has_own_size", [False, True])
@pytest.mark.parametrize("has_times", [False, True])
def test_a_frame_of_another_size_than_its_sequence(has_own_size: bool, has_times: bool) -> None:
    times = [(1, 1), (0, 64), (0, 1), (1, 1), (9, 5), (0, 32), (0, 5), (6, 5)]
    times = times if has_times else [(0, 1)]
    point = [(0, 12), (8, 5), (0, 1), *([(1, 1), (0, 21)] if has_times else []), (1, 1), (0, 4)]
    sequence = bits(
        (0, 3), (0, 2), *times, (1, 1), (1, 5), *point, *point, (15, 4), (15, 4),
        (499, 16), (299, 16), (1, 1), (3, 4), (2, 3),  # frames have numbers of 8 bits
        (0, 3), (0, 4), (1, 1), (0, 2), (1, 1), (1, 1), (6, 3), (0, 3), (1, 1), (0, 1),
    )  # fmt: skip
    frame = bits(
        (0, 1), (0, 2), (1, 1), *([(5, 7)] if has_times else []), (0, 1),
        (1, 1), (1, 1), (7, 8), (has_own_size, 1), (0, 7), (999, 16), (999, 16),
    )  # fmt: skip
    shown_again = bits((1, 1), (0, 3))
    data = unit(2, b"") + unit(1, sequence) + unit(3, frame) + unit(3, shown_again)
    if has_own_size:
        with pytest.raises(ValueError, match="another size"):
            av1_pictures(data)
    else:
        assert av1_pictures(data) == [(500, 300, 1.5, 10)]


@pytest.mark.parametrize("at", [16, 17, 18])  # of chroma, depth of luma, depth of chroma
def test_samples_of_another_kind_than_declared_are_refused(at: int) -> None:
    """pi-heif writes beyond its memory where the data have other samples than the box hvcC."""
    picture = heic()
    size, configuration = picture.properties
    changed = bytearray(configuration)
    changed[8 + at] ^= 2
    other = picture._replace(properties=(size, bytes(changed)))
    assert reason(heif_file(b"heic", [other])) == Reject.CORRUPT


@pytest.mark.parametrize("text", [b"Exif", b"urn:mpeg:hevc"])
def test_names_that_are_no_text_are_refused(text: bytes) -> None:
    """pi-heif ends the process where a type of an item is no UTF-8."""
    for name in ("alpha", "orientation-1"):
        data = (Path(__file__).parent / "heic" / f"{name}.heic").read_bytes()
        if text in data:
            assert reason(data.replace(text, b"\xff" + text[1:], 1)) == Reject.CORRUPT


def test_tiles_of_several_kinds_are_refused() -> None:
    deep = (Path(__file__).parent / "heic" / "10-bit-gray.heic").read_bytes()
    tiles = [heic()] * 3 + [part(deep, b"hvcC", (64, 64))]
    assert reason(canvas(b"heic", tiles)) == Reject.CORRUPT


def test_extents_that_use_the_same_bytes_again_are_refused() -> None:
    data = heif_file(b"heic", [heic()], extents=8)
    at = data.index(b"iloc") + 4 + 16  # pairs of offset and length
    whole = data[at : at + 4] + len(heic().data).to_bytes(4)
    with pytest.raises(RejectedImage, match="corrupt: data of items overlap"):
        pixels_of(data[:at] + whole * 8 + data[at + 64 :])
    repeated = heif_file(b"heic", [heic()] * 3, extents=1)
    assert pixels_of(repeated).shape == (64, 64, 3)
