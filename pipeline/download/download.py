"""Download a catalog's photos: URLs in the ledger → images/, each ending in a named state.

Files are written aside and renamed, and each outcome is committed as soon as it is known: a run
that is killed loses only the photos in flight, and the next run fetches them again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline import images
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.config import DownloadSettings
from pipeline.download.outcomes import Failed, Fetched, Outcome
from pipeline.download.queue import DownloadQueue
from pipeline.download.schedule import fetch_all
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.progress import SILENT, Advance, Progress


@dataclass(frozen=True)
class DownloadReport:
    """What one run did, and the present state of all images at URLs."""

    tried: int
    """Distinct URLs that this run tried."""
    bytes: int
    """Bytes of photos that this run received."""
    counts: dict[str, dict[str, int]]
    """State → reason → number of images, over the whole catalog: they add up to its images."""
    trouble: dict[str, dict[str, int]] = field(default_factory=dict)
    """Host → reason → number of images that failed or were rejected, the worst host first."""


def download(
    catalog: Catalog,
    settings: DownloadSettings,
    limits: ImageLimits,
    workers: int = 2,
    *,
    retry_failed: bool = False,
    progress: Progress = SILENT,
) -> DownloadReport:
    """Fetch every pending photo; with `retry_failed`, only those that failed.

    `workers` threads decode, resize and store the photos.

        report = download(catalog, config.download, ImageLimits())

    Raises:
        OSError: the photos cannot be written.
    """
    queue = DownloadQueue(catalog)
    state = State.FAILED if retry_failed else State.PENDING
    if not retry_failed:
        queue.reuse_stored()
    _note_other_size(queue, settings, progress)
    tried = received = 0
    if total := queue.count(state):
        with (
            progress.task("downloading", total, "photos") as advance,
            catalog.fast_commits(),
            ThreadPoolExecutor(workers) as pool,
        ):
            run = _DownloadRun(queue, state, settings, limits, pool, advance)
            asyncio.run(fetch_all(queue.urls(state), settings, limits.max_bytes, run.end))
            tried, received = run.tried, run.bytes
    return DownloadReport(tried, received, queue.counts(), queue.trouble_by_host())


@dataclass
class _DownloadRun:
    """One run over the URLs in one state."""

    queue: DownloadQueue
    state: State
    settings: DownloadSettings
    limits: ImageLimits
    pool: ThreadPoolExecutor
    advance: Advance
    tried: int = 0
    bytes: int = 0
    trouble: Counter[str] = field(default_factory=Counter)

    async def end(self, url: str, outcome: Outcome) -> None:
        """Store the photo, if there is one, and record the outcome of its URL."""
        loop = asyncio.get_running_loop()
        if isinstance(outcome, Fetched):
            record = await loop.run_in_executor(self.pool, self.store, url, outcome)
            self.bytes += len(outcome.data)
        else:
            record = _failure(url, outcome)
        self.queue.record_outcome(self.state, record)
        self.tried += 1
        if record.reason:
            self.trouble[record.reason] += 1
        self.advance(1, self.status())

    def store(self, url: str, fetched: Fetched) -> ImageRecord:
        """Decode, resize and store a photo; runs on several threads at once."""
        request: dict[str, Any] = vars(fetched) | {"tried_at": _now()}
        del request["data"]
        try:
            image = images.decode(fetched.data, self.limits)
        except RejectedImage as rejected:
            return ImageRecord(url, State.REJECTED, rejected.reason, **request)
        if self.settings.resize == "none":
            data, suffix = fetched.data, images.suffix(fetched.data)
        else:
            data = images.encode_jpeg(image, self.settings.resize, self.settings.quality)
            suffix = ".jpg"
        return ImageRecord(
            url,
            State.AVAILABLE,
            path=self.queue.catalog.store_photo(data, suffix, flush=False),
            size=len(data),
            sha256=hashlib.sha256(data).digest(),
            width=image.width,
            height=image.height,
            **request,
        )

    def status(self) -> str:
        reasons = [f"{count:,} {reason}" for reason, count in self.trouble.most_common(4)]
        return ", ".join([f"{self.bytes / 1e6:,.1f} MB", *reasons])


def _note_other_size(queue: DownloadQueue, settings: DownloadSettings, progress: Progress) -> None:
    """Note if the photos that are stored already have another size or quality."""
    now = f"resize: {settings.resize}, quality: {settings.quality}"
    before = queue.catalog.get_meta("downloads")
    if before in (None, now) or State.AVAILABLE not in queue.counts():
        with queue.catalog.transaction():
            queue.catalog.set_meta("downloads", now)
    else:
        progress.note(
            f"the stored photos were made with {before}, new ones are made with {now};"
            " to fetch all of them again, run `imgsearch clean --all` and build"
        )


def _failure(url: str, failed: Failed) -> ImageRecord:
    return ImageRecord(
        url,
        State.REJECTED if failed.rejected else State.FAILED,
        failed.reason,
        status=failed.status,
        attempts=failed.attempts,
        tried_at=_now(),
        seconds=failed.seconds,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
