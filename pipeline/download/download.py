"""Download a catalog's photos: URLs in the ledger → images/, each ending in a named state.

Files are written aside and renamed, and each outcome is committed as soon as it is known: a run
that is killed loses only the photos in flight, and the next run fetches them again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.catalog.catalog import Catalog, State
from pipeline.config import DownloadSettings
from pipeline.download.queue import DownloadQueue
from pipeline.download.storing import Downloaded, DownloadJob, FetchPhotos, fetch_here
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
    fetch: FetchPhotos = fetch_here,
    progress: Progress = SILENT,
) -> DownloadReport:
    """Fetch every pending photo; with `retry_failed`, only those that failed.

    `workers` threads decode, resize and store the photos, here or wherever `fetch` has them
    fetched. The ledger is written here only.

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
        with progress.task("downloading", total, "photos") as advance, catalog.fast_commits():
            run = _DownloadRun(queue, state, advance)
            fetch(
                queue.urls(state), DownloadJob(catalog.folder, settings, limits, workers), run.end
            )
            tried, received = run.tried, run.bytes
    return DownloadReport(tried, received, queue.counts(), queue.trouble_by_host())


@dataclass
class _DownloadRun:
    """One run over the URLs in one state."""

    queue: DownloadQueue
    state: State
    advance: Advance
    tried: int = 0
    bytes: int = 0
    trouble: Counter[str] = field(default_factory=Counter)

    def end(self, downloaded: Downloaded) -> None:
        """Record the outcome of a URL."""
        record = downloaded.record
        self.queue.record_outcome(self.state, record)
        self.bytes += downloaded.bytes
        self.tried += 1
        if record.reason:
            self.trouble[record.reason] += 1
        reasons = [f"{count:,} {reason}" for reason, count in self.trouble.most_common(4)]
        self.advance(1, ", ".join([f"{self.bytes / 1e6:,.1f} MB", *reasons]))


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
