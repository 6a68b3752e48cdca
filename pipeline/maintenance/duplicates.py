"""The near-duplicates of a catalog, group by group: every photo, and every item that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.artifacts import replacing
from pipeline.catalog import stats as catalog_stats
from pipeline.catalog.catalog import Catalog
from pipeline.config import Config
from pipeline.config.schema import DUPLICATES
from pipeline.duplicates.near_duplicates import NearDuplicates
from pipeline.duplicates.store import DuplicateStore
from pipeline.duplicates.update import look
from pipeline.engine import image_limits
from pipeline.images import ImageLimits
from pipeline.progress import SILENT, Progress
from pipeline.report.render import render

Shared = Literal["first", "bytes", "pixels", "near"]


@dataclass(frozen=True)
class Member:
    """An item of a group, and what its photo shares with that of the group's first one."""

    shared: Shared
    """first: it is that one | bytes: the same file | pixels: the same picture in another file |
    near: an edited copy."""
    sha256: str
    """Of the photo."""
    id: int
    key: str
    name: str
    category: str
    photo: str


@dataclass(frozen=True)
class DuplicateGroup:
    """Items whose photos are near-duplicates of the first one's."""

    members: tuple[Member, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many members share what, of what any share."""
        shared = [member.shared for member in self.members[1:]]
        return {kind: shared.count(kind) for kind in ("bytes", "pixels", "near") if kind in shared}


@dataclass(frozen=True)
class DuplicateGroups:
    """All groups of a catalog, the largest first."""

    catalog: str
    groups: tuple[DuplicateGroup, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def duplicate_groups(config: Config, progress: Progress = SILENT) -> DuplicateGroups:
    """Group the items of a catalog by near-duplicate photos; change nothing on the disk.

        duplicate_groups(config).groups[0].members

    What builds have found is used, and photos that they have not compared are compared now. Every
    item is a near-duplicate of the first one of its group; an item of several photos may be in
    several groups. A photo that can no longer be read is in none, unless several items show it.

    Raises:
        NotBuiltError: there is no catalog yet.
        DamagedArtifactError: what builds have found is not what was written.
    """
    with Catalog(config.folder) as catalog:
        store = DuplicateStore(config.folder / DUPLICATES)
        known = look(catalog, store, image_limits(config), config.embedding.decoders, progress)
        duplicates = NearDuplicates(known)
        photos = duplicates.groups()
        grouped = {photo for group in photos for photo in group}
        photos += [[photo] for photo in _on_several_items(catalog) if photo not in grouped]
        groups = [DuplicateGroup(tuple(_members(catalog, duplicates, group))) for group in photos]
    found = [group for group in groups if len(group.members) > 1]
    return DuplicateGroups(config.catalog, tuple(sorted(found, key=lambda g: -len(g.members))))


def write_parquet(file: Path, found: DuplicateGroups) -> int:
    """Write a row for each member, with the number of its group; return how many there are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"group": number, **asdict(member)}
        for number, group in enumerate(found.groups, 1)
        for member in group.members
    ]
    texts = ("shared", "sha256", "key", "name", "category", "photo")
    types = {"group": pa.int64(), "id": pa.int64(), **dict.fromkeys(texts, pa.string())}
    with replacing(file) as unfinished:
        pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(types.items()))), unfinished)
    return len(rows)


def duplicates_page(found: DuplicateGroups, limits: ImageLimits) -> str:
    """Return the groups, with thumbnails, as one HTML document."""
    return render("duplicates.html.jinja", limits, found=found)


def _on_several_items(catalog: Catalog) -> list[bytes]:
    """The SHA-256 of each photo that several items show."""
    images = [image for image, _ in catalog_stats.shared_photos(catalog)]
    return [sha256 for image in images for sha256 in _sha256(catalog, image)]


def _sha256(catalog: Catalog, image: int) -> Iterator[bytes]:
    for (sha256,) in catalog.select("SELECT sha256 FROM images WHERE id = :id", {"id": image}):
        yield sha256


def _members(
    catalog: Catalog, duplicates: NearDuplicates, photos: Sequence[bytes]
) -> Iterator[Member]:
    """The items that show these photos, each by the first of them that it shows."""
    seen: set[int] = set()
    for photo in photos:
        rows = catalog.select(
            "SELECT DISTINCT item FROM images WHERE sha256 = :photo AND state = 'available'"
            " ORDER BY item",
            {"photo": photo},
        )
        for (item,) in list(rows):
            record = None if item in seen else catalog.item(item)
            if record is None:
                continue
            shared = _shared(duplicates, photos[0], photo) if seen else "first"
            seen.add(item)
            path = catalog.photo_path(photo, item)
            names = record.key, record.name, record.category
            yield Member(shared, photo.hex(), item, *names, str(path or ""))


def _shared(duplicates: NearDuplicates, first: bytes, photo: bytes) -> Shared:
    if photo == first:
        return "bytes"
    return "pixels" if duplicates.same_pixels(first, photo) else "near"
