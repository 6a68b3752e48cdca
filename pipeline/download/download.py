"""Download a catalog's photos: URLs in the ledger → images/, each ending in a named state.

Files are written aside and renamed, and each outcome is committed as soon as it is known: a run
that is killed loses only the photos in flight, and the next run fetches them again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pipeline import images
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.config import DownloadSettings
from pipeline.download.outcomes import Fetched, Outcome
from pipeline.download.queue import DownloadQueue
from pipeline.download.schedule import fetch_all
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.progress import SILENT, Advance, Progress


@dataclass(frozen=True)
class DownloadReport:
    """What one run did, and the present state of all images at URLs."""

    tried: int  # distinct URLs that this run tried
    bytes: int  # of photos that this run received
    # State → reason → number of images, over the whole catalog: they add up to its images.
    counts: dict[str, dict[str, int]]
    # Host → reason → number of images that failed or were rejected, the worst host first.
    trouble: dict[str, dict[str, int]] = field(default_factory=dict)


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
        tried_at = datetime.now(UTC).isoformat(timespec="seconds")
        if isinstance(outcome, Fetched):
            loop = asyncio.get_running_loop()
            record = await loop.run_in_executor(self.pool, self.store, url, outcome)
            self.bytes += len(outcome.data)
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
        self.queue.record_outcome(self.state, record)
        self.tried += 1
        if record.reason:
            self.trouble[record.reason] += 1
        reasons = [f"{count:,} {reason}" for reason, count in self.trouble.most_common(4)]
        self.advance(1, ", ".join([f"{self.bytes / 1e6:,.1f} MB", *reasons]))

    def store(self, url: str, fetched: Fetched) -> ImageRecord:
        """Decode, resize and store a photo; runs on several threads at once."""
        data = fetched.data
        try:
            image = images.decode(data, self.limits)
            if self.settings.resize != "none":
                data = images.encode_jpeg(image, self.settings.resize, self.settings.quality)
        except RejectedImage as rejected:
            return ImageRecord(url, State.REJECTED, rejected.reason)
        suffix = images.suffix(data)
        return ImageRecord(
            url,
            State.AVAILABLE,
            path=self.queue.catalog.store_photo(data, suffix, flush=False),
            size=len(data),
            sha256=hashlib.sha256(data).digest(),
            width=image.width,
            height=image.height,
        )


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


def download_page(report: DownloadReport) -> str:
    """Format the outcome of a catalog's downloads as a page of Markdown."""
    total = sum(sum(reasons.values()) for reasons in report.counts.values())
    lines = [
        "# Downloads",
        "",
        f"{total:,} images at URLs; the last run tried {report.tried:,} URLs and received"
        f" {report.bytes / 1e6:,.1f} MB.",
        *_table("state | reason | images", report.counts),
        *_table("host | reason | images", report.trouble),
    ]
    return "\n".join(lines) + "\n"


def _table(heading: str, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A Markdown table of three columns, the last one numbers; nothing if it would be empty."""
    rows = [
        f"| {_cell(name)} | {_cell(reason)} | {number:,} |"
        for name, reasons in counts.items()
        for reason, number in reasons.items()
    ]
    return ["", f"| {heading} |", "|---|---|---:|", *rows] if rows else []


def _cell(text: str) -> str:
    """Escape text, so that it stays in its cell and is no markup: host names may be anything."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~!])", r"\\\1", " ".join(text.split()))
