"""Ingest a source: items → catalog.sqlite, and images/ for photos that have no file yet.

Every photo that has a file is read and decoded once, so that what is wrong with it is named and
counted before any model sees it; a file whose size and time have not changed is not read again.
Photos at a URL become pending: `download` fetches them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pipeline import images
from pipeline.artifacts import digest
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.left_out import (
    LeftOutCount,
    Unmatched,
    is_unread,
    keep_unread,
    leave_out,
    left_out_counts,
    look_at_mount_point,
    unmatched,
)
from pipeline.catalog.photos import MISSING, PHOTOS_FAULT, UNREADABLE
from pipeline.catalog.records import in_range
from pipeline.concurrency import ordered_map
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.progress import SILENT, Advance, Progress
from pipeline.sources.base import (
    LeftOut,
    MountPoint,
    Offer,
    Skipped,
    Source,
    SourceItem,
    SourcePhoto,
)

Inspected = tuple[Offer, list[ImageRecord]]
DUPLICATE = "duplicate id"


@dataclass(frozen=True)
class IngestReport:
    """What one run recorded: the states of the rows offered, which add up to their number."""

    offered: int  # rows that the source offered
    counts: dict[str, dict[str, int]]  # state → reason → number of rows, over the whole catalog
    newly_removed: int
    unchanged: bool = False  # as the source's version showed, without reading it
    left_out: Sequence[LeftOutCount] = ()  # what the source found besides, most files first
    unmatched: Mapping[str, Unmatched] = field(default_factory=dict)  # rows, photos: see there

    @classmethod
    def of(cls, catalog: Catalog, newly_removed: int = 0, unchanged: bool = False) -> IngestReport:
        """Read from the ledger what the last ingest left there."""
        counts = catalog.counts()
        offered = sum(sum(n.values()) for s, n in counts.items() if s != State.REMOVED)
        others = left_out_counts(catalog)
        return cls(offered, counts, newly_removed, unchanged, others, unmatched(catalog, counts))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        content = asdict(self)
        return {"states" if name == "counts" else name: v for name, v in content.items()}


def ingest(
    source: Source,
    catalog: Catalog,
    limits: ImageLimits,
    workers: int = 2,
    progress: Progress = SILENT,
    batch_size: int = 256,
) -> IngestReport:
    """Bring the catalog up to date with its source.

    `workers` threads read and decode photos. Every `batch_size` items are committed together: at
    most these are repeated after a kill.

        report = ingest(sources.create(config.source), catalog, ImageLimits())

    Raises:
        SourceError: the source cannot be read.
    """
    version = digest([source.version, str(limits)]) if source.version else None
    if version and catalog.get_meta("version") == version and catalog.has_stored_photos():
        return IngestReport.of(catalog, unchanged=True)
    offers = source.items()
    first = list(islice(offers, 1))  # a source that cannot be read changes nothing
    with catalog.transaction():
        catalog.set_meta("version", None)
        if catalog.get_meta("limits") != str(limits):
            catalog.forget_files()
            catalog.set_meta("limits", str(limits))
        run = catalog.begin_ingest()
    inspect = _Inspector(catalog, limits)
    with progress.task("ingesting", source.total, "items") as advance:
        work = ((offer, _records(catalog, offer)) for offer in chain(first, offers))
        inspected = _counted(ordered_map(inspect, work, workers, ahead=8 * workers), advance)
        while batch := list(islice(inspected, batch_size)):
            with catalog.transaction():
                for offer in batch:
                    _put(catalog, run, offer)
    with catalog.transaction():
        keep_unread(catalog, run)
        removed = catalog.finish_ingest(run)
        catalog.set_meta("version", version)
    return IngestReport.of(catalog, removed)


def _counted(inspected: Iterator[Inspected], advance: Advance) -> Iterator[Inspected]:
    for offer, records in inspected:
        yield offer, records
        if isinstance(offer, SourceItem | Skipped):
            advance(1)


def _put(catalog: Catalog, run: int, inspected: Inspected) -> None:
    offer, records = inspected
    if isinstance(offer, Skipped):
        catalog.skip(offer.row, offer.reason)
        return
    if isinstance(offer, LeftOut):
        leave_out(catalog, offer)
        return
    if isinstance(offer, MountPoint):
        look_at_mount_point(catalog, run, offer)
        return
    if not offer.photos and is_unread(catalog, offer.key):
        return  # `keep_unread` leaves it as it is
    fields = (offer.key, offer.name, offer.category, offer.metadata, records)
    if not catalog.put(run, *fields, without_photo=offer.without_photo, remark=offer.remark):
        catalog.skip(offer.row, DUPLICATE, offer.key)


def _records(catalog: Catalog, offer: Offer) -> dict[str, ImageRecord]:
    """The ledger's records of an item's images, by their URIs."""
    record = catalog.item_by_key(offer.key) if isinstance(offer, SourceItem) else None
    return {image.uri: image for image in catalog.images(record.id)} if record else {}


@dataclass(frozen=True)
class _Inspector:
    """Turns the photos of an item into ledger rows; runs on several threads at once."""

    catalog: Catalog
    limits: ImageLimits

    def __call__(self, work: tuple[Offer, dict[str, ImageRecord]]) -> Inspected:
        item, records = work
        photos = item.photos if isinstance(item, SourceItem) else ()
        return item, [self.inspect(photo, records.get(photo.uri)) for photo in photos]

    def inspect(self, photo: SourcePhoto, record: ImageRecord | None) -> ImageRecord:
        """Read and decode one photo, unless the ledger's record is of this very file."""
        try:
            if photo.data is not None:
                record = self.describe(photo.uri, photo.data)  # only what is acceptable is stored
                stored = self.catalog.store_photo(photo.data, Path(photo.uri).suffix)
                return replace(record, path=stored)
            if photo.path is not None:
                return self.read(photo.uri, photo.path.absolute(), record)
        except RejectedImage as rejected:
            return ImageRecord(photo.uri, State.REJECTED, rejected.reason)
        # A photo at a URL: its download may have ended already.
        was_tried = record and record.tried_at is not None and record.state is not State.REMOVED
        return record if record and was_tried else ImageRecord(photo.uri, State.PENDING)

    def read(self, uri: str, path: Path, record: ImageRecord | None) -> ImageRecord:
        """Describe a file of the user's, which stays where it is."""
        try:
            str(path).encode()  # on Linux a file name may be any bytes
            status = path.stat()
            if record and _same_file(record, path, status):
                return record
            data = images.read_bytes(path, self.limits)
        except UnicodeEncodeError:
            return ImageRecord(uri, State.FAILED, "file name is not UTF-8")
        except FileNotFoundError:
            return ImageRecord(uri, State.FAILED, MISSING)
        except OSError as error:
            if error.errno not in PHOTOS_FAULT:
                raise  # a bad disk stops the run
            return ImageRecord(uri, State.FAILED, f"{UNREADABLE}: {error.strerror}")
        mtime_ns, ctime_ns = _times(status)
        photo = self.describe(uri, data)
        return replace(photo, path=str(path), mtime_ns=mtime_ns, ctime_ns=ctime_ns)

    def describe(self, uri: str, data: bytes) -> ImageRecord:
        """Decode the bytes; a RejectedImage says why they are no acceptable photo."""
        image = images.decode(data, self.limits)
        photo = ImageRecord(uri, State.AVAILABLE, width=image.width, height=image.height)
        return replace(photo, size=len(data), sha256=hashlib.sha256(data).digest())


def _same_file(record: ImageRecord, path: Path, status: os.stat_result) -> bool:
    recorded = (record.state, record.path, record.size, (record.mtime_ns, record.ctime_ns))
    return recorded == (State.AVAILABLE, str(path), status.st_size, _times(status))


def _times(status: os.stat_result) -> tuple[int, int]:
    """When the content changed, and when the file did: the first can be set to that of another."""
    return in_range(status.st_mtime_ns), in_range(status.st_ctime_ns)
