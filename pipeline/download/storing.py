"""The outcome of a URL → what the ledger says of its photo, which is stored if there is one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline import images
from pipeline.catalog.catalog import ImageRecord, State, store_photo
from pipeline.config import DownloadSettings
from pipeline.download.outcomes import Fetched, Outcome
from pipeline.download.schedule import fetch_all
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits


@dataclass(frozen=True)
class DownloadJob:
    """How photos are fetched, and where they are stored; it can be sent to other processes."""

    folder: Path
    """Of the catalog."""
    settings: DownloadSettings
    limits: ImageLimits
    decoders: int = 2
    """Threads that decode, resize and store photos."""


@dataclass(frozen=True)
class Downloaded:
    """What became of a URL."""

    record: ImageRecord
    bytes: int = 0
    """That were received."""


End = Callable[[Downloaded], None]
"""Writes the ledger."""
FetchPhotos = Callable[[Iterable[str], DownloadJob, End], None]
"""Fetches all URLs, and calls `End` for each."""


def fetch_here(urls: Iterable[str], job: DownloadJob, end: End) -> None:
    """Fetch photos in this process: a `FetchPhotos`.

        fetch_here(urls, DownloadJob(catalog.folder, config.download, ImageLimits()), print)

    Raises:
        OSError: the photos cannot be written.
    """
    with ThreadPoolExecutor(job.decoders) as pool:

        async def handle(url: str, outcome: Outcome) -> None:
            end(await keep(job, pool, url, outcome))

        asyncio.run(fetch_all(urls, job.settings, job.limits.max_bytes, handle))


async def keep(
    job: DownloadJob, pool: ThreadPoolExecutor, url: str, outcome: Outcome
) -> Downloaded:
    """Store the photo, if there is one, and return what the ledger should say."""
    tried_at = datetime.now(UTC).isoformat(timespec="seconds")
    received = 0
    if isinstance(outcome, Fetched):
        loop = asyncio.get_running_loop()
        record = await loop.run_in_executor(pool, _store, job, url, outcome.data)
        received = len(outcome.data)
    else:
        state = State.REJECTED if outcome.rejected else State.FAILED
        record = ImageRecord(url, state, outcome.reason)
    record = replace(
        record,
        status=outcome.status,
        attempts=outcome.attempts,
        tried_at=tried_at,
        seconds=outcome.seconds,
    )
    return Downloaded(record, received)


def _store(job: DownloadJob, url: str, data: bytes) -> ImageRecord:
    """Decode, resize and store a photo; runs on several threads at once."""
    try:
        image = images.decode(data, job.limits)
        if job.settings.resize != "none":
            data = images.encode_jpeg(image, job.settings.resize, job.settings.quality)
    except RejectedImage as rejected:
        return ImageRecord(url, State.REJECTED, rejected.reason)
    return ImageRecord(
        url,
        State.AVAILABLE,
        path=store_photo(job.folder, data, images.suffix(data), flush=False),
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
        width=image.width,
        height=image.height,
    )
