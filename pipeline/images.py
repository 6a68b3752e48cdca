"""Bytes → RGB pixels, safely: the one door for catalogue photos and for queries.

Accepted: JPEG (MPO: its first picture), PNG, WebP, GIF (first frame), BMP, TIFF (first page).
Refused, with one of the reasons in `Reject`: everything else, whatever the bytes.

- Limits hold before pixels exist: only the header has been read when they are checked. Pillow's
  own stop at twice `Image.MAX_IMAGE_PIXELS` remains, above our limit, for TIFF, WebP and GIF.
- Transparency is laid on white, the EXIF orientation applied; ICC profiles and text are ignored.
- 16-bit samples keep their high byte; 32-bit, signed and float ones, without an agreed white, are
  refused, and so are TIFF's rarer codecs.
- A JPEG whose data end early is refused, though libjpeg would fill it with grey (`_is_whole`).
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFile, ImageOps, _imaging
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline.errors import RejectedImage

U8Image = npt.NDArray[np.uint8]  # (height, width, 3) RGB

# What is wrong with a photo goes into the ledger. Left alone, Pillow's logger and libtiff (found
# among the libraries that Pillow's own links to, where the platform can do that) write to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())
with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


@dataclass(frozen=True)
class ImageLimits:
    """What is acceptable, judged by the file's size and its header."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    min_side: int = 1  # shorter side, in pixels


class Reject(StrEnum):
    """Why an image was refused, as the ledger shows it."""

    EMPTY = "empty file"
    TOO_MANY_BYTES = "too many bytes"
    NOT_AN_IMAGE = "not an image"
    UNSUPPORTED_FORMAT = "unsupported format"
    TOO_MANY_PIXELS = "too many pixels"
    TOO_SMALL = "too small"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"


def read_bytes(path: Path, limits: ImageLimits) -> bytes:
    """A regular file's bytes, at most `max_bytes`. Raises RejectedImage; OSError is let through."""
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise RejectedImage(Reject.NOT_AN_IMAGE, f"{path} is not a regular file")
    if status.st_size > limits.max_bytes:
        raise _too_many_bytes(status.st_size, limits)
    with path.open("rb") as file:
        data = file.read(limits.max_bytes + 1)  # the file may have grown since
    if len(data) > limits.max_bytes:
        raise _too_many_bytes(len(data), limits)
    return data


def decode(data: bytes, limits: ImageLimits) -> Image.Image:
    """Encoded bytes → an upright picture in mode RGB without metadata. Raises RejectedImage only.

    Safe to call from many threads.
    """
    if not data:
        raise RejectedImage(Reject.EMPTY, "0 bytes")
    if len(data) > limits.max_bytes:
        raise _too_many_bytes(len(data), limits)
    try:
        image = _open(data, limits)
        _load(image, data)
        exif, rgb = image.info.get("exif"), _flatten(image)
        if exif and (orientation := _orientation(exif)) in _TO_UPRIGHT:
            rgb = rgb.transpose(_TO_UPRIGHT[orientation])
        rgb.info = {}  # an orientation left behind would be applied again by someone else
        return rgb
    except RejectedImage:
        raise
    except Exception as error:  # on damaged bytes Pillow raises nearly every built-in exception
        message = " ".join(str(error).split()) or type(error).__name__
        raise RejectedImage(_reason(error), message) from error


def resize(image: Image.Image, size: tuple[int, int], method: str) -> U8Image:
    """RGB image → (height, width, 3) uint8, C-contiguous; `size` is (height, width).

    `method` is a key of `_RESAMPLING`; the pixels are those of Pillow's `Image.resize`, exactly.
    """
    if method not in _RESAMPLING:
        raise ValueError(f"unknown resampling {method!r}; choose from {', '.join(_RESAMPLING)}")
    height, width = size
    return np.ascontiguousarray(image.resize((width, height), _RESAMPLING[method]), dtype=np.uint8)


_RESAMPLING = {
    name: Image.Resampling[name.upper()]
    for name in ("nearest", "box", "bilinear", "bicubic", "lanczos")
}


# -- Open: which decoder, and is the declared size acceptable? ------------------------------------


