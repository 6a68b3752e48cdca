"""Photos of the catalog, in the sizes that pages show."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from pipeline import images
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.service.admission import Admission
from pipeline.service.decoding import PhotoDecoder

WIDTHS = (96, 160, 240, 320, 480, 640, 960, 1280)
"""Pixels of the longer side; what is asked for is rounded up to one of them."""
QUALITY = 82
CACHE_BYTES = 64_000_000


class Thumbnails:
    """Makes thumbnails, and keeps those asked for last."""

    def __init__(self, decoder: PhotoDecoder, admission: Admission, limits: ImageLimits) -> None:
        self._decoder, self._admission = decoder, admission
        self._limits = limits.for_stored()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    async def get(self, name: str, path: Path, width: int, sha256: bytes) -> bytes:
        """Return the photo of this content as a JPEG file, its longer side at most `width`.

        Raises:
            RejectedImage: it can no longer be read.
        """
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]

        def read() -> bytes:
            data = images.read_bytes(path, self._limits)
            if hashlib.sha256(data).digest() != sha256:
                raise RejectedImage("photo changed since it was ingested", sha256.hex())
            return data

        thumbnail = await self.make(read, width)
        self._keep(name, thumbnail)
        return thumbnail

    async def make(self, read: Callable[[], bytes], width: int) -> bytes:
        """Return a photo as a JPEG file, its longer side at most `width`.

        Raises:
            RejectedImage: it is no acceptable photo.
        """

        def work(data: bytes) -> bytes:
            return images.encode_jpeg(images.decode(data, self._limits), f"fit {width}", QUALITY)

        with self._admission.enter():
            return await self._decoder.run(read, self._limits, work)

    def _keep(self, name: str, thumbnail: bytes) -> None:
        if name not in self._kept:
            self._kept[name] = thumbnail
            self._bytes += len(thumbnail)
        while self._bytes > CACHE_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)

    def close(self) -> None:
        """End its thread."""
        self._decoder.close()
