"""Download a catalog's photos: URLs in the ledger → images/, each ending in a named state.

What is written aside and renamed, and each outcome is committed when it is known: a run that is
killed loses the photos in flight, and the next one goes on with them.
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
from pipeline.download.queue import Downloads
from pipeline.download.schedule import fetch_all
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.progress import SILENT, Advance, Progress


@dataclass(frozen=True)
class DownloadReport:
    """What one run did, and how all images at URLs have ended by now."""

    tried: int
    """URLs that this run tried, each once however many items show it."""
    bytes: int
    """What it received of photos."""
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
    """Fetch every pending photo, or, with `retry_failed`, those that failed and nothing else.

    `workers` threads decode, resize and store what arrives.
    """
    downloads = Downloads(catalog)
    state = State.FAILED if retry_failed else State.PENDING
    if not retry_failed:
        downloads.settle_known()
    _note_other_size(downloads, settings, progress)
    tried = received = 0
    if total := downloads.count(state):
        with (
            progress.task("downloading", total, "photos") as advance,
            catalog.fast_commits(),
            ThreadPoolExecutor(workers) as pool,
        ):
            run = _Run(downloads, state, settings, limits, pool, advance)
            asyncio.run(fetch_all(downloads.urls(state), settings, limits.max_bytes, run.end))
            tried, received = run.tried, run.bytes
    return DownloadReport(tried, received, downloads.counts(), downloads.trouble_by_host())


@dataclass
class _Run:
    """One run over the URLs in one state."""

    downloads: Downloads
    state: State
    settings: DownloadSettings
    limits: ImageLimits
    pool: ThreadPoolExecutor
    advance: Advance
    tried: int = 0
    bytes: int = 0
    trouble: Counter[str] = field(default_factory=Counter)

    async def end(self, url: str, outcome: Outcome) -> None:
        """Judge and keep what came of a URL, and record it."""
        loop = asyncio.get_running_loop()
        if isinstance(outcome, Fetched):
            record = await loop.run_in_executor(self.pool, self.keep, url, outcome)
            self.bytes += len(outcome.data)
        else:
            record = _failure(url, outcome)
        self.downloads.end(self.state, record)
        self.tried += 1
        if record.reason:
            self.trouble[record.reason] += 1
        self.advance(1, self.standing())

    def keep(self, url: str, fetched: Fetched) -> ImageRecord:
        """Decode, resize and store a photo; runs on several threads at once."""
        made: dict[str, Any] = vars(fetched) | {"tried_at": _now()}
        del made["data"]
        try:
            image = images.decode(fetched.data, self.limits)
        except RejectedImage as rejected:
            return ImageRecord(url, State.REJECTED, rejected.reason, **made)
        if self.settings.resize == "none":
            data, suffix = fetched.data, images.suffix(fetched.data)
        else:
            data = images.encode_jpeg(image, self.settings.resize, self.settings.quality)
            suffix = ".jpg"
        return ImageRecord(
            url,
            State.AVAILABLE,
            path=self.downloads.catalog.store_photo(data, suffix, flush=False),
            size=len(data),
            sha256=hashlib.sha256(data).digest(),
            width=image.width,
            height=image.height,
            **made,
        )

    def standing(self) -> str:
        reasons = [f"{count:,} {reason}" for reason, count in self.trouble.most_common(4)]
        return ", ".join([f"{self.bytes / 1e6:,.1f} MB", *reasons])


def _note_other_size(downloads: Downloads, settings: DownloadSettings, progress: Progress) -> None:
    """Say that photos which are here already were kept in another size or quality."""
    now = f"resize: {settings.resize}, quality: {settings.quality}"
    before = downloads.catalog.get_meta("downloads")
    if before in (None, now) or State.AVAILABLE not in downloads.counts():
        with downloads.catalog.transaction():
            downloads.catalog.set_meta("downloads", now)
    else:
        progress.note(
            f"the photos that are here were kept with {before}, new ones are with {now};"
            " `imgsearch clean --all` and a new build fetch all of them anew"
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
