"""The formats of images that are read, known by their first bytes."""

from __future__ import annotations

import re

_MAGIC: dict[str, re.Pattern[bytes]] = {
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "webp": re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL),
    "gif": re.compile(rb"GIF8[79]a"),
    "tiff": re.compile(rb"II[*+]\0|MM\0[*+]"),
    # Two letters begin a text too: the size of the header that follows is what tells.
    "bmp": re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    # The codec's brand comes first, or, after a general one, among the compatible ones.
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
_OTHERS = re.compile(
    rb"8BPS|%!PS|%PDF|\0\0[\1\2]\0|\0\0\0\x0cJXL |\xff\x0a|P[1-7]\s|DDS |qoif|icns|"
    rb"II\xbc|\s*<(?:svg|\?xml)|gimp xcf",
    re.DOTALL,
)
_HEAD = 64  # bytes: enough for every signature


def sniff(head: bytes) -> str | None:
    r"""Name the format of an image of which `head` are the first 64 bytes or more.

    None if it is no format that is read; a name is no promise that the rest can be.

        sniff(b"\xff\xd8\xff\xe0...")   # "jpeg"
    """
    return next((name for name, magic in _MAGIC.items() if magic.match(head[:_HEAD])), None)


def is_other_format(head: bytes) -> bool:
    """Whether an image begins so that is in none of the formats that are read, such as PSD."""
    return _OTHERS.match(head[:_HEAD]) is not None


def suffix(data: bytes) -> str:
    """Return the suffix for a file of these bytes, such as `.jpg`; "" if it is unknown."""
    return _SUFFIXES.get(sniff(data) or "", "")
