"""Encoded bytes → an opened decoder: only the header has been read, and no pixel allocated."""

from __future__ import annotations

import io
import re
import struct
import zlib

from PIL import ImageFile, ImageOps
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline.errors import RejectedImage
from pipeline.images.jpeg import Jpeg
from pipeline.images.limits import ImageLimits, Reject, check_size


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


# Pillow's classes are called directly. `Image.open` would also try MPO, and would judge the size
# by a process-wide setting, with a warning or an error before our own limits are looked at.
_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": Jpeg,
    "png": PngImageFile,
    "webp": WebPImageFile,
    "gif": _Gif,
    "tiff": _Tiff,
    "bmp": BmpImageFile,
    "avif": AvifImageFile,
    "jpeg2000": Jpeg2KImageFile,
}
_MAGIC: dict[str, re.Pattern[bytes]] = {
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "webp": re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL),
    "gif": re.compile(rb"GIF8[79]a"),
    "tiff": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "bmp": re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    # The brand comes first, or, after a general one, among the compatible ones.
    "avif": re.compile(
        rb"\0\0..ftyp(?:avi[fs]|(?:mif1|msf1|miaf).{4}(?:.{4})*?avi[fs])", re.DOTALL
    ),
    "heif": re.compile(rb"\0\0..ftyp(?:he(?:i[cxms]|v[cxms])|mif1|msf1|miaf)", re.DOTALL),
    "jpeg2000": re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
}
_SUFFIXES = {
    "jpeg": ".jpg", "png": ".png", "webp": ".webp", "gif": ".gif", "tiff": ".tif",
    "bmp": ".bmp", "avif": ".avif", "heif": ".heic", "jpeg2000": ".jp2",
}  # fmt: skip
_HEAD = 64  # bytes: enough for every signature
# The beginnings of images in formats that are not accepted.
_OTHER_FORMATS = re.compile(
    rb"8BPS|%!PS|%PDF|\0\0[\1\2]\0|\0\0\0\x0cJXL |\xff\x0a|P[1-7]\s|DDS |qoif|icns|"
    rb"II\xbc|\s*<(?:svg|\?xml)|gimp xcf",
    re.DOTALL,
)
# TIFF's other codecs are rare in photographs, and the JPEG one fills missing data with gray.
_TIFF_CODECS = {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate",
                "tiff_ccitt", "group3", "group4"}  # fmt: skip
_STRIP_OFFSETS = 273
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS = 322, 323, 324
_MAX_STRIPS = 100_000


def open_image(data: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """Open encoded bytes with the matching decoder, and check the limits before pixels exist.

    Raises:
        RejectedImage: the format is not accepted, or the limits are exceeded.
        Exception: what Pillow raises on damaged bytes; `reason_for` names it.
    """
    name = sniff(data[:_HEAD])
    if name is None:
        reason = Reject.UNSUPPORTED_FORMAT if _OTHER_FORMATS.match(data) else Reject.NOT_AN_IMAGE
        raise RejectedImage(reason, "send JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP, TIFF or JPEG 2000")
    reader = _READERS[name]
    if reader is WebPImageFile:
        _check_webp(data, limits)
    if reader is PngImageFile:
        data = _png_essentials(data)
    image = Jpeg.of(data) if reader is Jpeg else reader(io.BytesIO(data))
    check_size(image.size, limits)
    if isinstance(image, TiffImageFile):
        tile = image.tag_v2.get(_TILE_WIDTH, 1), image.tag_v2.get(_TILE_LENGTH, 1)
        check_size((max(tile[0], image.width), max(tile[1], image.height)), limits)
        if image.info["compression"] not in _TIFF_CODECS:
            raise RejectedImage(Reject.UNSUPPORTED_FORMAT, f"TIFF {image.info['compression']}")
        if (image.tile[-1].extents or ())[2:] not in (image.size, image.size[::-1]):
            raise EOFError("truncated list of strips")
    if image.mode in ("I", "F"):
        raise RejectedImage(Reject.UNSUPPORTED_FORMAT, "32-bit, signed or float samples")
    return image


def sniff(head: bytes) -> str | None:
    r"""Name the format of an image of which `head` are the first 64 bytes or more.

    None if it is no format that is read; a name is no promise that the rest can be.

        sniff(b"\xff\xd8\xff\xe0...")   # "jpeg"
    """
    return next((name for name, magic in _MAGIC.items() if magic.match(head[:_HEAD])), None)


def suffix(data: bytes) -> str:
    """Return the suffix for a file of these bytes, such as `.jpg`; "" if it is unknown."""
    return _SUFFIXES.get(sniff(data) or "", "")


def _check_webp(data: bytes, limits: ImageLimits) -> None:
    """Pillow allocates the canvas while it opens a WebP file, so its header is read here."""
    size = int.from_bytes(data[4:8], "little") + 8
    if size > len(data):
        raise EOFError(f"truncated: {len(data)} of {size} bytes")
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<2H", data, 26))
    check_size((width, height), limits)


def _png_essentials(data: bytes) -> bytes:
    """Keep only the chunks that make the picture, each with a correct checksum.

    Pillow does not verify the checksums of pixel data, and unpacks text and ICC profiles (which
    may be decompression bombs) and animation frames that are never used.
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
            elif kind.isupper():  # the picture does not need the others
                raise SyntaxError(f"wrong checksum in chunk {kind!r}")
        position = end
    return b"".join(kept)
