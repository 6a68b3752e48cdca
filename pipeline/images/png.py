"""PNG bytes → an opened decoder, given only what makes the picture."""

from __future__ import annotations

import io
import struct
import zlib

from PIL.PngImagePlugin import PngImageFile

_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")
_MAX_CHUNKS = 20_000  # files of 20 MB have 2,500 of 8 kB


def open_png(data: bytes) -> PngImageFile:
    """Open a PNG file.

    Raises:
        EOFError, struct.error: it is truncated.
        SyntaxError, ValueError: it is damaged, or has more chunks than any real file.
    """
    return PngImageFile(io.BytesIO(_essentials(data)))


def _essentials(data: bytes) -> bytes:
    """Keep only the chunks that make the picture, each with a correct checksum.

    Pillow does not verify the checksums of pixel data, and unpacks text and ICC profiles (which
    may be decompression bombs) and animation frames that are never used.
    """
    kept, position = [data[:8]], 8
    for _ in range(_MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise EOFError(f"truncated in chunk {kind!r}")
        if kind in _NEEDED:
            if zlib.crc32(data[position + 4 : end - 4]) == int.from_bytes(data[end - 4 : end]):
                kept.append(data[position:end])
            elif kind.isupper():  # the picture does not need the others
                raise SyntaxError(f"wrong checksum in chunk {kind!r}")
        if kind == b"IEND":
            return b"".join(kept)
        position = end
    raise ValueError("too many chunks")
