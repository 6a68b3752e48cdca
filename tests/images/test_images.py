"""images/: every format and mode against NumPy, every limit, every kind of damage."""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, UnidentifiedImageError, _imaging

from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, Reject, decode, read_bytes, resize
from pipeline.images.silence import silence

U8 = npt.NDArray[np.uint8]
LIMITS = ImageLimits()


# -- Inputs, made by hand where Pillow cannot ------------------------------------------------------


def photo(height: int, width: int, seed: int = 0) -> U8:
    """(height, width, 3): smooth colors with some grain, nowhere flat."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([x + y, 2 * x, 3 * y], axis=-1) % 186
    grain = np.random.default_rng(seed).integers(0, 70, smooth.shape)
    return (smooth + grain).astype(np.uint8)


def encode(pixels: npt.NDArray[Any], fmt: str, mode: str | None = None, **options: Any) -> bytes:
    image, out = Image.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(out, fmt, **options)
    return out.getvalue()


def pixels_of(data: bytes, limits: ImageLimits = LIMITS) -> U8:
    image = decode(data, limits)
    assert image.mode == "RGB"
    assert image.info == {}
    return np.asarray(image)


def reason(data: bytes, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(RejectedImage) as caught:
        decode(data, limits)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: npt.NDArray[Any], color: int, extra: bytes = b"", size: Any = None) -> bytes:
    """`rows`: (height, width[, channels]), uint8 or uint16; `color`: PNG's color type."""
    height, width = size or rows.shape[:2]
    raw = b"".join(b"\0" + row.tobytes() for row in rows.astype(rows.dtype.newbyteorder(">")))
    header = struct.pack(">IIBBBBB", width, height, 8 * rows.dtype.itemsize, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


def tiff(samples: npt.NDArray[Any], tags: dict[int, Any], order: Literal["<", ">"] = "<") -> bytes:
    """An uncompressed TIFF of one strip, `tags` (all SHORT or LONG) added to the needed ones."""
    bits = samples.dtype.itemsize * 8
    body = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    channels = samples.shape[2] if samples.ndim == 3 else 1
    values: dict[int, Any] = {
        256: samples.shape[1], 257: samples.shape[0], 258: (bits,) * channels, 259: 1, 262: 1,
        273: 8, 277: channels, 278: samples.shape[0], 279: len(body), **tags,
    }  # fmt: skip
    entries, extra, extra_at = b"", b"", 8 + len(body) + 6 + 12 * len(values)
    for tag, value in sorted(values.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        kind, letter = (3, "H") if max(numbers) < 65536 else (4, "I")
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            packed, extra = struct.pack(order + "I", extra_at + len(extra)), extra + packed
        entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(order + "H", len(values)) + entries + bytes(4)
    return magic + struct.pack(order + "I", 8 + len(body)) + body + directory + extra


def gif(screen: tuple[int, int], frame: tuple[int, int], disposal: int = 0) -> bytes:
    """A GIF (width, height) whose pixel data are next to nothing."""
    return (
        b"GIF89a" + struct.pack("<2H3B", *screen, 0xF0, 0, 0) + bytes((255, 0, 0, 0, 0, 255))
        + b"!\xf9\4" + bytes((disposal << 2, 0, 0, 0, 0))
        + b"," + struct.pack("<4HB", 0, 0, *frame, 0) + b"\2\2\x4c\1\0;"
    )  # fmt: skip


def webp(kind: bytes, body: bytes) -> bytes:
    inner = b"WEBP" + kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def over_white(rgba: npt.NDArray[Any]) -> U8:
    """Straight-alpha (h, w, 4) → what it looks like on white paper, rounded to nearest."""
    rgb, alpha = rgba[..., :3].astype(float), rgba[..., 3:].astype(float) / 255
    return np.asarray(np.rint(rgb * alpha + 255 * (1 - alpha)), dtype=np.uint8)


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    value = struct.pack(order + "HHI", 0x0112, kind, 1)
    value += struct.pack(order + ("HH" if kind == 3 else "I"), *[orientation, 0][: 5 - kind])
    head = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + head + struct.pack(order + "IH", 8, 1) + value + bytes(4)


RGB = photo(20, 31)
ALPHA = np.dstack([RGB, photo(20, 31, seed=1)[..., 0]])
WIDE = (photo(20, 31)[..., 0].astype(np.uint16) << 8) + photo(20, 31, seed=2)[..., 0]

# -- Formats and modes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fmt", "options"),
    [
        ("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "packbits"}),
    ],
)  # fmt: skip
def test_lossless_formats_return_the_pixels_that_went_in(fmt: str, options: Any) -> None:
    np.testing.assert_array_equal(pixels_of(encode(RGB, fmt, **options)), RGB)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_is_close_to_what_went_in(options: Any) -> None:
    smooth = np.stack([np.mgrid[0:40, 0:50][0] * 4] * 3, axis=-1).astype(np.uint8)
    got = pixels_of(encode(smooth, "JPEG", quality=95, **options))
    assert np.abs(got.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("fmt", ["GIF", "PNG", "TIFF", "WEBP", "MPO"])
def test_the_first_of_several_pictures_is_decoded(fmt: str) -> None:
    flat = [Image.new("RGB", (16, 24), color) for color in ("red", "blue", "lime")]
    out = io.BytesIO()
    flat[0].save(out, fmt, save_all=True, append_images=flat[1:])
    got = pixels_of(out.getvalue())
    assert got.shape == (24, 16, 3)
    assert (np.abs(got.astype(int) - (255, 0, 0)) <= 6).all()


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_images_with_few_colors_are_exact(fmt: str, mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    out = io.BytesIO()
    image.save(out, fmt)
    indices = np.asarray(image).astype(np.uint8)
    if mode == "P":
        expected = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)[indices]
    else:
        expected = np.dstack([indices * (255 if mode == "1" else 1)] * 3)
    np.testing.assert_array_equal(pixels_of(out.getvalue()), expected)


def test_alpha_is_laid_on_white() -> None:
    expected = over_white(ALPHA)
    np.testing.assert_array_equal(pixels_of(png(ALPHA, color=6)), expected)
    np.testing.assert_array_equal(
        pixels_of(encode(ALPHA, "WEBP", lossless=True, exact=True)), expected
    )
    gray = ALPHA[..., 2:]  # (h, w, 2): luminance, alpha
    np.testing.assert_array_equal(
        pixels_of(png(gray, color=4)), over_white(gray[..., [0, 0, 0, 1]])
    )
    tags = {338: 2}
    np.testing.assert_array_equal(pixels_of(tiff(gray, tags)), over_white(gray[..., [0, 0, 0, 1]]))


def test_premultiplied_gray_tiff_is_laid_on_white() -> None:
    gray, alpha = np.array([[200, 90, 0]]), np.array([[255, 128, 0]])
    multiplied = np.dstack([gray * alpha // 255, alpha]).astype(np.uint8)
    got = pixels_of(tiff(multiplied, {338: 1}))
    expected = multiplied[..., :1].astype(int) + 255 - alpha[..., None]
    assert np.abs(got - expected).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("samples", [ALPHA, ALPHA[..., 2:], ALPHA.astype(np.uint16) << 8])
def test_an_unspecified_sample_of_a_tiff_is_alpha_unless_it_is_constant(
    samples: npt.NDArray[Any], order: Literal["<", ">"]
) -> None:
    """Cut-outs of older programs: without alpha their background would be black."""
    tags = {338: 0, 262: 2 if samples.shape[2] == 4 else 1}
    straight = samples if samples.dtype == np.uint8 else (samples >> 8).astype(np.uint8)
    rgba = straight if samples.shape[2] == 4 else straight[..., [0, 0, 0, 1]]
    np.testing.assert_array_equal(pixels_of(tiff(samples, tags, order)), over_white(rgba))
    for constant in (0, 255):
        samples = samples.copy()
        samples[..., -1] = constant
        np.testing.assert_array_equal(pixels_of(tiff(samples, tags, order)), rgba[..., :3])


def test_palette_transparency_is_laid_on_white() -> None:
    palette = np.array([[200, 10, 20], [30, 40, 250], [90, 80, 70]], dtype=np.uint8)
    alpha = np.array([0, 100, 255], dtype=np.uint8)
    indices = np.random.default_rng(3).integers(0, 3, (9, 14)).astype(np.uint8)
    extra = chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", alpha.tobytes())
    rgba = np.concatenate([palette, alpha[:, None]], axis=1)[indices]
    np.testing.assert_array_equal(pixels_of(png(indices, 3, extra)), over_white(rgba))

    image = Image.fromarray(indices).convert("P")
    image.putpalette(palette.tobytes())
    out = io.BytesIO()
    image.save(out, "GIF", transparency=0)
    rgba[..., 3] = np.where(indices == 0, 0, 255)
    np.testing.assert_array_equal(pixels_of(out.getvalue()), over_white(rgba))


@pytest.mark.parametrize("color", [0, 2])
def test_a_color_key_is_white(color: int) -> None:
    rows = RGB if color == 2 else RGB[..., :1]
    key = rows[3, 4]
    data = png(rows, color, chunk(b"tRNS", struct.pack(f">{key.size}H", *key)))
    expected = np.where((rows == key).all(axis=-1, keepdims=True), 255, rows)
    np.testing.assert_array_equal(pixels_of(data), np.broadcast_to(expected, (20, 31, 3)))


@pytest.mark.parametrize(
    "data",
    [png(WIDE, 0), encode(WIDE, "TIFF"), tiff(WIDE, {}), tiff(WIDE, {}, ">")],
    ids=["png", "pillow tiff", "little-endian", "big-endian"],
)
def test_16_bit_gray_is_scaled_not_clipped(data: bytes) -> None:
    np.testing.assert_array_equal(pixels_of(data), np.dstack([WIDE // 256] * 3))


def test_16_bit_gray_where_white_is_zero_or_a_color_is_transparent() -> None:
    np.testing.assert_array_equal(
        pixels_of(tiff(WIDE, {262: 0})), 255 - np.dstack([WIDE // 256] * 3)
    )
    rows = np.array([[0x1234, 0x1235, 0xFFFF]], dtype=np.uint16)
    got = pixels_of(png(rows, 0, chunk(b"tRNS", b"\x12\x34")))
    assert got[0].tolist() == [[255] * 3, [0x12] * 3, [255] * 3]


def test_12_bit_gray() -> None:
    packed = np.frombuffer(bytes.fromhex("000 fff 123 800".replace(" ", "")), dtype=np.uint8)
    data = tiff(packed[None], {256: 4, 258: 12})
    assert pixels_of(data)[0, :, 0].tolist() == [0x00, 0xFF, 0x12, 0x80]


@pytest.mark.parametrize("color", [2, 6])
def test_16_bit_color_keeps_the_high_byte(color: int) -> None:
    channels = 3 if color == 2 else 4
    rows = np.random.default_rng(5).integers(0, 65536, (7, 9, channels)).astype(np.uint16)
    if channels == 4:
        rows[..., 3] = 0xFFFF
    np.testing.assert_array_equal(pixels_of(png(rows, color)), rows[..., :3] // 256)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint32", "int16"])
def test_samples_without_an_agreed_white_are_refused(dtype: str) -> None:
    code = {"f": 3, "i": 2, "u": 1}[np.dtype(dtype).kind]
    samples = np.ones((4, 5), dtype=dtype)
    assert reason(tiff(samples, {339: code})) == Reject.UNSUPPORTED_FORMAT


def test_cmyk_tiff_and_both_kinds_of_cmyk_jpeg() -> None:
    cmyk = np.empty((16, 16, 4), dtype=np.uint8)
    cmyk[:] = (30, 120, 200, 40)
    expected = np.rint((255 - cmyk[..., :3].astype(float)) * (255 - cmyk[..., 3:]) / 255)
    got = pixels_of(tiff(cmyk, {262: 5}))
    assert np.abs(got - expected).max() <= 1

    out = io.BytesIO()  # Pillow writes Adobe's inverted kind
    Image.frombytes("CMYK", (16, 16), cmyk.tobytes()).save(out, "JPEG", quality=100)
    data = out.getvalue()
    assert b"Adobe" in data
    assert np.abs(pixels_of(data) - expected).max() <= 3

    # YCCK: the same bytes, declared to be YCbCr + K by the last byte of the Adobe segment.
    ycck = re.sub(rb"(?s)(?<=Adobe.{6})\0", b"\2", data)
    assert ycck != data
    y, cb, cr, k = (255 - cmyk[0, 0].astype(float)) - (0, 128, 128, 0)
    rgb = np.clip([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 0, 255)
    # YCbCr stands for RGB = 255 - CMY (libjpeg.txt), and that CMY is Adobe's 255 - ink = 255 - RGB.
    assert np.abs(pixels_of(ycck)[0, 0] - (255 - rgb) * k / 255).max() <= 4


def test_ycbcr_and_lab_tiff() -> None:
    ycc = np.empty((4, 5, 3), dtype=np.uint8)
    ycc[:] = (120, 100, 160)
    rgb = [120 + 1.402 * 32, 120 + 0.344136 * 28 - 0.714136 * 32, 120 - 1.772 * 28]
    assert np.abs(pixels_of(tiff(ycc, {262: 6, 530: (1, 1)})) - rgb).max() <= 1
    lab = np.zeros((4, 5, 3), dtype=np.uint8)
    lab[:, :2, 0], lab[:, 2:, 0] = 255, 137  # white; L* = 53.7 is sRGB 128
    got = pixels_of(tiff(lab, {262: 8})).astype(int)
    assert np.abs(got[:, :2] - 255).max() <= 2
    assert np.abs(got[:, 2:] - 128).max() <= 2


# -- Orientation -----------------------------------------------------------------------------------

# Which of the *stored* corners (a b / c d) is seen at each displayed corner: the EXIF standard.
SEEN = {1: "abcd", 2: "badc", 3: "dcba", 4: "cdab", 5: "acbd", 6: "cadb", 7: "dbca", 8: "bdac"}
COLORS = {"a": (250, 0, 0), "b": (0, 250, 0), "c": (0, 0, 250), "d": (250, 250, 250)}


def cornered() -> U8:
    stored = np.zeros((32, 64, 3), dtype=np.uint8)
    for name, where in zip("abcd", [(0, 0), (0, 32), (16, 0), (16, 32)], strict=True):
        stored[where[0] : where[0] + 16, where[1] : where[1] + 32] = COLORS[name]
    return stored


def assert_shows(got: U8, orientation: int) -> None:
    assert got.shape == ((64, 32, 3) if orientation >= 5 else (32, 64, 3))
    corners = got[0, 0], got[0, -1], got[-1, 0], got[-1, -1]
    for name, color in zip(SEEN[orientation], corners, strict=True):
        assert np.abs(color.astype(int) - COLORS[name]).max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    stored = cornered()
    for order, kind in (("<", 3), (">", 3), (">", 4)):
        block = exif(orientation, order, kind)
        assert_shows(pixels_of(encode(stored, "JPEG", exif=block)), orientation)
    assert_shows(pixels_of(encode(stored, "WEBP", lossless=True, exif=block)), orientation)
    assert_shows(pixels_of(png(stored, 2, chunk(b"eXIf", block[6:]))), orientation)
    assert_shows(pixels_of(tiff(stored, {262: 2, 274: orientation})), orientation)


@pytest.mark.parametrize(
    "block",
    [b"", b"Exif\0\0", b"Exif\0\0II", exif(6)[:20], exif(6)[:25], exif(0), exif(9),
     b"Exif\0\0II*\0" + b"\xff" * 60, bytes(range(200))],
)  # fmt: skip
def test_unreadable_exif_means_not_rotated(block: bytes) -> None:
    for data in (encode(cornered(), "JPEG", exif=block), png(cornered(), 2, chunk(b"eXIf", block))):
        assert_shows(pixels_of(data), 1)


def test_exif_with_a_broken_resolution_is_ignored() -> None:
    """Without a JFIF header Pillow would look for the DPI in EXIF, and stumble over none."""
    data = encode(cornered(), "JPEG")
    tags = [(0x0112, 3, 1, 6), (0x011A, 2, 1, 0), (0x0128, 3, 1, 2)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 3) + entries + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    assert_shows(pixels_of(data[:2] + segment + data[20:]), 6)


# -- Limits and bombs ------------------------------------------------------------------------------


def test_byte_limit_and_empty(tmp_path: Path) -> None:
    data = png(RGB, 2)
    exact, short = ImageLimits(max_bytes=len(data)), ImageLimits(max_bytes=len(data) - 1)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    assert read_bytes(path, exact) == data
    np.testing.assert_array_equal(pixels_of(data, exact), RGB)
    assert reason(data, short) == Reject.TOO_MANY_BYTES
    assert reason(b"") == Reject.EMPTY
    with pytest.raises(RejectedImage, match=f"too many bytes: {len(data)}"):  # so: before reading
        read_bytes(path, ImageLimits(max_bytes=10))


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # opening it would wait for a writer for ever
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(RejectedImage, match="not a regular file"):
            read_bytes(path, LIMITS)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "absent", LIMITS)


def test_a_file_that_has_grown_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"x")
    before = path.stat()
    path.write_bytes(b"x" * 1000)
    monkeypatch.setattr(Path, "stat", lambda self: before)
    with pytest.raises(RejectedImage, match="too many bytes: 11"):
        read_bytes(path, ImageLimits(max_bytes=10))


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_pixel_and_side_limits_are_exact(fmt: str) -> None:
    data = encode(RGB, fmt)  # 31 x 20
    assert pixels_of(data, ImageLimits(max_pixels=620, min_side=20)).shape == (20, 31, 3)
    assert reason(data, ImageLimits(max_pixels=619)) == Reject.TOO_MANY_PIXELS
    assert reason(data, ImageLimits(min_side=21)) == Reject.TOO_SMALL


VP8X = struct.pack("<I", 16) + (59_999).to_bytes(3, "little") * 2
BOMBS = {
    "png": png(RGB, 2, size=(60_000, 60_000)),
    "gif": gif((60_000, 60_000), (60_000, 60_000), disposal=2),
    "gif frame": gif((10, 10), (9_000, 9_000), disposal=2),
    "gif huge frame": gif((10, 10), (60_000, 60_000), disposal=3),
    "webp": webp(b"VP8X", VP8X) + bytes(20),
    "webp lossless": webp(b"VP8L", b"\x2f" + (0x0FFF_FFFF).to_bytes(4, "little") + bytes(20)),
    "webp lossy": webp(b"VP8 ", b"\x30\1\0\x9d\1\x2a\xff\x3f\xff\x3f" + bytes(20)),
    "bmp": b"BM" + struct.pack("<IIIIIIHHIIIIII", 99, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6),
    "jpeg": re.sub(rb"(?s)(?<=\xff\xc0\0\x11\x08)....", b"\xea\x60" * 2, encode(RGB, "JPEG")),
    "tiff": tiff(RGB, {256: 60_000, 257: 60_000, 262: 2}),
    "tiff deflate": tiff(RGB, {256: 60_000, 257: 60_000, 259: 8, 262: 2}),
    "tiff tile": tiff(RGB, {259: 8, 262: 2, 322: 60_000, 323: 60_000, 324: 8, 325: 1860}),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_decompression_bomb_is_refused_without_allocating(data: bytes) -> None:
    images_made = _imaging.get_stats()["new_count"]
    tracemalloc.start()
    try:
        assert reason(data) == Reject.TOO_MANY_PIXELS
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert _imaging.get_stats()["new_count"] == images_made


def test_our_limit_replaces_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Formats whose declared size Pillow only judges in `Image.open` obey `max_pixels` alone."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for fmt in ("PNG", "JPEG", "BMP"):
        assert pixels_of(encode(RGB, fmt)).shape == (20, 31, 3)
    for fmt in ("TIFF", "WEBP"):  # documented: Pillow's own stop remains there
        assert reason(encode(RGB, fmt)) == Reject.TOO_MANY_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    for data in BOMBS.values():
        assert reason(data) == Reject.TOO_MANY_PIXELS


def test_text_and_profile_bombs_in_png_are_never_unpacked() -> None:
    bomb = zlib.compress(bytes(30_000_000), 9)
    extra = (
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb)
        + chunk(b"zTXt", b"Comment\0\0" + bomb)
        + chunk(b"iCCP", b"icc\0\0" + bomb)
        + chunk(b"tEXt", b"Comment\0" + b"x" * 2_000_000)
        + chunk(b"acTL", bytes(8)) * 2
    )
    data = png(RGB, 2, extra)
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(pixels_of(data), RGB)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_huge_profile_in_jpeg_is_ignored() -> None:
    data = encode(RGB, "JPEG")
    huge = encode(RGB, "JPEG", icc_profile=bytes(range(256)) * 10_000)
    np.testing.assert_array_equal(pixels_of(huge), pixels_of(data))


def test_files_that_keep_pillow_busy_are_refused() -> None:
    """Each would take minutes: quadratic joining, a list of strips, a pass per scan."""
    jpeg, progressive = encode(RGB, "JPEG"), encode(RGB, "JPEG", progressive=True)
    crumbs = (b"\xff\xe1\0\x09Exif\0\0.") * 400_000
    assert reason(jpeg[:2] + crumbs + jpeg[2:]) == Reject.CORRUPT
    strips = tiff(RGB, {262: 2, 278: 1, 273: (8,) * 200_000})
    assert reason(strips) == Reject.CORRUPT
    first, last = progressive.find(b"\xff\xda"), progressive.rfind(b"\xff\xda")
    scans = progressive[first:last] * 20 + progressive[last:]
    assert reason(progressive[:first] + scans) == Reject.CORRUPT


# -- Other formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", ["ICO", "PPM", "EPS", "PDF", "DDS"])
def test_other_formats_are_named_unsupported(fmt: str) -> None:
    assert reason(encode(photo(32, 32), fmt)) == Reject.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    "data",
    [b"8BPS\0\1", b"\0\0\0\x0cJXL \r\n", b"<svg xmlns", b"\xff\x0a\0\0"],
)
def test_other_signatures_are_named_unsupported(data: bytes) -> None:
    assert reason(data + bytes(50)) == Reject.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("compression", ["jpeg", "zstd", "lzma"])
def test_rare_tiff_codecs_are_refused(compression: str) -> None:
    assert reason(encode(RGB, "TIFF", compression=compression)) == Reject.UNSUPPORTED_FORMAT


def test_a_known_format_of_an_unknown_kind_is_named_unsupported() -> None:
    bmp, jpeg = bytearray(encode(RGB, "BMP")), encode(RGB, "JPEG")
    bmp[30] = 9  # a compression that does not exist
    assert reason(bytes(bmp)) == Reject.UNSUPPORTED_FORMAT
    twelve_bits = jpeg.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c")
    assert reason(twelve_bits) == Reject.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("data", [b"x", b"<html>no such page</html>", bytes(1000), b"\xff\xd8"])
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    assert reason(data) == Reject.NOT_AN_IMAGE


# -- Truncation and corruption ---------------------------------------------------------------------

JPEGS = {
    "baseline": encode(photo(70, 93), "JPEG", quality=80),
    "444": encode(photo(70, 93), "JPEG", quality=80, subsampling=0),
    "restarts": encode(photo(70, 93), "JPEG", quality=80, restart_marker_rows=1),
    "gray": encode(photo(70, 93)[..., 0], "JPEG", quality=80, optimize=True),
    "cmyk": encode(photo(70, 93), "JPEG", "CMYK", quality=80),
    "progressive": encode(photo(70, 93), "JPEG", quality=80, progressive=True),
    "progressive gray": encode(photo(70, 93)[..., 0], "JPEG", quality=80, progressive=True),
}
OTHERS = {
    "png": png(RGB, 2),
    "png interlaced palette": encode(RGB, "PNG", "P"),
    "gif": encode(RGB, "GIF"),
    "webp": encode(RGB, "WEBP"),
    "webp lossless": encode(RGB, "WEBP", lossless=True),
    "bmp": encode(RGB, "BMP"),
    "tiff": encode(RGB, "TIFF"),
    "tiff lzw": encode(RGB, "TIFF", compression="tiff_lzw"),
    "tiff group4": encode(RGB, "TIFF", "1", compression="group4"),
}


def cuts(data: bytes, first: int = 1, count: int = 150) -> list[int]:
    return sorted({int(cut) for cut in np.linspace(first, len(data) - 1, count)})


CUTS = {f"{name}, cut": (data, False) for name, data in (JPEGS | OTHERS).items()}
# WebP, GIF, BMP and TIFF have no checksums, and cannot tell a tail of zeros from a picture.
ZEROED = {
    f"{name}, zeroed": (data, True) for name, data in (JPEGS | {"png": OTHERS["png"]}).items()
}


@pytest.mark.parametrize(("data", "zeroed"), (CUTS | ZEROED).values(), ids=[*CUTS, *ZEROED])
def test_a_cut_file_is_refused_or_complete(data: bytes, zeroed: bool) -> None:
    whole, accepted = pixels_of(data), []
    for cut in cuts(data):
        try:
            got = pixels_of(data[:cut] + bytes(len(data) - cut) * zeroed)
        except RejectedImage:
            continue
        np.testing.assert_array_equal(got, whole, err_msg=f"cut at {cut}")
        accepted.append(cut)
    assert min(accepted, default=len(data)) >= len(data) - 20  # a few bytes can be done without


@pytest.mark.parametrize("data", JPEGS.values(), ids=JPEGS)
def test_a_cut_jpeg_with_an_end_marker_is_refused(data: bytes) -> None:
    """libjpeg fills the rest with gray and Pillow says nothing."""
    start = data.find(b"\xff\xda") + 14
    last_mcu = 120  # bytes; see the next test
    for cut in cuts(data, start, 400):
        if cut <= len(data) - last_mcu:
            reason_given = reason(data[:cut] + b"\xff\xd9")
            assert reason_given in (Reject.TRUNCATED, Reject.CORRUPT), cut


@pytest.mark.parametrize("data", JPEGS.values(), ids=JPEGS)
def test_only_the_last_block_of_a_cut_jpeg_goes_unnoticed(data: bytes) -> None:
    """The known limit: one MCU (16x16 pixels, and what chroma smoothing spreads around it).

    Files of several scans get the thorough check always, and have no such limit.
    """
    whole, progressive = pixels_of(data), b"\xff\xc2" in data
    for cut in range(len(data) - 120, len(data) - 2):
        try:
            got = pixels_of(data[:cut] + b"\xff\xd9")
        except RejectedImage:
            continue
        rows, columns = np.nonzero((got != whole).any(axis=-1))
        assert not (progressive and rows.size), cut
        assert rows.min(initial=70) >= 70 - 18
        assert columns.min(initial=93) >= 93 - 18


def test_a_progressive_jpeg_without_its_last_scans_is_refused() -> None:
    data = JPEGS["progressive"]
    ends = [match.start() for match in re.finditer(rb"\xff[\xc4\xda]", data)][2:]
    assert len(ends) > 8
    for end in ends:
        assert reason(data[:end] + b"\xff\xd9") in (Reject.TRUNCATED, Reject.CORRUPT)


@pytest.mark.parametrize("options", [{"restart_marker_rows": 1}, {"restart_marker_blocks": 2}])
def test_a_jpeg_cut_between_two_restart_intervals_is_refused(options: Any) -> None:
    data = encode(photo(70, 93), "JPEG", **options)
    markers = list(re.finditer(rb"\xff[\xd0-\xd7]", data[data.find(b"\xff\xda") :]))
    assert len(markers) >= 4
    for marker in markers:
        for end in marker.span():
            cut = data[: data.find(b"\xff\xda") + end] + b"\xff\xd9"
            assert reason(cut) == Reject.TRUNCATED


def test_a_sequential_jpeg_without_one_of_its_scans_is_refused() -> None:
    """One scan per component: made of a gray file by declaring a second component."""
    gray = encode(photo(32, 32)[..., 0], "JPEG", quality=60)
    frame = b"\xff\xc0\0\x0b\x08\0\x20\0\x20\1\1\x11\0"
    assert frame in gray
    three = b"\xff\xc0\0\x11\x08\0\x20\0\x20\3\1\x11\0\2\x11\0\3\x11\0"
    at = gray.find(b"\xff\xda")
    scan = gray[at:-2]
    others = [scan.replace(b"\xff\xda\0\x08\1\1", bytes((255, 218, 0, 8, 1, c)), 1) for c in (2, 3)]
    head = gray[:at].replace(frame, three)
    whole = head + scan + others[0] + others[1] + b"\xff\xd9"
    assert pixels_of(whole).shape == (32, 32, 3)
    assert reason(head + scan + others[0] + b"\xff\xd9") == Reject.TRUNCATED
    assert reason(head + scan + others[0] + others[1][:-30] + b"\xff\xd9") == Reject.TRUNCATED


def test_an_end_marker_in_the_middle_of_a_jpeg_is_refused() -> None:
    for data in JPEGS.values():
        middle = len(data) * 2 // 3
        assert reason(data[:middle] + b"\xff\xd9" + data[middle:]) in ("truncated", "corrupt")


def test_a_whole_jpeg_that_looks_cut_is_accepted() -> None:
    """Mid-gray photos, restart intervals, several scans, junk before the end or after it."""
    gray = np.full((48, 64, 3), 128, dtype=np.uint8)
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 1}, {"optimize": True}):
        data = encode(gray, "JPEG", **options)
        np.testing.assert_array_equal(pixels_of(data), gray)
        np.testing.assert_array_equal(pixels_of(data + b"junk" * 100), gray)
        np.testing.assert_array_equal(pixels_of(data[:-2] + bytes(50) + b"\xff\xd9"), gray)
        np.testing.assert_array_equal(pixels_of(data + data), gray)
    plain = encode(gray, "JPEG")
    at = plain.find(b"\xff\xda")
    spectral = at + 4 + 7  # start and end of the spectrum mean nothing in a sequential file
    np.testing.assert_array_equal(
        pixels_of(plain[:spectral] + bytes(3) + plain[spectral + 3 :]), gray
    )
    # Arithmetic coding leaves zeros at the end of a scan out, here all of it: no padding there.
    block = encode(gray[:8, :8, 0], "JPEG").replace(b"\xff\xc0", b"\xff\xc9")
    arithmetic = block[: block.find(b"\xff\xda") + 10] + b"\xff\xd9"
    np.testing.assert_array_equal(pixels_of(arithmetic), gray[:8, :8])
    for data in JPEGS.values():
        whole = pixels_of(data)
        np.testing.assert_array_equal(pixels_of(data + data), whole)
        np.testing.assert_array_equal(pixels_of(data[:-2] + b"\xff\xff\xff\xd9"), whole)


def test_png_checksums() -> None:
    data = bytearray(png(RGB, 2, chunk(b"eXIf", exif(6)[6:])))
    at = data.index(b"IDAT") + 4
    for spoilt in (at, at + 500, len(data) - 17, data.index(b"IHDR") + 7):
        data[spoilt] ^= 1
        assert reason(bytes(data)) == Reject.CORRUPT
        data[spoilt] ^= 1
    palette = bytearray(encode(RGB, "PNG", "P"))
    palette[palette.index(b"PLTE") + 9] ^= 1
    assert reason(bytes(palette)) == Reject.CORRUPT
    data[data.index(b"eXIf") + 4] ^= 1  # not needed for the picture: left out
    np.testing.assert_array_equal(pixels_of(bytes(data)), RGB)


@pytest.mark.parametrize(
    "cut",
    [JPEGS["baseline"][:300], JPEGS["gray"].partition(b"\xff\xda")[0],
     JPEGS["gray"].partition(b"\xff\xc0")[0], JPEGS["baseline"][:-700],
     OTHERS["png"][:-9], OTHERS["png"][:30],
     OTHERS["webp"][:-1], OTHERS["gif"][:-99], OTHERS["gif"][:9], OTHERS["bmp"][:-4],
     OTHERS["tiff"][:-1], OTHERS["tiff lzw"][:-250], tiff(RGB, {262: 2, 278: 10})],
)  # fmt: skip
def test_what_is_cut_is_called_truncated(cut: bytes) -> None:
    assert reason(cut) == Reject.TRUNCATED


def check_outcome(data: bytes) -> None:
    """Refused, or an RGB picture of the size that the header declares."""
    refused, got = None, None
    try:
        got = decode(data, ImageLimits(max_pixels=300_000))
    except RejectedImage as error:
        refused = error
    if got is None:
        assert refused is not None
        assert refused.reason in set(Reject)
        assert "\n" not in str(refused)
        return
    assert got.mode == "RGB"
    assert got.width * got.height <= 300_000
    with warnings.catch_warnings(), suppress(UnidentifiedImageError):  # Pillow stumbles over junk
        warnings.simplefilter("ignore")
        declared = Image.open(io.BytesIO(data)).size
        assert got.size in (declared, declared[::-1])


SAMPLES = [*JPEGS.values(), *OTHERS.values(), *BOMBS.values()]
SIGNATURES = [data[:16] for data in (*OTHERS.values(), JPEGS["baseline"])]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", *SIGNATURES]))
def test_random_bytes(data: bytes, signature: bytes) -> None:
    check_outcome(signature + data)


@settings(max_examples=800, deadline=None)
@given(st.data())
def test_damaged_files(draw: st.DataObject) -> None:
    data = bytearray(draw.draw(st.sampled_from(SAMPLES)))
    positions = st.integers(0, len(data) - 1) | st.integers(0, min(len(data) - 1, 200))
    for at, value in draw.draw(st.lists(st.tuples(positions, st.integers(0, 255)), max_size=6)):
        data[at] = value
    start, stop = sorted(draw.draw(st.tuples(positions, positions)))
    keep: Callable[[bytearray], bytearray] = draw.draw(
        st.sampled_from(
            [lambda d: d, lambda d: d[:start] + d[stop:], lambda d: d[:stop] + d[start:]]
        )
    )
    check_outcome(bytes(keep(data)))


# -- resize ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(7, 5), (20, 31), (64, 48), (1, 1)])
def test_resize_is_pillows(method: str, size: tuple[int, int]) -> None:
    image = Image.fromarray(RGB)
    got = resize(image, size, method)
    height, width = size
    filter_ = getattr(Image.Resampling, method.upper())
    np.testing.assert_array_equal(got, np.asarray(image.resize((width, height), filter_)))
    assert got.shape == (height, width, 3)
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous


def test_resize_refuses_an_unknown_method() -> None:
    with pytest.raises(ValueError, match="choose from nearest, box, bilinear"):
        resize(Image.fromarray(RGB), (4, 4), "hamming")


# -- Company ---------------------------------------------------------------------------------------


def outcome(data: bytes) -> tuple[str, int]:
    try:
        return "image", zlib.crc32(decode(data, LIMITS).tobytes())
    except RejectedImage as refused:
        return refused.reason, 0


def test_many_threads_agree_with_one() -> None:
    work = SAMPLES * 8
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(outcome, work)) == [outcome(data) for data in SAMPLES] * 8


def test_nothing_is_printed_and_tensorflow_stays_out(tmp_path: Path) -> None:
    """In a fresh interpreter, with stderr watched below Python (libtiff writes to it directly)."""
    odd = [data[:cut] for data in SAMPLES for cut in (len(data), len(data) * 3 // 4, 60)]
    odd += [tiff(RGB, {262: 2, 277: 3000}), tiff(RGB, {262: 2, 270: (70_000,) * 9})]
    odd += [png(RGB, 2, chunk(b"acTL", bytes(8)) * 2), OTHERS["tiff lzw"][:100] + bytes(2000)]
    for name in ("tiff lzw", "tiff group4"):
        odd += [OTHERS[name][:at] + b"\xff" * 9 + OTHERS[name][at + 9 :] for at in (20, 60, 90)]
    for number, data in enumerate(odd):
        (tmp_path / str(number)).write_bytes(data)
    script = (
        "import sys, pathlib\n"
        "from pipeline.errors import RejectedImage\n"
        "from pipeline.images import ImageLimits, decode\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    try: decode(path.read_bytes(), ImageLimits())\n"
        "    except RejectedImage: pass\n"
        "print('tensorflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", script, str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("action", ["always", "error"])
def test_only_decoding_is_silent(action: Literal["always", "error"]) -> None:
    """A host's own use of Pillow warns as before, and Pillow's logger is as it was."""
    logger = logging.getLogger("PIL")
    handlers = list(logger.handlers)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        decode(tiff(RGB, {262: 2, 270: (70_000,) * 9}), LIMITS)
        with silence():
            warnings.warn_explicit("ours", UserWarning, "odd.py", 1, module="PIL.odd")
            with ThreadPoolExecutor(1) as host, suppress(UserWarning):
                host.submit(
                    warnings.warn_explicit, "host", UserWarning, "odd.py", 1, module="PIL.odd"
                ).result()
            assert len(logger.handlers) == len(handlers) + 1
        with suppress(UserWarning):
            warnings.warn_explicit("after", UserWarning, "odd.py", 1, module="PIL.odd")
    expected = ["host", "after"] if action == "always" else []
    assert [str(warning.message) for warning in caught] == expected
    assert logger.handlers == handlers


def test_importing_and_ingesting_change_nothing_in_the_process(tmp_path: Path) -> None:
    """A host notices neither the import nor the reading of tables and photos."""
    Image.fromarray(RGB).save(tmp_path / "a.tif")
    long = "x" * 200_000
    (tmp_path / "products.csv").write_bytes(
        f"image;title\na.tif;K\xe4ppi {long}\n".encode("cp1252")
    )
    script = (
        "import codecs, csv, logging, sys, warnings\n"
        "from pathlib import Path\n"
        "def state():\n"
        "    pillow = logging.getLogger('PIL')\n"
        "    return (csv.field_size_limit(), list(logging.root.handlers), logging.root.level,\n"
        "            list(pillow.handlers), list(pillow.filters))\n"
        "import numpy, PIL.Image, pydantic, yaml\n"  # NumPy adds a filter
        "before, filters_before = state(), list(warnings.filters)\n"
        "import pipeline\n"
        "from pipeline import images\n"
        "from pipeline.catalog.catalog import Catalog\n"
        "from pipeline.catalog.ingest import ingest\n"
        "from pipeline.config import MetadataSettings\n"
        "from pipeline.sources import csv_rows, parquet_rows, table\n"
        "from pipeline.sources.folder import FolderSource\n"
        "assert warnings.filters == filters_before, warnings.filters\n"
        "assert state() == before\n"
        "folder = Path(sys.argv[1])\n"
        "metadata = MetadataSettings(file='products.csv', key='image', name='title')\n"
        "with Catalog(folder / 'shop', create=True) as catalog:\n"
        "    ingest(FolderSource(folder, metadata), catalog, images.ImageLimits())\n"
        "    assert catalog.item(1).name.startswith('K\xe4ppi x')\n"
        "    assert catalog.counts() == {'available': {'': 1}}\n"
        "assert state() == before, state()\n"
        "assert warnings.filters[-len(filters_before):] == filters_before, warnings.filters\n"
        "try: codecs.lookup_error('cp1252')\n"
        "except LookupError: print('nothing')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("nothing\n", "")