class _Jpeg(JpegImageFile):
    def _open(self) -> None:
        super()._open()
        if not self.tile:
            raise EOFError("truncated before the picture data")

    def _read_dpi_from_exif(self) -> None:
        """Nobody needs the DPI, and damaged EXIF would make the file unreadable."""


class _Gif(GifImageFile):
    # Pillow allocates what the *second* frame will be drawn on while it opens the file.
    disposal_method = property(lambda self: 0, lambda self, method: None)


class _Tiff(TiffImageFile):
    def _setup(self) -> None:
        for tag in (_STRIP_OFFSETS, _TILE_OFFSETS):
            if len(self.tag_v2.get(tag, ())) > _MAX_STRIPS:
                raise ValueError("too many strips")  # 10 MB of them keep Pillow busy for 10 s
        super()._setup()

    def load_end(self) -> None:
        """Only turn the first page upright: Pillow also follows the chain of pages here."""
        ImageOps.exif_transpose(self, in_place=True)


_MUTED = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def _mute_pillow() -> None:
    """Keep damaged tags from being announced on stderr, or raised under `-W error`.

    Filters belong to the process (`catch_warnings` is not for threads) and others undo them, so
    ours is looked for at every use.
    """
    if warnings.filters[:1] != [_MUTED]:
        warnings.filterwarnings("ignore", module=r"PIL\.")


# Pillow's classes are called directly. `Image.open` would also try MPO, and would judge the size
# by a process-wide setting, with a warning or an error before our own limits are looked at.
_READERS: dict[type[ImageFile.ImageFile], re.Pattern[bytes]] = {
    _Jpeg: re.compile(rb"\xff\xd8\xff"),
    PngImageFile: re.compile(rb"\x89PNG\r\n\x1a\n"),
    WebPImageFile: re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL),
    _Gif: re.compile(rb"GIF8[79]a"),
    _Tiff: re.compile(rb"II[*+]\0|MM\0[*+]"),
    BmpImageFile: re.compile(rb"BM"),
}
_FOREIGN = re.compile(
    rb"8BPS|%!PS|%PDF|\0\0[\1\2]\0|\0\0\0\x0c(?:jP  |JXL )|\xff\x4f\xff\x51|\xff\x0a|P[1-7]\s|DDS |"
    rb".{4}ftyp(?:avi[fs]|he[iv].|mif1|msf1)|qoif|icns|II\xbc|\s*<(?:svg|\?xml)|gimp xcf",
    re.DOTALL,
)
# TIFF's other codecs are rare in photographs, and the JPEG one fills missing data with grey.
_TIFF_CODECS = {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate",
                "tiff_ccitt", "group3", "group4"}  # fmt: skip
_BITS_PER_SAMPLE, _PHOTOMETRIC, _STRIP_OFFSETS = 258, 262, 273
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS = 322, 323, 324
_MAX_STRIPS, _MAX_EXIF_PARTS = 100_000, 100


