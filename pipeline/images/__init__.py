"""Bytes → RGB pixels, safely: catalog photos and queries are all decoded here.

Accepted: JPEG (MPO: its first picture), PNG, WebP, HEIC and HEIF (primary picture), AVIF (first
frame), GIF (first frame), BMP, TIFF (first page), JPEG 2000. They are told by their content.
Refused, with one of the reasons in `Reject`: everything else, whatever the bytes.

- Limits are checked before pixels are allocated, when only the header has been read. Pillow's own
  limit of twice `Image.MAX_IMAGE_PIXELS` remains, above ours, for TIFF, WebP and GIF.
- Transparency is laid on white, the EXIF orientation applied; ICC profiles and text are ignored.
- 16-bit samples keep their high byte. 32-bit, signed and float samples are refused, because no
  value of them is agreed to be white, and so are TIFF's rarer codecs.
- HEIC and AVIF must hold what they declare: their decoders allocate, or write, by what they find.
- A JPEG that lacks blocks is refused, though libjpeg would fill them with gray (`jpeg.py`); one
  that lacks only its end marker is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG

from PIL import Image
from PIL.ImageFile import ImageFile

from pipeline.errors import RejectedImage
from pipeline.images.formats import sniff, suffix
from pipeline.images.jpeg import Jpeg, load_whole
from pipeline.images.limits import ImageLimits, Reject, check_bytes, reason_for
from pipeline.images.opening import open_image
from pipeline.images.pixels import U8Image, encode_jpeg, resize, to_rgb
from pipeline.images.region import AUTO, Auto, Region, as_region, take_region
from pipeline.images.silence import silence

__all__ = [
    "AUTO",
    "Auto",
    "ImageLimits",
    "Region",
    "Reject",
    "U8Image",
    "as_region",
    "decode",
    "encode_jpeg",
    "pixel_count",
    "read_bytes",
    "resize",
    "sniff",
    "suffix",
    "take_region",
    "to_rgb",
]


def read_bytes(path: Path, limits: ImageLimits) -> bytes:
    """Read a regular file of at most `limits.max_bytes`.

    Raises:
        RejectedImage: it is larger, or not a regular file.
        OSError: it cannot be read.
    """
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise RejectedImage(Reject.NOT_AN_IMAGE, f"{path} is not a regular file")
    check_bytes(status.st_size, limits)
    with path.open("rb") as file:
        data = file.read(limits.max_bytes + 1)  # the file may have grown since
    check_bytes(len(data), limits)
    return data


def pixel_count(data: bytes, limits: ImageLimits) -> int:
    """Read from the header of encoded bytes how many pixels `decode` would make of them.

        pixel_count(Path("photo.jpg").read_bytes(), ImageLimits())   # 12_000_000

    Raises:
        RejectedImage: they are no acceptable photo, as far as the header shows.
    """
    with _rejecting(), silence():
        width, height = _open(data, limits).size
    return width * height


def decode(data: bytes, limits: ImageLimits) -> Image.Image:
    """Encoded bytes → an upright picture in mode RGB without metadata.

    Safe to call from many threads.

        image = decode(Path("photo.jpg").read_bytes(), ImageLimits())

    Raises:
        RejectedImage: they are no acceptable photo, whatever is wrong with them.
    """
    with _rejecting(), silence():
        image = _open(data, limits)
        load_whole(image) if isinstance(image, Jpeg) else image.load()
        return to_rgb(image)


def _open(data: bytes, limits: ImageLimits) -> ImageFile:
    if not data:
        raise RejectedImage(Reject.EMPTY, "0 bytes")
    check_bytes(len(data), limits)
    return open_image(data, limits)


@contextmanager
def _rejecting() -> Iterator[None]:
    """Turn what decoders raise into `RejectedImage`."""
    try:
        yield
    except RejectedImage:
        raise
    except Exception as error:  # on damaged bytes Pillow raises nearly every built-in exception
        message = " ".join(str(error).split()) or type(error).__name__
        raise RejectedImage(reason_for(error), message) from error
