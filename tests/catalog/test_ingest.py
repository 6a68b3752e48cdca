"""ingest.py: what becomes of every item offered, and what is read again."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from pipeline import artifacts, images
from pipeline.catalog import catalog as catalog_module
from pipeline.catalog.catalog import Catalog, State
from pipeline.catalog.ingest import IngestReport, ingest
from pipeline.config import MetadataSettings
from pipeline.errors import SourceError
from pipeline.images import ImageLimits
from pipeline.progress import Advance, Silent
from pipeline.sources import walk
from pipeline.sources.base import SourceItem, SourcePhoto
from pipeline.sources.folder import FolderSource
from tests.conftest import Color, ListSource, png, tree

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
LIMITS = ImageLimits()
NOT_OFFERED = "no longer in the source"


class Market:
    """A folder of photos and the catalog of it; remembers which contents were decoded."""

    def __init__(self, root: Path, decoded: list[bytes]) -> None:
        self.photos = root / "photos"
        self.photos.mkdir()
        self.catalog = Catalog(root / "shop", create=True)
        self.decoded = decoded

    def paint(self, name: str, color: Color) -> None:
        (self.photos / name).write_bytes(png(color))

    def file(self, name: str) -> SourcePhoto:
        return SourcePhoto(name, self.photos / name)

    def offer(
        self,
        items: dict[str, Sequence[SourcePhoto]],
        limits: ImageLimits = LIMITS,
        batch_size: int = 256,
    ) -> IngestReport:
        """Ingest these items; afterwards `decoded` is what this run decoded."""
        self.decoded.clear()
        offers = [SourceItem(key, key, "", tuple(photos)) for key, photos in items.items()]
        return ingest(ListSource(offers), self.catalog, limits, batch_size=batch_size)

    def offer_files(self, *names: str, limits: ImageLimits = LIMITS) -> IngestReport:
        """One item for each file, called like it."""
        return self.offer({name: [self.file(name)] for name in names}, limits)

    def ids(self) -> dict[str, int]:
        found = (self.catalog.item(n) for n in range(1, 100))
        return {item.key: item.id for item in found if item}

    def state(self, key: str) -> tuple[str, str]:
        item = self.catalog.item_by_key(key)
        assert item is not None
        return item.state, item.reason

    def shown(self) -> list[tuple[str, bytes]]:
        """(item's key, photo's SHA-256) of every available image."""
        names = {number: key for key, number in self.ids().items()}
        return [(names[item], sha256) for sha256, item in self.catalog.photo_item_pairs()]


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    decoded: list[bytes] = []
    decode = images.decode

    def counted(data: bytes, limits: ImageLimits) -> Image.Image:
        decoded.append(hashlib.sha256(data).digest())
        return decode(data, limits)

    monkeypatch.setattr(images, "decode", counted)
    made = Market(tmp_path, decoded)
    yield made
    made.catalog.close()


def dump(catalog: Catalog) -> list[str]:
    """All that the ledger holds, as another process sees it."""
    with closing(sqlite3.connect(catalog.file)) as witness:
        return list(witness.iterdump())


def sha(color: Color) -> bytes:
    return hashlib.sha256(png(color)).digest()


# -- States ----------------------------------------------------------------------------------------


def test_the_states_and_reasons_add_up_to_the_items_offered(market: Market) -> None:
    good = png(RED)
    contents = {
        ("available", ""): good,
        ("rejected", "empty file"): b"",
        ("rejected", "not an image"): b"hello",
        ("rejected", "truncated"): good[:-20],
        ("rejected", "too many bytes"): good + bytes(1000),
        ("rejected", "too small"): png(RED, (2, 9)),
        ("rejected", "too many pixels"): png(RED, (30, 30)),
        ("failed", "photo missing"): None,
        ("failed", "no photo"): None,
    }
    rng = random.Random(1)
    expected: Counter[tuple[str, str]] = Counter()
    items: dict[str, Sequence[SourcePhoto]] = {}
    for number in range(100):
        outcome = rng.choice(list(contents))
        expected[outcome] += 1
        name = f"{number}.png"
        data = contents[outcome]
        if data is not None:
            (market.photos / name).write_bytes(data)
        items[name] = [] if outcome[1] == "no photo" else [market.file(name)]
    limits = ImageLimits(max_bytes=500, max_pixels=800, min_side=3)
    report = market.offer(items, limits, batch_size=7)
    counted = {(s, r): n for s, reasons in report.counts.items() for r, n in reasons.items()}
    assert counted == expected
    assert report.offered == sum(counted.values()) == 100
    assert (report.newly_removed, report.unchanged) == (0, False)


def test_an_image_is_described_as_it_is(market: Market) -> None:
    data = png(RED, (7, 5))
    (market.photos / "a.png").write_bytes(data)
    os.utime(market.photos / "a.png", ns=(1, 123_456_789))
    market.offer_files("a.png")
    (image,) = market.catalog.images(1)
    assert (image.width, image.height, image.size) == (7, 5, len(data))
    assert (image.sha256, image.mtime_ns) == (hashlib.sha256(data).digest(), 123_456_789)
    assert (image.uri, image.path) == ("a.png", str(market.photos / "a.png"))


def test_a_folder_or_a_broken_link_is_no_photo(market: Market) -> None:
    (market.photos / "folder.png").mkdir()
    (market.photos / "link.png").symlink_to("nowhere")
    (market.photos / "loop.png").symlink_to("loop.png")
    market.offer_files("folder.png", "link.png", "loop.png")
    assert market.state("folder.png") == ("rejected", "not an image")
    assert market.state("link.png") == ("failed", "photo missing")
    assert market.state("loop.png")[1].startswith("photo cannot be read: Too many")


def test_a_photo_with_neither_bytes_nor_a_file_is_pending(market: Market) -> None:
    market.paint("a.png", RED)
    market.offer({"a": [SourcePhoto(str(market.photos / "a.png"))]})
    assert market.state("a") == ("pending", "")


def test_a_file_name_that_is_not_utf_8_is_counted_beside_the_others(market: Market) -> None:
    market.paint("a.png", RED)
    nameless = market.photos / os.fsdecode(b"caf\xe9.png")
    nameless.write_bytes(png(GREEN))
    report = ingest(FolderSource(market.photos), market.catalog, LIMITS)
    assert report.offered == 2
    assert report.counts == {"available": {"": 1}, "failed": {"file name is not UTF-8": 1}}
    assert market.ids().keys() == {"a.png", "caf\\xe9.png"}


def test_an_item_with_one_good_photo_is_available(market: Market) -> None:
    market.paint("good.png", RED)
    (market.photos / "bad.png").write_bytes(b"bad")
    market.offer({"a": [market.file("bad.png"), market.file("good.png"), market.file("no.png")]})
    assert market.state("a") == ("available", "")
    assert [image.state for image in market.catalog.images(1)] == [
        State.REJECTED,
        State.AVAILABLE,
        State.FAILED,
    ]
    assert market.shown() == [("a", sha(RED))]


def test_two_items_may_share_a_photo_by_file_and_by_content(market: Market) -> None:
    market.paint("one.png", RED)
    market.paint("copy.png", RED)
    market.offer(
        {
            "a": [market.file("one.png")],
            "b": [market.file("one.png")],
            "c": [market.file("copy.png"), market.file("one.png")],
        }
    )
    assert market.shown() == [(key, sha(RED)) for key in "abcc"]
    assert market.catalog.photo_count() == 1


def test_progress_advances_item_by_item(market: Market) -> None:
    told: list[object] = []

    class Bar(Silent):
        @contextmanager
        def task(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
            told.append((label, total, unit))
            yield told.append

    items = [SourceItem(f"{n}", "", "", ()) for n in range(5)]
    ingest(ListSource(items), market.catalog, LIMITS, progress=Bar())
    assert told == [("ingesting", 5, "items"), 1, 1, 1, 1, 1]


# -- Again -----------------------------------------------------------------------------------------


def test_an_unchanged_file_is_not_read_again(market: Market) -> None:
    market.paint("a.png", RED)
    market.paint("b.png", GREEN)
    market.offer_files("a.png", "b.png")
    assert sorted(market.decoded) == sorted([sha(RED), sha(GREEN)])
    before = market.catalog.images(1), market.catalog.images(2)
    report = market.offer_files("a.png", "b.png")
    assert market.decoded == []
    assert report.counts == {"available": {"": 2}}
    assert (market.catalog.images(1), market.catalog.images(2)) == before


@pytest.mark.parametrize("size_differs", [True, False])
def test_a_changed_file_is_read_again_and_its_item_keeps_its_id(
    market: Market, size_differs: bool
) -> None:
    market.paint("a.png", RED)
    market.paint("b.png", GREEN)
    market.offer_files("a.png", "b.png")
    ids = market.ids()
    changed = png(BLUE, (40, 40)) if size_differs else png(BLUE)
    time = (market.photos / "a.png").stat().st_mtime_ns
    (market.photos / "a.png").write_bytes(changed)
    os.utime(market.photos / "a.png", ns=(0, time if size_differs else time + 1))
    market.offer_files("a.png", "b.png")
    assert market.decoded == [hashlib.sha256(changed).digest()]
    assert market.ids() == ids
    assert market.shown() == [("a.png", market.decoded[0]), ("b.png", sha(GREEN))]


def test_a_file_that_was_only_touched_is_read_and_is_the_same_photo(market: Market) -> None:
    market.paint("a.png", RED)
    market.offer_files("a.png")
    os.utime(market.photos / "a.png", ns=(0, 1))
    market.offer_files("a.png")
    assert market.decoded == [sha(RED)]
    assert market.shown() == [("a.png", sha(RED))]


def test_a_file_that_was_repaired_is_read_again(market: Market) -> None:
    market.offer_files("a.png")
    assert market.state("a.png") == ("failed", "photo missing")
    (market.photos / "a.png").write_bytes(b"bad")
    market.offer_files("a.png")
    assert market.state("a.png") == ("rejected", "not an image")
    market.paint("a.png", RED)
    market.offer_files("a.png")
    assert market.state("a.png") == ("available", "")
    assert market.ids() == {"a.png": 1}


def test_a_photo_that_becomes_unreadable_is_no_longer_available(market: Market) -> None:
    market.paint("a.png", RED)
    market.offer_files("a.png")
    (market.photos / "a.png").unlink()
    market.offer_files("a.png")
    assert market.state("a.png") == ("failed", "photo missing")
    assert market.shown() == []


def test_removed_items_keep_their_ids_which_no_other_item_gets(market: Market) -> None:
    for name, color in (("a.png", RED), ("b.png", GREEN), ("c.png", BLUE)):
        market.paint(name, color)
    market.offer_files("a.png", "b.png")
    assert market.offer_files("a.png").newly_removed == 1
    assert market.state("b.png") == ("removed", "no longer in the source")
    assert market.shown() == [("a.png", sha(RED))]
    report = market.offer_files("a.png", "c.png")
    assert (report.offered, report.newly_removed) == (2, 0)
    assert report.counts == {"available": {"": 2}, "removed": {"no longer in the source": 1}}
    ids = market.ids()
    assert (ids["a.png"], ids["b.png"]) == (1, 2)
    assert ids["c.png"] > 2


def test_an_item_that_returns_has_its_id_again(market: Market) -> None:
    market.paint("a.png", RED)
    market.paint("b.png", GREEN)
    market.offer_files("a.png", "b.png")
    market.offer_files("a.png")
    market.offer_files("b.png", "a.png")
    assert market.ids() == {"a.png": 1, "b.png": 2}
    assert market.state("b.png") == ("available", "")
    assert market.shown() == [("a.png", sha(RED)), ("b.png", sha(GREEN))]


def test_a_renamed_file_is_the_same_item(market: Market) -> None:
    market.paint("a.png", RED)
    market.offer_files("a.png")
    (market.photos / "a.png").rename(market.photos / "z.png")
    report = market.offer_files("z.png")
    assert (report.newly_removed, report.counts) == (0, {"available": {"": 1}})
    assert market.ids() == {"z.png": 1}
    assert market.decoded == []
    assert [photo.path for photo in market.catalog.photos()] == [market.photos / "z.png"]


def test_an_item_that_is_not_named_by_its_photo_is_not_followed(market: Market) -> None:
    market.paint("a.png", RED)
    market.offer({"one": [market.file("a.png")]})
    (market.photos / "a.png").rename(market.photos / "z.png")
    market.offer({"two": [market.file("z.png")]})
    assert market.ids() == {"one": 1, "two": 2}


def test_new_limits_are_applied_to_photos_already_ingested(market: Market) -> None:
    market.paint("a.png", RED)
    market.offer_files("a.png")
    market.offer_files("a.png", limits=ImageLimits(min_side=5))
    assert market.state("a.png") == ("rejected", "too small")
    market.offer_files("a.png")
    assert market.state("a.png") == ("available", "")


def test_where_nothing_changed_nothing_is_written(market: Market) -> None:
    write(market, "a.jpg", "p/b.jpg", "p/c.jpg")
    (market.photos / "bad.jpg").write_bytes(b"bad")
    (market.photos / "lost.jpg").symlink_to("nowhere")
    (market.photos / "words.txt").write_text("words")
    rows = ["a.jpg,1", "nowhere.jpg,2", "broken", ""]
    (market.photos / "rows.csv").write_text("\n".join(["image,n", *rows]) + "\n")
    metadata = MetadataSettings(file=Path("rows.csv"), key="image")
    first = look(market, metadata)
    assert set(first.counts) == {"available", "rejected", "failed", "skipped"}
    wal = Path(f"{market.catalog.file}-wal")
    before = market.catalog.file.read_bytes(), wal.read_bytes()
    assert look(market, metadata) == first
    assert (market.catalog.file.read_bytes(), wal.read_bytes()) == before


# -- Photos without a file -------------------------------------------------------------------------


def test_drawn_photos_are_stored_once_by_their_content(market: Market) -> None:
    drawn = [SourcePhoto("r.png", data=png(RED)), SourcePhoto("g.png", data=png(GREEN))]
    market.offer({"a": drawn, "b": [SourcePhoto("other.png", data=png(RED))]})
    stored = tree(market.catalog.folder / "images")
    names = {color: hashlib.sha256(png(color)).hexdigest() for color in (RED, GREEN)}
    assert stored == {f"{n[:2]}/{n}.png": png(color) for color, n in names.items()}
    paths = {photo.sha256: photo.path for photo in market.catalog.photos()}
    assert {sha256: path.read_bytes() for sha256, path in paths.items()} == {
        sha(RED): png(RED),
        sha(GREEN): png(GREEN),
    }


def test_a_drawn_photo_that_is_not_acceptable_is_not_stored(market: Market) -> None:
    market.offer({"a": [SourcePhoto("a.png", data=b"bad")]})
    assert market.state("a") == ("rejected", "not an image")
    assert tree(market.catalog.folder / "images") == {}


def test_the_same_photo_may_be_stored_by_two_threads_at_once(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, fsync = threading.Barrier(2), os.fsync

    def together(descriptor: int) -> None:
        with suppress(threading.BrokenBarrierError):  # the other thread is kept out, as it should
            both.wait(0.2)
        fsync(descriptor)

    monkeypatch.setattr(artifacts.os, "fsync", together)
    report = market.offer({key: [SourcePhoto("a.png", data=png(RED))] for key in "ab"})
    assert report.counts == {"available": {"": 2}}
    assert list(tree(market.catalog.folder / "images").values()) == [png(RED)]


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), FileNotFoundError(2, "No such file or directory")],
)
def test_a_photo_that_cannot_be_stored_stops_the_run(
    market: Market, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(catalog_module, "write_atomic", fail)
    with pytest.raises(type(error), match=error.strerror):
        market.offer({"a": [SourcePhoto("a.png", data=png(RED))]})
    assert market.ids() == {}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ESTALE])
def test_a_bad_disk_is_not_the_photos_fault_and_stops_the_run(
    market: Market, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for name in ("a.png", "b.png"):
        market.paint(name, RED)
    market.offer_files("a.png")
    read = images.read_bytes

    def fail(path: Path, limits: ImageLimits) -> bytes:
        if path.name == "b.png":
            raise OSError(number, os.strerror(number), str(path))
        return read(path, limits)

    with monkeypatch.context() as patch:
        patch.setattr(images, "read_bytes", fail)
        with pytest.raises(OSError, match=os.strerror(number)):
            market.offer_files("b.png")
    assert market.state("a.png") == ("available", "")
    assert list(market.ids()) == ["a.png"]
    assert market.offer_files("a.png", "b.png").counts == {"available": {"": 2}}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG])
def test_a_file_that_alone_cannot_be_read_is_counted(
    market: Market, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    market.paint("a.png", RED)

    def fail(path: Path, _: ImageLimits) -> bytes:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(images, "read_bytes", fail)
    reason = f"photo cannot be read: {os.strerror(number)}"
    assert market.offer_files("a.png").counts == {"failed": {reason: 1}}


def test_every_row_of_a_table_is_in_the_sum_of_states(market: Market) -> None:
    market.paint("a.png", RED)
    market.paint("b.png", GREEN)
    rows = ["a", "a.png", "b", "b", "", "c", "c", " ", "b#2"]
    (market.photos / "rows.csv").write_text("\n".join(["image,n", *(f"{r},1" for r in rows)]))
    source = FolderSource(market.photos, MetadataSettings(file=Path("rows.csv"), key="image"))
    report = ingest(source, market.catalog, LIMITS)
    # By its name the first photo takes the row a.png; the row of its stem is left without one.
    assert report.offered == source.total == len(rows)
    assert report.counts == {"available": {"": 3}, "failed": {"no photo of this name": 6}}
    photo = hashlib.sha256(png(GREEN)).digest()
    assert [key for key, shown in market.shown() if shown == photo] == ["b.png", "b.png#2"]


def test_a_source_of_the_same_version_is_not_read(market: Market) -> None:
    def offer(version: str, key: str, limits: ImageLimits = LIMITS) -> IngestReport:
        item = SourceItem(key, key, "", (SourcePhoto("a.png", data=png(RED)),))
        return ingest(ListSource([item], version), market.catalog, limits)

    assert not offer("1", "a").unchanged
    market.decoded.clear()
    again = offer("1", "never looked at")
    assert again.unchanged
    assert (again.offered, again.counts) == (1, {"available": {"": 1}})
    assert market.decoded == []
    assert not offer("1", "a", ImageLimits(min_side=2)).unchanged
    assert not offer("2", "b", ImageLimits(min_side=2)).unchanged
    third = offer("2", "b", ImageLimits(min_side=2))
    assert third.unchanged
    assert third.offered == 1
    assert third.counts["removed"] == {"no longer in the source": 1}
    (photo,) = market.catalog.photos()
    market.catalog.fail_photo(photo, "photo missing")
    assert not offer("2", "b", ImageLimits(min_side=2)).unchanged
    assert market.state("b") == ("available", "")


def test_a_folder_in_which_nothing_changed_is_not_compared(market: Market) -> None:
    def offer() -> bool:
        market.decoded.clear()
        return ingest(FolderSource(market.photos), market.catalog, LIMITS).unchanged

    market.paint("a.png", RED)
    market.paint("b.png", GREEN)
    (market.photos / "notes.txt").write_text("no photo")
    assert [offer(), offer()] == [False, True]
    changes: list[Callable[[], object]] = [
        lambda: market.paint("a.png", BLUE),
        lambda: os.utime(market.photos / "a.png", (1, 1)),
        lambda: (market.photos / "b.png").rename(market.photos / "c.png"),
        (market.photos / "notes.txt").unlink,
        lambda: market.paint("d.png", GREEN),
        (market.photos / "d.png").unlink,
        (market.photos / "empty").mkdir,
        lambda: market.catalog.forget_file(market.photos / "a.png"),
    ]
    for number, change in enumerate(changes):
        change()
        assert [offer(), offer()] == [False, True], number


def test_a_folder_is_looked_at_again_while_anything_in_it_cannot_be_read(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.paint("a.png", RED)
    market.paint("b.png", GREEN)

    def fail(path: Path, limits: ImageLimits) -> bytes:
        if path.name == "b.png":
            raise PermissionError(errno.EACCES, "not now", str(path))
        return read_bytes(path, limits)

    read_bytes = images.read_bytes
    monkeypatch.setattr(images, "read_bytes", fail)
    for _ in range(2):
        assert not ingest(FolderSource(market.photos), market.catalog, LIMITS).unchanged
    monkeypatch.undo()
    assert not ingest(FolderSource(market.photos), market.catalog, LIMITS).unchanged
    assert market.state("b.png") == ("available", "")
    (market.photos / "lost.png").symlink_to("nowhere")
    for _ in range(2):
        assert not ingest(FolderSource(market.photos), market.catalog, LIMITS).unchanged


def test_rows_that_describe_a_folder_belong_to_its_version(market: Market) -> None:
    market.paint("a.png", RED)
    rows = market.photos / "rows.csv"
    for text, unchanged in (("image,n\na.png,1\n", False), ("image,n\na.png,1\n", True),
                            ("image,n\na.png,2\n", False)):  # fmt: skip
        rows.write_text(text)
        source = FolderSource(market.photos, MetadataSettings(file=Path("rows.csv"), key="image"))
        assert ingest(source, market.catalog, LIMITS).unchanged == unchanged
    assert not ingest(FolderSource(market.photos), market.catalog, LIMITS).unchanged


def test_an_ingest_that_was_killed_leaves_no_ledger_without_the_index_of_content(
    tmp_path: Path,
) -> None:
    with Catalog(tmp_path, create=True) as catalog:
        catalog.change("DROP INDEX images_by_sha256")
    with Catalog(tmp_path, create=True) as catalog:
        plan = [row[3] for row in catalog.select("EXPLAIN QUERY PLAN SELECT id FROM images"
                                                  " WHERE sha256 = x'00'")]  # fmt: skip
    assert "images_by_sha256" in plan[0]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 20)])
def test_a_source_of_the_same_version_is_read_if_a_stored_photo_is_missing(
    market: Market, damage: Callable[[Path], object]
) -> None:
    source = ListSource([SourceItem("a", "a", "", (SourcePhoto("a.png", data=png(RED)),))], "1")
    ingest(source, market.catalog, LIMITS)
    (path,) = (photo.path for photo in market.catalog.photos())
    damage(path)
    assert not ingest(source, market.catalog, LIMITS).unchanged
    assert path.read_bytes() == png(RED)
    assert ingest(source, market.catalog, LIMITS).unchanged


# -- Runs that end early ---------------------------------------------------------------------------


class Breaking:
    """Offers what it is given, and then fails, once it has been read as often as it can be."""

    version = "1"
    total = None

    def __init__(self, items: Sequence[SourceItem], readings: int = 0) -> None:
        self.offers = items
        self.readings = readings

    def items(self) -> Iterator[SourceItem]:
        yield from self.offers
        self.readings -= 1
        if self.readings < 0:
            raise SourceError("the disk is gone")


def test_a_source_that_cannot_be_read_to_its_end_changes_nothing(market: Market) -> None:
    for name in ("a.png", "b.png", "c.png"):
        market.paint(name, RED)
    market.offer_files("a.png", "b.png")
    before = dump(market.catalog)
    market.paint("a.png", BLUE)
    items = [SourceItem(name, "", "", (market.file(name),)) for name in ("a.png", "c.png")]
    with pytest.raises(SourceError, match="the disk is gone"):
        ingest(Breaking(items), market.catalog, LIMITS)
    assert dump(market.catalog) == before


def test_a_source_of_which_little_differs_is_read_once(market: Market) -> None:
    for name, color in {"a.png": RED, "b.png": RED, "c.png": (0, 9, 0)}.items():
        market.paint(name, color)
    market.offer_files("a.png", "b.png")
    market.paint("b.png", BLUE)
    items = [SourceItem(name, name, "", (market.file(name),)) for name in ("b.png", "c.png")]
    ingest(Breaking(items, readings=1), market.catalog, LIMITS)
    assert {key: market.state(key)[0] for key in market.ids()} == {
        "a.png": "removed",
        "b.png": "available",
        "c.png": "available",
    }
    assert market.shown()[0] == ("b.png", hashlib.sha256(png(BLUE)).digest())


def test_a_failed_run_removes_nothing_and_the_next_run_continues(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.catalog.ingest.MAX_KEPT", 20)  # so that the source is read again
    names = [f"{n}.png" for n in range(30)]
    for n, name in enumerate(names):
        market.paint(name, (n, n, n))
    market.offer_files("29.png")
    items = [SourceItem(name, name, "", (market.file(name),)) for name in names[:-1]]
    with pytest.raises(SourceError, match="the disk is gone"):
        ingest(Breaking(items, readings=1), market.catalog, LIMITS, batch_size=2)
    assert market.catalog.is_unfinished
    assert market.state("29.png") == ("available", "")
    half = market.ids()
    assert 1 < len(half) < 30
    report = market.offer_files(*names)
    assert len(market.decoded) == 30 - len(half)
    assert report.counts == {"available": {"": 30}}
    assert half.items() <= market.ids().items()
    assert len(set(market.ids().values())) == 30


def test_a_failed_run_does_not_change_later_ids(tmp_path: Path, market: Market) -> None:
    items = [
        SourceItem(f"{n}", "", "", (SourcePhoto(f"{n}.png", data=png((n, 0, 0))),))
        for n in range(40)
    ]
    with pytest.raises(SourceError):
        ingest(Breaking(items[:30]), market.catalog, LIMITS, batch_size=2)
    ingest(ListSource(items), market.catalog, LIMITS, batch_size=2)
    with Catalog(tmp_path / "undisturbed", create=True) as undisturbed:
        ingest(ListSource(items), undisturbed, LIMITS, batch_size=2)
        found = (undisturbed.item_by_key(item.key) for item in items)
        assert market.ids() == {item.key: item.id for item in found if item}


def test_new_limits_apply_even_if_the_first_run_with_them_failed(market: Market) -> None:
    market.paint("a.png", RED)
    market.offer_files("a.png")
    with pytest.raises(SourceError):
        ingest(Breaking([]), market.catalog, ImageLimits(min_side=5))
    market.offer_files("a.png", limits=ImageLimits(min_side=5))
    assert market.state("a.png") == ("rejected", "too small")


def test_the_source_is_read_again_after_a_failed_run(market: Market) -> None:
    market.paint("a.png", RED)
    item = SourceItem("a.png", "", "", (market.file("a.png"),))
    ingest(ListSource([item], "1"), market.catalog, LIMITS)
    with pytest.raises(SourceError):
        ingest(Breaking([item]), market.catalog, ImageLimits(min_side=2))
    assert not ingest(ListSource([item], "1"), market.catalog, LIMITS).unchanged


# -- What a folder holds besides -------------------------------------------------------------------


def write(market: Market, *names: str) -> None:
    """Photos in the market's folder, each of a color of its own."""
    for number, name in enumerate(names):
        file = market.photos / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png((number, number, 99)))


