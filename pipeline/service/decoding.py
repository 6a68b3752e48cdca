"""Encoded photos → pixels, with a bound on the memory that all requests together take for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import BinaryIO, TypeVar

from pipeline import images
from pipeline.images import ImageLimits

T = TypeVar("T")


class PixelBudget:
    """So many pixels may be decoded at a time; first come, first served.

    async with budget.take(12_000_000): ...
    """

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._turn = asyncio.Lock()
        self._released = asyncio.Event()

    @asynccontextmanager
    async def take(self, pixels: int) -> AsyncIterator[None]:
        """Wait for so many pixels, and use them within the block; for all, if it is more."""
        pixels = min(pixels, self._all)
        async with self._turn:
            while self._free < pixels:
                self._released.clear()
                await self._released.wait()
            self._free -= pixels
        try:
            yield
        finally:
            self._free += pixels
            self._released.set()


class PhotoDecoder:
    """Decodes on a few threads of its own.

    An encoded photo is read into memory when one of them is free, one at a time until it is known
    to be a photo, and decoded when its pixels fit into the budget: a photo of the largest size
    alone, small ones side by side.
    """

    def __init__(self, workers: int, budget: PixelBudget) -> None:
        self._budget = budget
        self._slots = asyncio.Semaphore(workers)
        self._looking = asyncio.Lock()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    async def run(
        self, read: Callable[[], bytes], limits: ImageLimits, work: Callable[[bytes], T]
    ) -> T:
        """Return `work(read())`, which decodes that photo, when there is room for it.

        Raises:
            RejectedImage: it is no acceptable photo.
        """
        loop = asyncio.get_running_loop()

        def look() -> tuple[bytes, int]:
            data = read()
            return data, images.pixel_count(data, limits)

        async with self._slots:
            async with self._looking:
                data, pixels = await loop.run_in_executor(self._pool, look)
            async with self._budget.take(pixels):
                return await loop.run_in_executor(self._pool, work, data)

    def close(self) -> None:
        """End its threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def read_all(file: BinaryIO, limits: ImageLimits) -> bytes:
    """Read a file from its beginning: no more than one byte beyond the limit, to be refused."""
    file.seek(0)
    return file.read(limits.max_bytes + 1)