def _open(data: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """The matching decoder with the header read, not a pixel allocated, and the limits checked."""
    reader = next((reader for reader, magic in _READERS.items() if magic.match(data)), None)
    if reader is None:
        reason = Reject.UNSUPPORTED_FORMAT if _FOREIGN.match(data) else Reject.NOT_AN_IMAGE
        raise RejectedImage(reason, "send JPEG, PNG, WebP, GIF, BMP or TIFF")
    if reader is WebPImageFile:
        _check_webp(data, limits)
    if reader is _Jpeg and len(data) > 2**20 and data.count(b"Exif\0\0") > _MAX_EXIF_PARTS:
        raise ValueError("too many EXIF segments")  # Pillow joins them in quadratic time
    if reader is PngImageFile:
        data = _png_essentials(data)
    if reader in (_Tiff, _Gif):
        _mute_pillow()
    image = reader(io.BytesIO(data))
    _check_size(image.size, limits)
    if isinstance(image, TiffImageFile):
        tile = image.tag_v2.get(_TILE_WIDTH, 1), image.tag_v2.get(_TILE_LENGTH, 1)
        _check_size((max(tile[0], image.width), max(tile[1], image.height)), limits)
        if image.info["compression"] not in _TIFF_CODECS:
            raise RejectedImage(Reject.UNSUPPORTED_FORMAT, f"TIFF {image.info['compression']}")
        if (image.tile[-1].extents or ())[2:] not in (image.size, image.size[::-1]):
            raise EOFError("truncated list of strips")
    if image.mode in ("I", "F"):
        raise RejectedImage(Reject.UNSUPPORTED_FORMAT, "32-bit, signed or float samples")
    return image


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise RejectedImage(
            Reject.TOO_MANY_PIXELS, f"{width}x{height}, the limit is {limits.max_pixels} pixels"
        )
    if min(size) < limits.min_side:
        raise RejectedImage(
            Reject.TOO_SMALL, f"{width}x{height}, the shorter side must be {limits.min_side}"
        )


def _too_many_bytes(count: int, limits: ImageLimits) -> RejectedImage:
    return RejectedImage(Reject.TOO_MANY_BYTES, f"{count}, the limit is {limits.max_bytes}")


def _check_webp(data: bytes, limits: ImageLimits) -> None:
    """Pillow allocates the canvas while it opens a WebP file, so its header is read here."""
    size = int.from_bytes(data[4:8], "little") + 8
    if size > len(data):
        raise EOFError(f"truncated: {len(data)} of {size} bytes")
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<2H", data, 26))
    _check_size((width, height), limits)


def _png_essentials(data: bytes) -> bytes:
    """The chunks that make the picture, each checked against its checksum.

    Pillow does not verify the checksums of pixel data, and unpacks text and ICC profiles (which
    may be bombs) and animation frames that nobody will look at.
    """
    kept, position, kind = [data[:8]], 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise EOFError(f"truncated in chunk {kind!r}")
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"):
            if zlib.crc32(data[position + 4 : end - 4]) == int.from_bytes(data[end - 4 : end]):
                kept.append(data[position:end])
            elif kind.isupper():  # the others can be done without
                raise SyntaxError(f"wrong checksum in chunk {kind!r}")
        position = end
    return b"".join(kept)


def _reason(error: Exception) -> Reject:
    """The named reason for what Pillow (or a check of ours) raised."""
    if isinstance(error, Image.DecompressionBombError):
        return Reject.TOO_MANY_PIXELS
    origin, text = error.__cause__ or error, str(error).lower()
    if "unsupported" in text or "unknown pixel mode" in text or "cannot handle" in text:
        return Reject.UNSUPPORTED_FORMAT
    ran_out = isinstance(origin, EOFError | IndexError | TypeError | struct.error)
    return Reject.TRUNCATED if ran_out or "truncated" in text else Reject.CORRUPT


# -- Load: decode the pixels, and notice what libjpeg keeps quiet about ---------------------------

_FILL = range(126, 131)  # what libjpeg's mid-grey becomes in any colour space
_MAX_SCANS = 100  # real progressive files have about 10; each costs a pass over all pixels
_JPEG_NEXT = re.compile(rb"\xff([\xd9\xda])")  # the end, or another scan
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_SOS, _EOI, _TEM, _RESTARTS = 0xDA, 0xD9, 0x01, range(0xD0, 0xD8)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_PADDING = bytes(value * 89 % 255 for value in range(2, 130))  # irregular, and without 0xFF


def _load(image: ImageFile.ImageFile, data: bytes) -> None:
    """Decode the pixels; a JPEG that may have been cut gets the thorough check."""
    if not isinstance(image, JpegImageFile) or image.fp is None:
        image.load()
        return
    following = _JPEG_NEXT.search(data, image.fp.tell())
    if following is None:
        raise EOFError("truncated: no end marker")  # Pillow is content once all rows are filled
    scans = image.info.get("progressive") or following[1] == b"\xda"
    padded = _padded(data) if scans else None  # before the pixels: there may be far too many scans
    image.load()
    corner = image.getpixel((image.width - 1, image.height - 1))
    values = corner if isinstance(corner, tuple) else (corner,)
    if not scans and all(value in _FILL for value in values):
        padded = _padded(data)
    if padded is not None and not _is_whole(image, padded):
        raise EOFError("truncated picture data")


def _is_whole(image: JpegImageFile, padded: bytes) -> bool:
    """Whether every scan of a JPEG holds all of its data; `padded` is what `_padded` made of it.

    When they end early libjpeg warns, Pillow does not pass it on, and the rest stays mid-grey or
    coarse. But what follows a complete scan is skipped up to the next marker, so padding put there
    changes nothing, while an incomplete scan takes it for data and shows another picture.

    That costs a second decoding, hence only for several scans or a mid-grey last pixel. Not seen:
    a cut inside the very last block of a single scan, and bytes overwritten in place.
    """
    return ImageChops.difference(image, _Jpeg(io.BytesIO(padded))).getbbox() is None


def _padded(data: bytes) -> bytes | None:
    """The JPEG with padding after each run of entropy-coded data; None if that cannot be judged.

    Raises EOFError if scans are missing.
    """
    if _frame(data) not in (_BASELINE, _EXTENDED, _PROGRESSIVE):
        return None  # arithmetic coding: zeros at the end of a scan are left out by design
    pieces, copied, restarts, in_scan = list[bytes](), 0, 0, False
    for marker, start, _ in _segments(data):
        if in_scan:
            pieces += [data[copied:start], _PADDING]
            copied = start
            if marker in _RESTARTS:
                restarts += 1
                continue
            # If the data were cut between two restart intervals, this marker is waited for.
            pieces += [bytes((0xFF, _RESTARTS[restarts % 8])), _PADDING]
        in_scan, restarts = marker == _SOS, 0
    return b"".join([*pieces, data[copied:]])


def _frame(data: bytes) -> int:
    """The frame marker of a JPEG that has all of its scans.

    Raises EOFError when a coefficient of some component never gets its last bit.
    """
    frame, scans, missing = 0, 0, dict[int, list[int]]()  # component → bits, by coefficient
    for marker, _, segment in _segments(data):
        if marker in _FRAMES:
            frame, missing = marker, {component: [99] * 64 for component in segment[6::3]}
        elif marker == _SOS:
            scans += 1
            if scans > _MAX_SCANS:
                raise ValueError("too many scans")
            first, last, approximation = segment[-3:]
            if frame != _PROGRESSIVE:
                first, last, approximation = 0, 63, 0
            for component in segment[1 : 2 * segment[0] : 2]:
                missing[component][first : last + 1] = [approximation & 15] * (last + 1 - first)
    if any(map(any, missing.values())):
        raise EOFError("truncated: scans are missing")
    return frame


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each marker of a JPEG after the first, to its end: (marker, where it begins, parameters)."""
    position = 2
    while match := _JPEG_MARKER.search(data, position):
        marker, position, parameters = match[1][0], match.end(), b""
        if marker not in (_EOI, _TEM, *_RESTARTS):
            (length,) = struct.unpack_from(">H", data, position)
            parameters = data[position + 2 : position + length]
            position += length
        yield marker, match.start(), parameters
        if marker == _EOI:
            return
    raise EOFError("truncated: no end marker")


# -- Finish: RGB, upright -------------------------------------------------------------------------

_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(exif: bytes) -> int:
    """EXIF orientation, 1 if absent or unreadable; Pillow itself turns TIFFs upright."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = ">" if tiff[:2] == b"MM" else "<"
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == 0x0112:
                value = struct.unpack_from(order + "HI"[kind == 4], tiff, entry + 8)[0]
                return int(value)
    except struct.error:
        pass
    return 1


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode → RGB, transparency laid on white."""
    if image.mode.startswith("I;16"):
        image = _grey16(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(rgba, mask=rgba)
    return white


def _grey16(image: Image.Image) -> Image.Image:
    """16-bit (TIFF also 12-bit) grey → L, by the high byte as Pillow does for 16-bit colours."""
    samples, tags = np.asarray(image), getattr(image, "tag_v2", {})
    grey = (samples >> (tags.get(_BITS_PER_SAMPLE, (16,))[0] - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow minds that at 8 bits only
        grey = 255 - grey
    grey[samples == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey)