def look(market: Market, metadata: MetadataSettings | None = None) -> IngestReport:
    return ingest(FolderSource(market.photos, metadata), market.catalog, LIMITS)


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Names of folders that cannot be listed; tests may run as root, who may list all."""
    names: set[str] = set()
    scandir = os.scandir

    def list_folder(path: Path) -> Iterator[os.DirEntry[str]]:
        if isinstance(path, Path) and path.name in names:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", list_folder)
    yield names
    names.clear()


def test_what_a_folder_holds_besides_is_in_the_report_and_in_the_ledger(market: Market) -> None:
    write(market, "a.jpg")
    for name in ("b.xyz", "c.xyz", "d.txt"):
        (market.photos / name).write_text("words")
    for _ in range(2):  # nothing is counted twice
        report = look(market)
        assert report.offered == 1
        assert report.to_dict()["left_out"] == [
            {"kind": ".xyz", "reason": "not an image", "count": 2},
            {"kind": ".txt", "reason": "not an image", "count": 1},
        ]
    (market.photos / "b.xyz").unlink()
    assert [group.count for group in look(market).left_out] == [1, 1]


def test_items_in_a_folder_that_cannot_be_read_stay(market: Market, lock: set[str]) -> None:
    write(market, "a.jpg", "p/b.jpg", "p/q/c.jpg", "p-/d.jpg", "p0/e.jpg", "p.jpg", "p/gone.jpg")
    look(market)
    before, shown = market.ids(), market.shown()
    lock.add("p")
    (market.photos / "p/gone.jpg").unlink()  # as nobody can see
    (market.photos / "p0/e.jpg").unlink()
    report = look(market)
    reason = "not looked at: cannot be read: Permission denied"
    assert report.newly_removed == 1
    assert report.counts == {
        "available": {"": 3, reason: 3},
        "removed": {"no longer in the source": 1},
    }
    assert report.offered == 6
    assert market.state("p/q/c.jpg") == ("available", reason)
    assert [pair for pair in shown if pair[0] != "p0/e.jpg"] == market.shown()
    lock.clear()
    report = look(market)
    assert report.counts == {"available": {"": 5}, "removed": {"no longer in the source": 2}}
    assert market.ids() == before


def test_items_behind_a_link_that_leads_nowhere_now_stay(market: Market, tmp_path: Path) -> None:
    write(market, "a.jpg", "../drive/b.jpg")
    (market.photos / "drive").symlink_to(tmp_path / "drive")
    look(market)
    (tmp_path / "drive").rename(tmp_path / "unplugged")
    assert look(market).newly_removed == 0
    assert market.state("drive/b.jpg")[0] == "available"
    (market.photos / "drive").unlink()
    assert look(market).newly_removed == 1


@pytest.mark.parametrize("has_rows", [True, False])
@pytest.mark.parametrize("was_mounted", [True, False])
def test_items_of_a_drive_that_is_not_mounted_now_stay(
    market: Market, monkeypatch: pytest.MonkeyPatch, was_mounted: bool, has_rows: bool
) -> None:
    write(market, "a.jpg", "p/drive/b.jpg")
    (market.photos / "rows.csv").write_text("image,n\np/drive/b.jpg,1\n")
    metadata = MetadataSettings(file=Path("rows.csv"), key="image") if has_rows else None
    identity, drive = walk._identity, (market.photos / "p/drive").stat().st_ino

    def with_a_drive(folder: Path) -> tuple[int, int]:
        device, inode = identity(folder)
        return device + (was_mounted and inode == drive), inode

    with monkeypatch.context() as patch:
        patch.setattr(walk, "_identity", with_a_drive)
        look(market, metadata)
    (market.photos / "p/drive/b.jpg").unlink()
    kept = ("available", "not looked at: nothing is mounted there any more")
    gone = ("failed", "no photo of this name") if has_rows else ("removed", NOT_OFFERED)
    for _ in range(2):
        look(market, metadata)
        assert market.state("p/drive/b.jpg") == (kept if was_mounted else gone)
    (market.photos / "p/drive").rmdir()
    look(market, metadata)
    assert market.state("p/drive/b.jpg") == gone


def test_a_removed_item_is_not_brought_back_by_a_folder_that_cannot_be_read(
    market: Market, lock: set[str]
) -> None:
    write(market, "a.jpg", "p/b.jpg")
    look(market)
    (market.photos / "p/b.jpg").unlink()
    look(market)
    lock.add("p")
    look(market)
    assert market.state("p/b.jpg") == ("removed", "no longer in the source")


def test_a_row_whose_photo_cannot_be_looked_at_changes_nothing(
    market: Market, lock: set[str]
) -> None:
    write(market, "a.jpg", "p/b.jpg")
    (market.photos / "rows.csv").write_text("image,n\na.jpg,1\np/b.jpg,2\np/new.jpg,3\n")
    metadata = MetadataSettings(file=Path("rows.csv"), key="image")
    assert look(market, metadata).counts["available"] == {"": 2}
    lock.add("p")
    report = look(market, metadata)
    why = "cannot be read: Permission denied"
    assert report.counts == {
        "available": {"": 1, f"not looked at: {why}": 1},
        "failed": {"no photo of this name": 1},
    }
    item = market.catalog.item_by_key("p/b.jpg")
    assert item is not None
    assert item.metadata == {"n": 2}
    assert market.state("p/new.jpg") == ("failed", "no photo of this name")
    assert {key for key, _ in market.shown()} == {"a.jpg", "p/b.jpg"}


def test_rows_and_photos_that_do_not_meet_are_counted_with_examples(market: Market) -> None:
    write(market, "a.jpg", "b.jpg", "cafe\u0301.jpg")
    rows = ["a.jpg", "caf\u00e9.jpg", "x.jpg", "y.jpg", "z.jpg", "w.jpg"]
    (market.photos / "rows.csv").write_text("\n".join(["image,n", *(f"{r},1" for r in rows)]))
    report = look(market, MetadataSettings(file=Path("rows.csv"), key="image"))
    assert report.to_dict()["unmatched"] == {
        "row": {"count": 4, "examples": ("x.jpg", "y.jpg", "z.jpg")},
        "photo": {"count": 1, "examples": ("b.jpg",)},
    }
    assert report.counts["available"] == {"": 2, "no row describes it": 1}
    item = market.catalog.item_by_key("b.jpg")
    assert item is not None
    assert (item.category, item.metadata) == ("", {})  # its folder is no class
    assert report.left_out == []


# -- Times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("year", ["1600", "1900", "1970", "2262", "2300", "2446"])
def test_a_file_of_any_time_is_ingested_and_not_read_again(market: Market, year: str) -> None:
    market.paint("a.png", RED)
    market.paint("b.png", GREEN)
    seconds = (int(year) - 1970) * 31_556_952
    os.utime(market.photos / "a.png", (seconds, seconds))
    assert market.offer_files("a.png", "b.png").counts == {"available": {"": 2}}
    market.offer_files("a.png", "b.png")
    assert market.decoded == []


@pytest.mark.parametrize("time", [-(2**80), -(2**63) - 1, 2**63, 2**80])
def test_times_that_sqlite_cannot_hold_are_kept_within_its_range(
    market: Market, monkeypatch: pytest.MonkeyPatch, time: int
) -> None:
    market.paint("a.png", RED)
    stat = Path.stat

    def at_that_time(path: Path, **options: bool) -> object:
        status = stat(path, **options)
        names = ("st_mode", "st_size", "st_dev", "st_ino")
        times = {"st_mtime_ns": time, "st_ctime_ns": time}
        return SimpleNamespace(**{name: getattr(status, name) for name in names}, **times)

    monkeypatch.setattr(Path, "stat", at_that_time)
    assert market.offer_files("a.png").counts == {"available": {"": 1}}
    (image,) = market.catalog.images(1)
    assert image.mtime_ns == image.ctime_ns == (2**63 - 1 if time > 0 else -(2**63))


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_read_again(market: Market) -> None:
    size = (8, 8)
    for name, color in (("a.bmp", RED), ("other.bmp", GREEN)):
        Image.new("RGB", size, color).save(market.photos / name)
        os.utime(market.photos / name, ns=(5, 5))
    market.offer_files("a.bmp")
    wait_for_the_clock(market.photos)
    shutil.copy2(market.photos / "other.bmp", market.photos / "a.bmp")
    status = (market.photos / "a.bmp").stat()
    (image,) = market.catalog.images(1)
    assert (image.size, image.mtime_ns) == (status.st_size, status.st_mtime_ns)
    market.offer_files("a.bmp")
    assert market.decoded == [hashlib.sha256((market.photos / "other.bmp").read_bytes()).digest()]


def wait_for_the_clock(folder: Path) -> None:
    """Until the file system's clock has gone on, which it does in steps."""
    probe = folder / "probe"
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        probe.chmod(0o600)
