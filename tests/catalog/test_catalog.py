"""store/catalog.py: the ledger, read through a second connection as an independent witness."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline import artifacts
from pipeline.catalog.catalog import Catalog, ImageRecord, ItemRecord, Photo, State
from pipeline.errors import DamagedArtifactError, NotBuiltError
from tests.conftest import offer_only, tree


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "shop", create=True) as made:
        yield made


def sha(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def image(name: str, state: State = State.AVAILABLE, reason: str = "") -> ImageRecord:
    """An image whose content is its name."""
    if state is not State.AVAILABLE:
        return ImageRecord(name, state, reason)
    return ImageRecord(name, state, reason, f"/photos/{name}", 10, 20, sha(name), 4, 3)


def copy(name: str, path: str) -> ImageRecord:
    """An image of the same content, in another file."""
    return ImageRecord(path, State.AVAILABLE, path=path, sha256=sha(name))


def photo(catalog: Catalog, name: str) -> Photo:
    return next(photo for photo in catalog.photos() if photo.sha256 == sha(name))


def put(catalog: Catalog, key: str, *images: ImageRecord) -> int:
    catalog.put(key, key.title(), "category", {"price": 1.5, "brand": None}, images)
    item = catalog.item_by_key(key)
    assert item is not None
    return item.id


def rows(catalog: Catalog, sql: str) -> list[tuple[Any, ...]]:
    """What another process would see."""
    witness = sqlite3.connect(f"file:{catalog.file}?mode=ro", uri=True)
    try:
        return witness.execute(sql).fetchall()
    finally:
        witness.close()


def test_an_item_is_read_back_as_it_was_put(catalog: Catalog) -> None:
    records = [image("a.png"), image("b.png", State.REJECTED, "truncated")]
    catalog.put("k", "Näme", "Caps", {"price": 1.5, "brand": None, "n": 3}, records)
    expected = ItemRecord(
        1, "k", "Näme", "Caps", {"price": 1.5, "brand": None, "n": 3}, State.AVAILABLE, ""
    )
    assert catalog.item(1) == catalog.item_by_key("k") == expected
    assert catalog.images(1) == records
    assert all(catalog.item(number) is None for number in (0, 2, -1, 10**30))
    assert catalog.item_by_key("K") is None
    assert catalog.images(2) == []


@pytest.mark.parametrize(
    ("images", "state", "reason"),
    [
        ([], State.FAILED, "no photo"),
        ([image("a")], State.AVAILABLE, ""),
        ([image("a", State.REJECTED, "empty file")], State.REJECTED, "empty file"),
        ([image("a", State.REJECTED, "empty file"), image("b")], State.AVAILABLE, ""),
        (
            [image("a", State.FAILED, "photo missing"), image("b", State.REJECTED, "corrupt")],
            State.FAILED,
            "photo missing",
        ),
    ],
)
def test_an_item_is_available_if_any_image_is(
    catalog: Catalog, images: list[ImageRecord], state: State, reason: str
) -> None:
    put(catalog, "k", *images)
    assert rows(catalog, "SELECT state, reason FROM items") == [(state, reason)]
    assert catalog.counts() == {state: {reason: 1}}


def test_an_item_put_again_keeps_its_id_and_the_ids_of_its_images(catalog: Catalog) -> None:
    first, second = put(catalog, "a", image("1"), image("2")), put(catalog, "b")
    ids = rows(catalog, "SELECT id, position FROM images")
    assert put(catalog, "a", image("3"), image("2"), image("4")) == first
    assert put(catalog, "b", image("5")) == second
    assert rows(catalog, "SELECT id, position FROM images WHERE id <= 2") == ids
    assert [i.uri for i in catalog.images(first)] == ["3", "2", "4"]
    put(catalog, "a", image("6"))
    assert [i.uri for i in catalog.images(first)] == ["6"]


def test_items_not_offered_are_removed_and_counted_once(catalog: Catalog) -> None:
    for key in "abc":
        put(catalog, key, image(key))
    assert offer_only(catalog, *"abc") == 0
    assert offer_only(catalog, "b") == 2
    assert catalog.counts() == {"available": {"": 1}, "removed": {"no longer in the source": 2}}
    assert [photo.sha256 for photo in catalog.photos()] == [sha("b")]
    assert list(catalog.photo_item_pairs()) == [(sha("b"), 2)]
    assert catalog.photo_count() == 1
    assert offer_only(catalog, "b") == 0


def test_an_id_is_not_used_again_even_if_its_row_was_deleted(catalog: Catalog) -> None:
    put(catalog, "a")
    last = put(catalog, "b")
    with sqlite3.connect(catalog.file) as other:
        other.execute("DELETE FROM items WHERE id = ?", (last,))
    other.close()
    assert put(catalog, "c") > last


def test_photos_are_distinct_and_in_the_order_in_which_they_were_first_shown(
    catalog: Catalog,
) -> None:
    catalog.page_size = 2
    names = ["a", "b", "a", "c", "b", "d", "d", "e", "a"]
    for number, name in enumerate(names):
        put(catalog, f"item {number}", image(name))
    photos = list(catalog.photos())
    assert [photo.sha256 for photo in photos] == [sha(name) for name in "abcde"]
    assert photos[2] == Photo(4, sha("c"), "/photos/c")
    assert catalog.photo_count() == 5
    assert list(catalog.photo_item_pairs()) == [(sha(n), i) for i, n in enumerate(names, 1)]


def test_a_photo_of_a_removed_item_is_read_from_the_item_that_still_shows_it(
    catalog: Catalog,
) -> None:
    put(catalog, "a", image("x"))
    put(catalog, "b", ImageRecord("x", State.AVAILABLE, path="/other", sha256=sha("x")))
    offer_only(catalog, "b")
    assert list(catalog.photos()) == [Photo(2, sha("x"), "/other")]


def test_photos_can_be_read_while_they_fail(
    catalog: Catalog,
) -> None:
    catalog.page_size = 2
    for name in "abcdefg":
        put(catalog, name, image(name))
    seen = []
    for photo in catalog.photos():
        seen.append(photo.sha256)
        catalog.fail_photo(photo, "photo missing")
    assert seen == [sha(name) for name in "abcdefg"]
    assert catalog.counts() == {"failed": {"photo missing": 7}}


def test_a_failed_photo_fails_every_item_that_shows_nothing_else(catalog: Catalog) -> None:
    put(catalog, "a", image("x"))
    put(catalog, "b", image("x"), image("y"))
    put(catalog, "c", image("z"), image("x"))
    put(catalog, "d", image("y"))
    catalog.set_meta("version", "5")
    catalog.fail_photo(photo(catalog, "x"), "photo missing")
    states = rows(catalog, "SELECT key, state, reason FROM items ORDER BY key")
    assert states == [
        ("a", "failed", "photo missing"),
        ("b", "available", ""),
        ("c", "available", ""),
        ("d", "available", ""),
    ]
    assert list(catalog.photo_item_pairs()) == [(sha("y"), 2), (sha("z"), 3), (sha("y"), 4)]
    assert catalog.get_meta("version") is None


def test_another_file_of_a_failed_photo_stays_available(catalog: Catalog) -> None:
    put(catalog, "a", copy("x", "/one"))
    put(catalog, "b", copy("x", "/two"))
    put(catalog, "c", copy("x", "/one"), image("y", State.REJECTED, "truncated"))
    catalog.fail_photo(photo(catalog, "x"), "photo missing")
    states = rows(catalog, "SELECT key, state FROM items ORDER BY key")
    assert states == [("a", "failed"), ("b", "available"), ("c", "failed")]
    assert photo(catalog, "x") == Photo(2, sha("x"), "/two")
    assert [i.state for i in catalog.images(3)] == [State.FAILED, State.REJECTED]
    catalog.fail_photo(photo(catalog, "x"), "photo missing")
    assert list(catalog.photos()) == []
    assert catalog.counts() == {"failed": {"photo missing": 3}}


def test_a_removed_item_stays_removed_when_its_photo_fails(catalog: Catalog) -> None:
    put(catalog, "a", image("x"))
    put(catalog, "b", image("x"))
    offer_only(catalog, "b")
    catalog.fail_photo(photo(catalog, "x"), "photo missing")
    assert catalog.counts() == {
        "failed": {"photo missing": 1},
        "removed": {"no longer in the source": 1},
    }


def test_counts_name_the_most_frequent_reason_first(catalog: Catalog) -> None:
    reasons = ["corrupt", "truncated", "truncated", "empty file"]
    for number, reason in enumerate(reasons):
        put(catalog, str(number), image("x", State.REJECTED, reason))
    counted = catalog.counts()["rejected"]
    assert list(counted.items()) == [("truncated", 2), ("corrupt", 1), ("empty file", 1)]


def test_readers_see_a_transaction_at_its_commit_and_never_wait(catalog: Catalog) -> None:
    with Catalog(catalog.folder) as reader:
        with catalog.transaction():
            put(catalog, "a", image("a"))
            assert reader.counts() == {}
            assert reader.item_by_key("a") is None
        assert reader.counts() == {"available": {"": 1}}


def test_uncommitted_rows_are_lost_in_a_crash(catalog: Catalog) -> None:
    put(catalog, "a")
    with suppress(sqlite3.ProgrammingError), catalog.transaction():
        put(catalog, "b")
        catalog.close()
    with Catalog(catalog.folder) as again:
        assert again.item_by_key("a")
        assert again.item_by_key("b") is None


def test_a_transaction_that_raises_writes_nothing(catalog: Catalog) -> None:
    def break_off() -> None:
        with catalog.fast_commits(), catalog.transaction():
            put(catalog, "b")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert catalog.item_by_key("b") is None
    put(catalog, "c")
    assert rows(catalog, "SELECT key FROM items") == [("c",)]


def test_a_catalog_is_unfinished_until_its_ingest_is(catalog: Catalog) -> None:
    catalog.set_meta("version", "1")
    catalog.begin_ingest()
    assert catalog.is_unfinished
    assert catalog.get_meta("version") is None
    catalog.finish_ingest("2")
    assert not catalog.is_unfinished
    assert catalog.get_meta("version") == "2"


def test_an_item_that_is_as_it_was_is_not_written(catalog: Catalog) -> None:
    fields = ("k", "Name", "Caps", {"b": 1, "a": None}, [image("x"), image("y")])
    assert catalog.put(*fields)
    before = catalog.file.read_bytes(), Path(f"{catalog.file}-wal").read_bytes()
    with catalog.transaction():
        assert not catalog.put(*fields)
        catalog.set_meta("absent", None)
    assert (catalog.file.read_bytes(), Path(f"{catalog.file}-wal").read_bytes()) == before
    assert catalog.put(*fields, remark="look at it")


def test_meta_values_are_set_changed_and_removed(catalog: Catalog) -> None:
    assert catalog.get_meta("limits") is None
    catalog.set_meta("limits", "a")
    catalog.set_meta("limits", "b")
    catalog.set_meta("version", "c")
    with Catalog(catalog.folder) as again:
        assert (again.get_meta("limits"), again.get_meta("version")) == ("b", "c")
    catalog.set_meta("limits", None)
    assert (catalog.get_meta("limits"), catalog.get_meta("version")) == (None, "c")


def test_a_photo_is_stored_once_under_the_name_of_its_content(catalog: Catalog) -> None:
    path = catalog.store_photo(b"data", ".png")
    assert path == f"images/{sha('data').hex()[:2]}/{sha('data').hex()}.png"
    file = catalog.folder / path
    assert file.read_bytes() == b"data"
    written = file.stat().st_ino
    assert catalog.store_photo(b"data", ".png") == path
    assert file.stat().st_ino == written


@pytest.mark.parametrize("damaged", [b"", b"dat", b"dada"])
def test_a_stored_photo_that_was_damaged_is_written_again(catalog: Catalog, damaged: bytes) -> None:
    file = catalog.folder / catalog.store_photo(b"data", ".png")
    file.write_bytes(damaged)
    catalog.store_photo(b"data", ".png")
    assert file.read_bytes() == b"data"


def test_a_photo_is_written_aside_in_one_folder_that_can_be_swept(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[str] = []
    images = catalog.folder / "images"
    monkeypatch.setattr(artifacts.os, "fsync", lambda _: during.extend(tree(images)))
    catalog.store_photo(b"data", ".png")
    assert re.fullmatch(rf"\.{sha('data').hex()}\.png\.[0-9a-f]{{12}}\.tmp", during[0])


def test_stored_photos_are_complete_if_each_has_its_size(catalog: Catalog) -> None:
    def stored(data: bytes, state: State = State.AVAILABLE) -> ImageRecord:
        path = catalog.store_photo(data, ".png")
        return ImageRecord(path, state, path=path, size=len(data), sha256=sha(data.decode()))

    assert catalog.has_stored_photos()
    put(catalog, "mine", copy("no such file", "/photos/images/x.png"))
    put(catalog, "failed", stored(b"failed", State.FAILED))
    put(catalog, "good", stored(b"good"))
    first, second = sorted((catalog.folder / "images").rglob("*.png"))
    failed, good = (first, second) if first.read_bytes() == b"failed" else (second, first)
    failed.unlink()
    assert catalog.has_stored_photos()
    good.write_bytes(b"goo")
    assert not catalog.has_stored_photos()
    good.unlink()
    assert not catalog.has_stored_photos()


def test_every_available_file_is_listed_once_with_its_content(catalog: Catalog) -> None:
    put(catalog, "a", copy("x", "/one"), image("y", State.FAILED, "photo missing"))
    put(catalog, "b", copy("x", "images/two"), copy("x", "/one"))
    put(catalog, "c", copy("z", "/three"))
    assert list(catalog.files()) == [
        (Path("/one"), sha("x")),
        (catalog.folder / "images/two", sha("x")),
        (Path("/three"), sha("z")),
    ]


def test_a_photo_is_read_from_the_items_own_file_if_it_has_one(catalog: Catalog) -> None:
    def at(path: str) -> ImageRecord:
        return ImageRecord(path, State.AVAILABLE, path=path, sha256=sha("x"))

    first, second = put(catalog, "a", at("/one")), put(catalog, "b", at("images/two"))
    assert catalog.photo_path(sha("x")) == Path("/one")
    assert catalog.photo_path(sha("x"), first) == Path("/one")
    assert catalog.photo_path(sha("x"), second) == catalog.folder / "images/two"
    assert catalog.photo_path(sha("x"), 99) == Path("/one")
    assert catalog.photo_path(sha("y")) is None


def test_a_photo_is_read_from_an_available_file_first(catalog: Catalog) -> None:
    failed = ImageRecord("x", State.FAILED, path="/gone", sha256=sha("x"))
    first = put(catalog, "a", failed)
    assert catalog.photo_path(sha("x"), first) == Path("/gone")  # there is no other
    put(catalog, "b", copy("x", "/copy"))
    third = put(catalog, "c", failed, copy("x", "/third"))
    assert catalog.photo_path(sha("x")) == Path("/copy")
    assert catalog.photo_path(sha("x"), first) == Path("/copy")
    assert catalog.photo_path(sha("x"), third) == Path("/third")


def test_an_item_is_shown_by_its_first_available_image(catalog: Catalog) -> None:
    missing = ImageRecord("y", State.FAILED, "photo missing", path="/gone", sha256=sha("y"))
    shown = put(catalog, "a", missing, copy("b", "images/b"), copy("a", "/a"))
    hidden = put(catalog, "b", missing)
    assert catalog.item_photo(shown) == catalog.folder / "images/b"
    assert catalog.item_photo(hidden) is None
    assert catalog.item_photo(99) is None


def test_opening_a_missing_catalog_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotBuiltError, match=f"{tmp_path}: .* run `imgsearch build`"):
        Catalog(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_not_a_catalog_is_damaged(tmp_path: Path, create: bool) -> None:
    file = tmp_path / "catalog.sqlite"
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(DamagedArtifactError, match=f"{file}: damaged: .*; delete {file} and run"):
        Catalog(tmp_path, create=create)


def test_a_file_that_cannot_be_opened_is_not_called_damaged(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Catalog(catalog.folder)


def test_a_damaged_page_is_found(catalog: Catalog) -> None:
    for number in range(200):
        put(catalog, str(number), image(str(number)))
    assert catalog.damage() is None
    catalog.close()
    (page,) = rows(catalog, "SELECT rootpage FROM sqlite_master WHERE name = 'images'")[0]
    data = bytearray(catalog.file.read_bytes())
    data[4096 * (page - 1) : 4096 * page] = b"\xa5" * 4096
    catalog.file.write_bytes(data)
    with Catalog(catalog.folder) as again:
        assert again.damage()


def test_creating_a_catalog_that_exists_opens_it(catalog: Catalog) -> None:
    put(catalog, "a")
    with Catalog(catalog.folder, create=True) as again:
        assert again.counts() == catalog.counts() != {}


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("items", "metadata = substr(metadata, 2)"),
        ("items", "metadata = '{\"price\": 1.5'"),
        ("items", "metadata = ''"),
        ("items", "state = 'availabme'"),
        ("images", "state = ''"),
    ],
)
def test_text_that_was_not_written_so_is_damage(catalog: Catalog, table: str, change: str) -> None:
    for key in "ab":
        put(catalog, key, image(key))
    assert catalog.damage() is None
    with sqlite3.connect(catalog.file) as other:
        other.execute(f"UPDATE {table} SET {change} WHERE id = 2")
    assert catalog.damage() == "the row of item 2 is not as it was written"
    read = catalog.item if table == "items" else catalog.images
    assert read(1)
    with pytest.raises(DamagedArtifactError, match=r"item 2: .*; delete .* and run"):
        read(2)


def drop_history(database: sqlite3.Connection) -> None:
    """Leave of a ledger what versions before the third had."""
    for kind, pattern in (("TRIGGER", "%"), ("INDEX", "%_changed"), ("TABLE", "%_history")):
        query = "SELECT name FROM sqlite_master WHERE type = ? AND name LIKE ?"
        for (name,) in database.execute(query, (kind.lower(), pattern)).fetchall():
            database.execute(f"DROP {kind} {name}")
    database.executescript(
        "DROP TABLE generations; DROP INDEX images_by_sha256;"
        " ALTER TABLE items DROP COLUMN since; ALTER TABLE images DROP COLUMN since;"
    )


def test_a_catalog_of_version_1_gets_what_is_new(tmp_path: Path) -> None:
    with Catalog(tmp_path / "shop", create=True) as catalog:
        put(catalog, "a", image("a"))
        with sqlite3.connect(catalog.file) as other:
            drop_history(other)
            other.executescript(
                "INSERT INTO skipped VALUES (3, 'blank row', '');"
                " ALTER TABLE items ADD COLUMN run INTEGER NOT NULL DEFAULT 1;"
                "ALTER TABLE images DROP COLUMN ctime_ns; ALTER TABLE skipped DROP COLUMN key;"
                " DROP TABLE left_out; DROP TABLE mount_points; PRAGMA user_version = 1;"
            )
    before = catalog.file.read_bytes()
    with Catalog(tmp_path / "shop") as reader:
        assert reader.images(1) == [image("a")]
        assert reader.changed_items(0).tolist() == [1]
    assert catalog.file.read_bytes() == before
    with Catalog(tmp_path / "shop", create=True) as catalog:
        assert catalog.images(1) == [image("a")]
        assert rows(catalog, "SELECT * FROM skipped") == [(3, "blank row", "")]
        assert rows(catalog, "SELECT * FROM left_out") == []
        assert catalog.seal_generation() == 1
        assert catalog.changed_items(0).tolist() == [1]
        put(catalog, "b", image("b"))
