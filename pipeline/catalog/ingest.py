"""Ingest a source: items → catalog.sqlite, and images/ for photos that have no file yet.

Every photo that has a file is read and decoded once, so that what is wrong with it is named and
counted before any model sees it; a file whose size and time have not changed is not read again.
Photos at a URL become pending: `download` fetches them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from typing import Any, TypeVar

from pipeline.artifacts import digest
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.inspector import Inspector
from pipeline.catalog.left_out import LeftOutCount, Unmatched, left_out_counts, unmatched
from pipeline.catalog.look import Look
from pipeline.catalog.renames import (
    Move,
    find_moves,
    move_items,
    remember_rows,
    with_remembered_rows,
)
from pipeline.concurrency import ordered_map
from pipeline.images import ImageLimits
from pipeline.progress import SILENT, Advance, Progress
from pipeline.sources.base import Offer, Skipped, Source, SourceItem

AnyOffer = TypeVar("AnyOffer", bound=Offer)
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
    source = with_remembered_rows(source, catalog)
    offers = source.items()
    offers = chain(list(islice(offers, 1)), offers)  # a source that cannot be read changes nothing
    _use_limits(catalog, limits)
    write = _Writer(catalog, limits, workers, batch_size)
    with Look(catalog) as look:
        if not catalog.has_items:  # nothing to compare with: items are written as they are read
            with progress.task("ingesting", source.total, "items") as advance:
                write(look.differing(_counted(offers, advance)))
        else:
            differing = _compare(look, offers, source.total, progress)
            if moves := find_moves(catalog, limits):
                source = _follow(source, catalog, moves)
                look.clear()
                differing = _compare(look, source.items(), source.total, progress)
            with progress.task("ingesting", differing, "items") as advance:
                changed = look.differing_again(source.items()) if differing else iter(())
                write(_counted(changed, advance))
        with catalog.transaction():
            removed = look.finish()
            catalog.finish_ingest(version)
    return IngestReport.of(catalog, removed)


def _compare(look: Look, offers: Iterable[Offer], total: int | None, progress: Progress) -> int:
    """Compare what is offered with the ledger; return how many items may differ."""
    with progress.task("comparing", total, "items") as advance:
        return sum(1 for _ in look.differing(_counted(offers, advance)))


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


@dataclass(frozen=True)
class _Writer:
    """Writes items to the ledger, a batch at a time, once their photos are inspected."""

    catalog: Catalog
    limits: ImageLimits
    workers: int
    batch_size: int

    def __call__(self, items: Iterable[SourceItem]) -> None:
        inspector = Inspector(self.catalog, self.limits)

        def inspect(work: tuple[SourceItem, Records]) -> tuple[SourceItem, list[ImageRecord]]:
            item, records = work
            return item, [inspector.inspect(p, records.get(p.uri)) for p in item.photos]

        work = ((item, self._records(item)) for item in items)
        inspected = ordered_map(inspect, work, self.workers, ahead=8 * self.workers)
        while batch := list(islice(inspected, self.batch_size)):
            with self.catalog.transaction():
                if sum(self._put(item, images) for item, images in batch):
                    self.catalog.begin_ingest()

    def _records(self, item: SourceItem) -> Records:
        stored = self.catalog.stored_items([item.key]).get(item.key)
        return {image.uri: image for image in stored.images} if stored else {}

    def _put(self, item: SourceItem, images: list[ImageRecord]) -> bool:
        fields = (item.key, item.name, item.category, item.metadata, images)
        return self.catalog.put(*fields, without_photo=item.without_photo, remark=item.remark)
