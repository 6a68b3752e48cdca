"""GIF bytes → an opened decoder for the first frame."""

from __future__ import annotations

import io

from PIL.GifImagePlugin import GifImageFile

_EXTENSION, _FRAME, _END, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9
_MAX_BLOCKS = 100_000  # before the first frame: 25 MB of comments, if they are full


class _Gif(GifImageFile):
    # Pillow allocates what the *second* frame will be drawn on while it opens the file.
    disposal_method = property(lambda self: 0, lambda self, method: None)


def open_gif(data: bytes) -> GifImageFile:
    """Open a GIF file without what precedes its first frame, such as comments.

    Raises:
        EOFError, IndexError: it is truncated.
        ValueError: it has more blocks than any real file.
    """
    start = 13 + (6 << (data[10] & 7) if data[10] & 0x80 else 0)  # after the global color table
    position, control, blocks = start, b"", 0
    while (kind := data[position]) != _FRAME:
        begin = position
        position += 1
        if kind == _END:
            raise EOFError("truncated before the first frame")
        if kind == _EXTENSION:
            position += 1
            while (size := data[position]) and blocks <= _MAX_BLOCKS:
                position, blocks = position + 1 + size, blocks + 1
            position += 1
        if data[begin : begin + 2] == bytes((_EXTENSION, _CONTROL)):
            control = data[begin:position]
        blocks += 1
        if blocks > _MAX_BLOCKS:
            raise ValueError("too many blocks")
    return _Gif(io.BytesIO(data[:start] + control + data[position:]))
