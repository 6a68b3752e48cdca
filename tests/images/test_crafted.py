"""Crafted and mutated files: a whole picture or one reject with a reason, at a bounded cost.

The cost is counted, not timed: calls of functions (of Python and of C), and bytes that Python
allocates. What Pillow allocates for pixels is bounded by the limits, which are checked before.
"""

from __future__ import annotations

import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import ingest
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, Reject, decode, encode_jpeg, resize
from pipeline.images.jpeg2000 import open_jpeg2000
from pipeline.images.jpeg_scans import read_scans
from pipeline.sources.base import SourceItem, SourcePhoto
from tests.conftest import ListSource
from tests.images import damage
from tests.images.test_coded_size import avif, canvas, heic
from tests.images.test_images import (
    BOMBS,
    JPEGS,
    OTHERS,
    RGB,
    check_outcome,
    chunk,
    encode,
    gif,
    photo,
    pixels_of,
    png,
    reason,
    tiff,
)

HEIC = {path.stem: path.read_bytes() for path in (Path(__file__).parent / "heic").iterdir()}
WHOLE: dict[str, bytes] = {
    **JPEGS,
    **OTHERS,
    "heic": HEIC["orientation-6"],
    "heic alpha": HEIC["alpha"],
    "heic 10 bit": HEIC["10-bit"],
    "heic tiles": canvas(b"heic", [heic()] * 4),
    "avif": encode(photo(40, 60), "AVIF"),
    "avif tiles": canvas(b"avif", [avif(64, 64, (64, 64))] * 4),
    "jpeg2000": encode(photo(40, 60), "JPEG2000"),
    "jpeg2000 tiles": encode(photo(40, 60), "JPEG2000", no_jp2=True, tile_size=(16, 16)),
}
MAX_CALLS, MAX_BYTES = 200_000, 130_000_000


# -- Files that are made to be expensive -----------------------------------------------------------

JPEG = JPEGS["baseline"]
SCAN = JPEG.index(b"\xff\xda") + 14
RESTARTS = b"".join(bytes((255, 0xD0 + n % 8)) for n in range(8)) * 1_100_000


def jpeg_with(segments: bytes) -> bytes:
    return JPEG[:2] + segments + JPEG[2:]


def png_of_one_color(width: int, height: int) -> bytes:
    return png(np.zeros((1, 1), np.uint8), 0, size=(width, height))


def gif_with(blocks: bytes) -> bytes:
    data = gif((8, 8), (8, 8))
    at = data.index(b"!")
    return data[:at] + blocks + data[at:]


