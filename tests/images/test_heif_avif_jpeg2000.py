"""HEIC, AVIF and JPEG 2000: what an iPhone and a web shop's server send.

The files in `heic/` are 64×32 pixels of four colors (see `cornered`), encoded by libheif and x265:
each `orientation-N` says N in its EXIF block too, which must not be applied a second time.
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.images import ImageLimits, Reject, sniff, suffix
from tests.images.test_images import (
    COLORS,
    assert_shows,
    cornered,
    encode,
    exif,
    photo,
    pixels_of,
    reason,
)

HEIC = {path.stem: path.read_bytes() for path in (Path(__file__).parent / "heic").iterdir()}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation: int) -> None:
    assert_shows(pixels_of(HEIC[f"orientation-{orientation}"]), orientation)
    avif = encode(cornered(), "AVIF", quality=90, subsampling="4:4:4", exif=exif(orientation)[6:])
    assert_shows(pixels_of(avif), orientation)


def test_variants_of_heic() -> None:
    assert_shows(pixels_of(HEIC["second-is-primary"]), 1)
    assert_shows(pixels_of(HEIC["10-bit"]), 1)
    gray = np.asarray(Image.fromarray(cornered()).convert("L").convert("RGB"), int)
    for name in ("gray", "10-bit-gray"):
        assert np.abs(pixels_of(HEIC[name]) - gray).max() <= 3
    alpha = pixels_of(HEIC["alpha"]).astype(int)  # b is transparent, c half
    expected = [COLORS["a"], (255, 255, 255), (127, 127, 252), COLORS["d"]]
    corners = alpha[0, 0], alpha[0, -1], alpha[-1, 0], alpha[-1, -1]
    assert np.abs(np.subtract(corners, expected)).max() <= 4


@pytest.mark.parametrize(
    ("fmt", "options"),
    [("AVIF", {"quality": 100, "subsampling": "4:4:4"}), ("JPEG2000", {}),
     ("JPEG2000", {"no_jp2": True}), ("JPEG2000", {"tile_size": (16, 16)})],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_avif_and_jpeg2000_are_read(fmt: str, options: dict[str, Any], mode: str) -> None:
    rgb = photo(20, 31)
    image = Image.fromarray(np.dstack([rgb, rgb[..., 0]])).convert(mode)
    out, white = io.BytesIO(), Image.new("RGB", image.size, "white")
    image.save(out, fmt, **options)
    white.paste(image, mask=image if mode == "RGBA" else None)
    near = 0 if fmt == "JPEG2000" else 6
    assert np.abs(pixels_of(out.getvalue()) - np.asarray(white, int)).max() <= near


def test_16_bit_gray_jpeg2000_keeps_the_high_byte() -> None:
    wide = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    np.testing.assert_array_equal(pixels_of(encode(wide, "JPEG2000"))[..., 0], wide >> 8)


WHOLE = {
    "heic": HEIC["alpha"],
    "avif": encode(photo(40, 60), "AVIF"),
    "jp2": encode(photo(40, 60), "JPEG2000"),
    "j2k": encode(photo(40, 60), "JPEG2000", no_jp2=True),
    "tiles": encode(photo(40, 60), "JPEG2000", tile_size=(16, 16)),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_cut_file_is_refused(data: bytes) -> None:
    pixels_of(data)
    for cut in range(len(data) * 3 // 4, len(data) - 2, 7):  # 2: JPEG 2000's end marker
        assert reason(data[:cut]) in ("truncated", "corrupt")
    for cut in np.linspace(64, len(data) * 3 // 4, 30, dtype=int):
        assert reason(data[:cut]) in ("truncated", "corrupt")


def lie(data: bytes, width: int, height: int) -> bytes:
    """Declare another size in the header (`ispe`) of a HEIC or AVIF file."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">2I", width, height) + data[at + 8 :]


def test_limits_hold_before_pixels_exist() -> None:
    flat = np.zeros((2000, 3000, 3), np.uint8)
    few = ImageLimits(max_pixels=5_000_000)
    for fmt in ("AVIF", "JPEG2000"):
        assert reason(encode(flat, fmt), few) == Reject.TOO_MANY_PIXELS
    assert reason(HEIC["gray"], ImageLimits(max_pixels=2047)) == Reject.TOO_MANY_PIXELS
    assert reason(HEIC["gray"], ImageLimits(min_side=33)) == Reject.TOO_SMALL
    assert reason(lie(HEIC["gray"], 60_000, 60_000)) == Reject.TOO_MANY_PIXELS
    assert reason(lie(WHOLE["avif"], 30_000, 30_000)) in (Reject.TOO_MANY_PIXELS, Reject.CORRUPT)
    for name in ("jp2", "j2k"):
        data = bytearray(WHOLE[name])
        at = data.index(b"\xff\x4f\xff\x51") + 8
        data[at : at + 8] = struct.pack(">2I", 50_000, 50_000)
        assert reason(bytes(data)) == Reject.TOO_MANY_PIXELS
        data[at : at + 8] = struct.pack(">2I", 6_000, 6_000)  # 4 bytes for each of 108 M samples
        assert reason(bytes(data)) == Reject.TOO_MANY_PIXELS
        data[at : at + 8] = struct.pack(">2I", 1_000, 1_000)  # the tile is that of 60x40
        data[at + 16 : at + 24] = struct.pack(">2I", 4, 4)
        assert reason(bytes(data)) == Reject.CORRUPT


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0miafavif", "avif"),
        (b"\0\0\0\x18ftypavis\0\0\0\0msf1avis", "avif"),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", "heif"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", None),
        (b"BMW 320i, black, 2019; see the table", None),
        (b"", None),
    ],
)
def test_formats_are_told_by_their_first_bytes(head: bytes, name: str | None) -> None:
    assert sniff(head.ljust(64, b"\0")) == name
    assert suffix(HEIC["gray"]) == ".heic"


@pytest.mark.parametrize("data", [HEIC["gray"], WHOLE["avif"]])
def test_reading_registers_nothing_with_pillow(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(data)
    script = (
        "import sys\n"
        "from PIL import Image\n"
        "Image.init()\n"
        "before = [*Image.ID], dict(Image.EXTENSION)\n"
        "from pipeline import images\n"
        "assert 'pi_heif' not in sys.modules\n"
        "images.decode(open(sys.argv[1], 'rb').read(), images.ImageLimits())\n"
        "assert before == ([*Image.ID], dict(Image.EXTENSION))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "photo")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
