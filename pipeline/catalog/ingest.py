"""Ingest a source: items → catalog.sqlite, and images/ for photos that have no file yet.

Every photo that has a file is read and decoded once, so that what is wrong with it is named and
counted before any model sees it; a file whose size and time have not changed is not read again.
Photos at a URL become pending: `download` fetches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from typing import Any, TypeVar

from pipeline.artifacts import digest, library_versions
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.inspector import Inspector
from pipeline.catalog.left_out import LeftOutCount, Unmatched, left_out_counts, unmatched
from pipeline.catalog.look import Look
from pipeline.catalog.removal_guard import has_live_items, reason_to_hold, root_of
from pipeline.catalog.renames import (
    Move,
    find_moves,
    move_items,
    remember_rows,
    with_remembered_rows,
)
from pipeline.concurrency import ordered_map
from pipeline.errors import SourceGoneError
from pipeline.images import ImageLimits
from pipeline.progress import SILENT, Advance, Progress
from pipeline.sources.base import Offer, Skipped, Source, SourceItem

MAX_KEPT = 1000  # items that differ; where there are more, the source is read once more for them

AnyOffer = TypeVar("AnyOffer", bound=Offer)
Find = Callable[[Iterable[Offer]], Iterator[SourceItem]]
Records = Mapping[str, ImageRecord]
"""The ledger's records of an item's images, by their URIs."""


@dataclass(frozen=True)
class IngestReport:
    """What one run recorded: the states of the rows offered, which add up to their number."""

    offered: int  # rows that the source offered
    counts: dict[str, dict[str, int]]  # state → reason → number of rows, over the whole catalog
    newly_removed: int
    unchanged: bool = False  # as the source's version showed, without reading it
    left_out: Sequence[LeftOutCount] = ()  # what the source found besides, most files first
    unmatched: Mapping[str, Unmatched] = field(default_factory=dict)  # rows, photos: see there
    held: str | None = None  # why nothing of what the source offers was ingested, if so

    @classmethod
    def of(cls, catalog: Catalog, newly_removed: int = 0, unchanged: bool = False) -> IngestReport:
        """Read from the ledger what the last ingest left there."""
        counts = catalog.counts()
        offered = sum(sum(n.values()) for s, n in counts.items() if s != State.REMOVED)
        others, missing = left_out_counts(catalog), unmatched(catalog, counts)
        held = catalog.get_meta("held")
        return cls(offered, counts, newly_removed, unchanged, others, missing, held)

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
    *,
    accept_removals: bool = False,
) -> IngestReport:
    """Bring the catalog up to date with its source; where nothing differs, nothing is written.

    `workers` threads read and decode photos. Every `batch_size` items are committed together: at
    most these are repeated after a kill. Where items seem to be out of reach rather than gone
    (`removal_guard.py`), nothing is ingested, and the report says why, unless `accept_removals`.

        report = ingest(sources.create(config.source), catalog, ImageLimits())

    Raises:
        SourceError: the source cannot be read, or is empty as the catalog is.
    """
    version = source_version(source, limits)
    if version and catalog.get_meta("version") == version and catalog.has_stored_photos():
        return _unchanged(catalog)
    source = with_remembered_rows(source, catalog)
    try:
        offers = source.items()
        offers = chain(list(islice(offers, 1)), offers)  # what cannot be read changes nothing
    except SourceGoneError as gone:
        if not accept_removals:
            return hold(catalog, gone)
        offers = iter(())
    _use_limits(catalog, limits)
    run = _Run(catalog, limits, workers, progress, batch_size)
    with Look(catalog) as look:
        if not catalog.has_items:  # nothing to compare with: items are written as they are read
            with catalog.without_content_index():
                run.write(look.differing, offers, source.total)
        else:
            differing = run.compare(look, offers, source.total)
            moves = find_moves(catalog, limits)
            reason = reason_to_hold(source, catalog, moves)
            if reason and not accept_removals:
                return hold(catalog, reason)
            if moves:
                source = _follow(source, catalog, moves)
                look.clear()
                differing = run.compare(look, source.items(), source.total)
            if differing is None:
                run.write(look.differing_again, source.items(), source.total)
            elif differing:
                run.write(_items, differing, len(differing))
        return _finish(look, catalog, version, root_of(source))


def source_version(source: Source, limits: ImageLimits) -> str | None:
    """Identify what an ingest would record, as far as shows without it; None if nothing shows."""
    seen = source.version
    return seen and digest([seen, str(limits), library_versions("pillow")])


def _unchanged(catalog: Catalog) -> IngestReport:
    with catalog.transaction():
        catalog.set_meta("held", None)
    return IngestReport.of(catalog, unchanged=True)


def _finish(look: Look, catalog: Catalog, version: str | None, root: str | None) -> IngestReport:
    with catalog.transaction():
        removed = look.finish()
        # In a folder, a file that could not be read may be readable the next time, as it is.
        catalog.finish_ingest(None if root and catalog.has_failed_files() else version)
        catalog.set_meta("root", root)
        catalog.set_meta("held", None)
    return IngestReport.of(catalog, removed)


def hold(catalog: Catalog, reason: str | SourceGoneError) -> IngestReport:
    """Note, and report, why nothing is ingested.

    Raises:
        SourceGoneError: that is the reason, and there are no items that it would remove.
    """
    if isinstance(reason, SourceGoneError) and not has_live_items(catalog):
        raise reason
    with catalog.transaction():
        catalog.set_meta("held", str(reason))
    return IngestReport.of(catalog)


def _follow(source: Source, catalog: Catalog, moves: Sequence[Move]) -> Source:
    """Have items, and the rows that describe them, follow their photos."""
    with catalog.transaction():
        catalog.begin_ingest()
        remember_rows(source, catalog, moves)
        move_items(catalog, moves)
    return with_remembered_rows(source, catalog)


def _use_limits(catalog: Catalog, limits: ImageLimits) -> None:
    """Have all photos judged again where what is acceptable has changed."""
    if catalog.get_meta("limits") == str(limits):
        return
    with catalog.transaction():
        catalog.forget_files()
        catalog.set_meta("limits", str(limits))
        catalog.set_meta("version", None)


def _counted(offers: Iterable[AnyOffer], advance: Advance) -> Iterator[AnyOffer]:
    for offer in offers:
        yield offer
        if isinstance(offer, SourceItem | Skipped):
            advance(1)


def _items(offers: Iterable[Offer]) -> Iterator[SourceItem]:
    return (offer for offer in offers if isinstance(offer, SourceItem))


@dataclass(frozen=True)
class _Run:
    """One ingest: what is common to its passes over the source."""

    catalog: Catalog
    limits: ImageLimits
    workers: int
    progress: Progress
    batch_size: int

    def compare(
        self, look: Look, offers: Iterable[Offer], total: int | None
    ) -> list[SourceItem] | None:
        """Compare what is offered with the ledger; return the items that may differ.

        None if they are many, or hold photos.
        """
        kept: list[SourceItem] | None = []
        with self.progress.task("comparing", total, "items") as advance:
            for item in look.differing(_counted(offers, advance)):
                holds_photo = any(photo.data is not None for photo in item.photos)
                if kept is None or holds_photo or len(kept) == MAX_KEPT:
                    kept = None
                else:
                    kept.append(item)
        return kept

    def write(self, find: Find, offers: Iterable[Offer], total: int | None) -> None:
        """Inspect the photos of what `find` finds to differ, and write it, a batch at a time."""
        with self.progress.task("ingesting", total, "items") as advance:
            items = find(_counted(offers, advance))
            work = ((item, self._records(item)) for item in items)
            inspected = ordered_map(self._inspect, work, self.workers, ahead=8 * self.workers)
            while batch := list(islice(inspected, self.batch_size)):
                with self.catalog.transaction():
                    if sum(self._put(item, images) for item, images in batch):
                        self.catalog.begin_ingest()

    def _records(self, item: SourceItem) -> Records:
        stored = self.catalog.stored_items([item.key]).get(item.key)
        return {image.uri: image for image in stored.images} if stored else {}

    def _inspect(self, work: tuple[SourceItem, Records]) -> tuple[SourceItem, list[ImageRecord]]:
        (item, records), inspector = work, Inspector(self.catalog, self.limits)
        return item, [inspector.inspect(photo, records.get(photo.uri)) for photo in item.photos]

    def _put(self, item: SourceItem, images: list[ImageRecord]) -> bool:
        fields = (item.key, item.name, item.category, item.metadata, images)
        return self.catalog.put(*fields, without_photo=item.without_photo, remark=item.remark)