def webp_with_chunks() -> bytes:
    data = encode(RGB, "WEBP", exif=b"Exif\0\0II*\0" + bytes(20)) + b"abcd\0\0\0\0" * 2_000_000
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def run_length_bmp() -> bytes:
    header = (0, 0, 1078, 40, 5000, 9000, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IIIIIIHHIIIIII", *header) + bytes(1024) + bytes(18_000_000)


def scans(count: int) -> bytes:
    data = JPEGS["progressive"]
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    return data[:first] + data[first:second] * count + data[first:]


EXPENSIVE: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "png of 50,000,000 x 1": (lambda: png_of_one_color(50_000_000, 1), {Reject.TOO_MANY_PIXELS}),
    "png of 1 x 50,000,000": (lambda: png_of_one_color(1, 50_000_000), {Reject.TOO_MANY_PIXELS}),
    "png chunks": (lambda: png(RGB, 2, chunk(b"tEXt", b"") * 300_000), {Reject.CORRUPT}),
    "png data chunks": (lambda: png(RGB, 2, chunk(b"IDAT", b"") * 300_000), {Reject.CORRUPT}),
    "png exif": (lambda: png(RGB, 2, chunk(b"eXIf", bytes(19_000_000))), {"accepted"}),
    "jpeg restarts after the picture": (lambda: JPEG[:-2] + RESTARTS, {"accepted"}),
    "jpeg restarts before it": (
        lambda: JPEG[:SCAN] + RESTARTS + JPEG[SCAN:],
        {Reject.TRUNCATED},
    ),
    "jpeg intervals": (
        lambda: JPEG.replace(
            b"\xff\xc0\0\x11\x08\0\x46\0\x5d", b"\xff\xc0\0\x11\x08\x40\0\x40\0"
        ).replace(b"\xff\xda", b"\xff\xdd\0\4\0\1\xff\xda"),
        {Reject.CORRUPT, Reject.TRUNCATED, Reject.TOO_MANY_PIXELS},
    ),
    "jpeg fill bytes": (lambda: jpeg_with(b"\xff" * 19_000_000), {"accepted"}),
    "jpeg fill bytes at the end": (lambda: JPEG[:-2] + b"\xff" * 19_000_000, {"accepted"}),
    "jpeg junk": (lambda: JPEG[:20] + bytes(19_000_000) + JPEG[20:], {"accepted"}),
    "jpeg comments": (lambda: jpeg_with(b"\xff\xfe\0\2" * 4_800_000), {Reject.CORRUPT}),
    "jpeg exif": (lambda: jpeg_with(b"\xff\xe1\0\x09Exif\0\0." * 1_700_000), {Reject.CORRUPT}),
    "jpeg profiles": (
        lambda: jpeg_with(b"\xff\xe2\0\x12ICC_PROFILE\0\1\1ab" * 900_000),
        {Reject.CORRUPT},
    ),
    "jpeg tables": (
        lambda: jpeg_with(JPEG[JPEG.index(b"\xff\xdb") :][:69] * 9_000 + b"\xff\xfe\xff\xff"),
        {Reject.CORRUPT, Reject.TRUNCATED, "accepted"},
    ),
    "jpeg large tables": (
        lambda: jpeg_with((b"\xff\xdb\xff\xfd" + (b"\0" + b"\1" * 64) * 1007 + bytes(76)) * 300),
        {Reject.CORRUPT},
    ),
    "jpeg scans": (lambda: scans(150), {Reject.CORRUPT}),
    "gif comments": (lambda: gif_with(b"!\xfe\0" * 6_000_000), {Reject.CORRUPT}),
    "gif comment": (lambda: gif_with(b"!\xfe" + b"\1a" * 9_000_000 + b"\0"), {Reject.CORRUPT}),
    "gif junk": (lambda: gif_with(b"x" * 19_000_000), {Reject.CORRUPT}),
    "tiff strips": (lambda: tiff(RGB, {278: 1, 273: (8,) * 200_000}), {Reject.CORRUPT}),
    "tiff tag": (lambda: tiff(RGB, {262: 2, 700: (7,) * 4_000_000}), {Reject.CORRUPT}),
    "tiff tags": (
        lambda: tiff(RGB, {262: 2, **dict.fromkeys(range(700, 3_700), 1)}),
        {Reject.CORRUPT},
    ),
    "webp chunks": (webp_with_chunks, {"accepted", Reject.CORRUPT}),
    "bmp of run lengths": (run_length_bmp, {Reject.TOO_MANY_BYTES}),
}


def counted(action: Callable[[], Any]) -> tuple[Any, int, int]:
    """Return a result, how many functions were called on the way, and the bytes allocated."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    sys.setprofile(count)
    try:
        result = action()
    finally:
        sys.setprofile(None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return result, calls, peak


def outcome(data: bytes) -> str:
    try:
        image = decode(data, ImageLimits())
        resize(image, (224, 224), "bilinear")
        encode_jpeg(image, "fit 512", 90)
    except RejectedImage as rejected:
        return rejected.reason
    return "accepted"


@pytest.mark.parametrize(("make", "expected"), EXPENSIVE.values(), ids=EXPENSIVE)
def test_an_expensive_file_costs_little(make: Callable[[], bytes], expected: set[str]) -> None:
    data = make()
    assert len(data) <= ImageLimits().max_bytes
    result, calls, peak = counted(lambda: outcome(data))
    assert result in expected
    assert calls <= MAX_CALLS
    assert peak <= MAX_BYTES


def of_size(data: bytes, width: int, height: int) -> bytes:
    """Declare another size in the frame of a progressive JPEG."""
    at = data.index(b"\xff\xc2") + 5
    return data[:at] + struct.pack(">2H", height, width) + data[at + 4 :]


def test_pixels_of_a_jpeg_are_limited_by_its_scans() -> None:
    data = JPEGS["progressive"]
    read_scans(of_size(data, 8160, 6120))
    read_scans(of_size(data, 6000, 4000) + bytes(14_000_000))
    for heavy in (of_size(scans(20), 8160, 6120), of_size(data, 8160, 6120) + bytes(19_000_000)):
        with pytest.raises(RejectedImage, match="too many pixels: 8160x6120 in several scans"):
            read_scans(heavy)
    cmyk = encode(photo(70, 93), "JPEG", "CMYK", progressive=True)
    read_scans(of_size(cmyk, 5000, 4000))
    two = cmyk[: cmyk.index(b"\xff\xda", cmyk.index(b"\xff\xda", SCAN) + 2)]
    with pytest.raises(RejectedImage, match="in several scans"):  # 400 MB of coefficients
        read_scans(of_size(two, 8000, 6000))


def test_pixels_of_jpeg2000_are_limited_by_its_bytes() -> None:
    data = encode(photo(70, 93), "JPEG2000", no_jp2=True)
    at = data.index(b"\xff\x4f\xff\x51") + 8
    large = struct.pack(">8I", 5000, 5000, 0, 0, 5000, 5000, 0, 0)
    data = data[:at] + large + data[at + 32 :]
    open_jpeg2000(data, ImageLimits())
    assert reason(data + bytes(10_000_000)) == Reject.TOO_MANY_PIXELS


def test_memory_that_runs_out_rejects_one_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    image = decode(JPEG, ImageLimits())
    monkeypatch.setattr("PIL.Image.Image.resize", fail)
    for action in (
        lambda: resize(image, (9, 9), "bilinear"),
        lambda: encode_jpeg(image, "fit 9", 90),
    ):
        with pytest.raises(RejectedImage, match="no memory to resize 93x70") as caught:
            action()
        assert caught.value.reason == Reject.TOO_MANY_PIXELS
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    assert reason(JPEG) == Reject.TOO_MANY_PIXELS


# -- Mutations of whole files ----------------------------------------------------------------------


def mutated(data: bytes, rng: Random) -> bytes:
    """Spoil a file in one to three ways."""
    for _ in range(rng.randint(1, 3)):
        if len(data) < 8:
            break
        start, end = sorted(rng.sample(range(len(data)), 2))
        end = min(end, start + rng.choice([1, 4, 64, len(data)]))
        piece = data[start:end]
        new = rng.choice(
            [
                b"", bytes(len(piece)), b"\xff" * len(piece), piece * 2, piece[::-1],
                rng.randbytes(len(piece)), bytes((piece[0] ^ 1 << rng.randrange(8),)) + piece[1:],
                rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\1\0\0\0"]),
            ]
        )  # fmt: skip
        keep = end if rng.random() < 0.7 else start + len(new)  # insert, or overwrite
        data = data[:start] + new + data[keep:]
    return data


@pytest.mark.soak
def test_mutated_files_are_a_picture_or_a_counted_reject(soak: bool, tmp_path: Path) -> None:
    rng, files = Random(7), list[bytes]()
    for _ in range(10_000 if soak else 400):
        name = rng.choice([*WHOLE, *BOMBS])
        files.append(mutated(WHOLE.get(name) or BOMBS[name], rng))
    for data in files:
        check_outcome(data)
    offers = [
        SourceItem(str(n), str(n), "", (SourcePhoto(f"{n}", data=data),))
        for n, data in enumerate(files)
    ]
    with Catalog(tmp_path / "shop", create=True) as catalog:
        ingest(ListSource(offers), catalog, ImageLimits(max_pixels=300_000))
        counts = catalog.counts()
    assert counts.keys() <= {"available", "rejected"}
    assert counts["rejected"].keys() <= {str(known) for known in Reject}
    assert sum(sum(reasons.values()) for reasons in counts.values()) == len(files)


@pytest.mark.soak
def test_a_cut_file_of_any_format_is_refused_or_whole(soak: bool) -> None:
    rng = Random(8)
    for name, data in WHOLE.items():
        expected = pixels_of(data).astype(int)
        for _ in range(60 if soak else 8):
            cut = rng.randrange(1, len(data))
            tail = rng.choice([b"", b"", bytes(len(data) - cut), damage.TRAILER])
            try:
                got = pixels_of(data[:cut] + tail)
            except RejectedImage:
                continue
            if not tail or name in JPEGS:  # others have no checksum of a tail of zeros
                assert np.abs(got - expected).mean() <= 0.5, (name, cut, tail)
