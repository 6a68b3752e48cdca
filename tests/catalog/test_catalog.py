"""store/catalogue.py: the ledger, read through a second connection as an independent witness."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import get_native_id
from typing import Any

import pytest

from pipeline import artifacts
from pipeline.catalog import catalog as catalogue_module
from pipeline.catalog.catalog import Catalogue, ImageRecord, ItemRecord, Photo, State
from pipeline.errors import DamagedArtifactError, NotBuiltError
from tests.conftest import tree


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue(tmp_path / "shop", create=True) as made:
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


def photo(catalogue: Catalogue, name: str) -> Photo:
    return next(photo for photo in catalogue.photos() if photo.sha256 == sha(name))


def put(catalogue: Catalogue, run: int, key: str, *images: ImageRecord) -> int:
    catalogue.put(run, key, key.title(), "category", {"price": 1.5, "brand": None}, images)
    item = catalogue.item_by_key(key)
    assert item is not None
    return item.id


def rows(catalogue: Catalogue, sql: str) -> list[tuple[Any, ...]]:
    """What another process would see."""
    witness = sqlite3.connect(f"file:{catalogue.file}?mode=ro", uri=True)
    try:
        return witness.execute(sql).fetchall()
    finally:
        witness.close()


def test_an_item_is_read_back_as_it_was_put(catalogue: Catalogue) -> None:
    records = [image("a.png"), image("b.png", State.REJECTED, "truncated")]
    catalogue.put(1, "k", "Näme", "Caps", {"price": 1.5, "brand": None, "n": 3}, records)
    expected = ItemRecord(
        1, "k", "Näme", "Caps", {"price": 1.5, "brand": None, "n": 3}, State.AVAILABLE, ""
    )
    assert catalogue.item(1) == catalogue.item_by_key("k") == expected
    assert catalogue.images(1) == records
    assert all(catalogue.item(number) is None for number in (0, 2, -1, 10**30))
    assert catalogue.item_by_key("K") is None
    assert catalogue.images(2) == []


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
def test_an_item_is_as_good_as_its_best_image(
    catalogue: Catalogue, images: list[ImageRecord], state: State, reason: str
) -> None:
    put(catalogue, 1, "k", *images)
    assert rows(catalogue, "SELECT state, reason FROM items") == [(state, reason)]
    assert catalogue.counts() == {state: {reason: 1}}


def test_an_item_put_again_keeps_its_id_and_its_images_theirs(catalogue: Catalogue) -> None:
    first, second = put(catalogue, 1, "a", image("1"), image("2")), put(catalogue, 1, "b")
    ids = rows(catalogue, "SELECT id, position FROM images")
    assert put(catalogue, 2, "a", image("3"), image("2"), image("4")) == first
    assert put(catalogue, 2, "b", image("5")) == second
    assert rows(catalogue, "SELECT id, position FROM images WHERE id <= 2") == ids
    assert [i.uri for i in catalogue.images(first)] == ["3", "2", "4"]
    put(catalogue, 3, "a", image("6"))
    assert [i.uri for i in catalogue.images(first)] == ["6"]


def test_items_not_offered_are_removed_and_counted_once(catalogue: Catalogue) -> None:
    run = catalogue.new_run()
    for key in "abc":
        put(catalogue, run, key, image(key))
    assert catalogue.remove_others(run) == 0
    run = catalogue.new_run()
    put(catalogue, run, "b", image("b"))
    assert catalogue.remove_others(run) == 2
    assert catalogue.counts() == {"available": {"": 1}, "removed": {"no longer in the source": 2}}
    assert [photo.sha256 for photo in catalogue.photos()] == [sha("b")]
    assert list(catalogue.showings()) == [(sha("b"), 2)]
    assert catalogue.photo_count() == 1
    run = catalogue.new_run()
    put(catalogue, run, "b", image("b"))
    assert catalogue.remove_others(run) == 0


def test_a_run_has_a_greater_number_than_all_before(catalogue: Catalogue) -> None:
    assert catalogue.new_run() == 1
    put(catalogue, 1, "a")
    put(catalogue, 7, "b")
    assert catalogue.new_run() == 8


def test_an_id_is_not_used_again_even_if_its_row_was_deleted(catalogue: Catalogue) -> None:
    put(catalogue, 1, "a")
    last = put(catalogue, 1, "b")
    with sqlite3.connect(catalogue.file) as other:
        other.execute("DELETE FROM items WHERE id = ?", (last,))
    other.close()
    assert put(catalogue, 2, "c") > last


def test_photos_are_distinct_and_in_the_order_in_which_they_were_first_shown(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_module, "_PAGE", 2)
    names = ["a", "b", "a", "c", "b", "d", "d", "e", "a"]
    for number, name in enumerate(names):
        put(catalogue, 1, f"item {number}", image(name))
    photos = list(catalogue.photos())
    assert [photo.sha256 for photo in photos] == [sha(name) for name in "abcde"]
    assert photos[2] == Photo(4, sha("c"), "/photos/c")
    assert catalogue.photo_count() == 5
    assert list(catalogue.showings()) == [(sha(n), i) for i, n in enumerate(names, 1)]


def test_a_photo_of_a_removed_item_is_read_from_the_item_that_still_shows_it(
    catalogue: Catalogue,
) -> None:
    put(catalogue, 1, "a", image("x"))
    put(catalogue, 2, "b", ImageRecord("x", State.AVAILABLE, path="/other", sha256=sha("x")))
    catalogue.remove_others(2)
    assert list(catalogue.photos()) == [Photo(2, sha("x"), "/other")]


def test_photos_can_be_read_while_they_fail(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_module, "_PAGE", 2)
    for name in "abcdefg":
        put(catalogue, 1, name, image(name))
    seen = []
    for photo in catalogue.photos():
        seen.append(photo.sha256)
        catalogue.fail_photo(photo, "photo missing")
    assert seen == [sha(name) for name in "abcdefg"]
    assert catalogue.counts() == {"failed": {"photo missing": 7}}


def test_a_failed_photo_fails_every_item_that_shows_nothing_else(catalogue: Catalogue) -> None:
    put(catalogue, 1, "a", image("x"))
    put(catalogue, 1, "b", image("x"), image("y"))
    put(catalogue, 1, "c", image("z"), image("x"))
    put(catalogue, 1, "d", image("y"))
    catalogue.set_fact("version", "5")
    catalogue.fail_photo(photo(catalogue, "x"), "photo missing")
    states = rows(catalogue, "SELECT key, state, reason FROM items ORDER BY key")
    assert states == [
        ("a", "failed", "photo missing"),
        ("b", "available", ""),
        ("c", "available", ""),
        ("d", "available", ""),
    ]
    assert list(catalogue.showings()) == [(sha("y"), 2), (sha("z"), 3), (sha("y"), 4)]
    assert catalogue.fact("version") is None


def test_another_file_of_a_failed_photo_stays_available(catalogue: Catalogue) -> None:
    put(catalogue, 1, "a", copy("x", "/one"))
    put(catalogue, 1, "b", copy("x", "/two"))
    put(catalogue, 1, "c", copy("x", "/one"), image("y", State.REJECTED, "truncated"))
    catalogue.fail_photo(photo(catalogue, "x"), "photo missing")
    states = rows(catalogue, "SELECT key, state FROM items ORDER BY key")
    assert states == [("a", "failed"), ("b", "available"), ("c", "failed")]
    assert photo(catalogue, "x") == Photo(2, sha("x"), "/two")
    assert [i.state for i in catalogue.images(3)] == [State.FAILED, State.REJECTED]
    catalogue.fail_photo(photo(catalogue, "x"), "photo missing")
    assert list(catalogue.photos()) == []
    assert catalogue.counts() == {"failed": {"photo missing": 3}}


def test_a_removed_item_stays_removed_when_its_photo_fails(catalogue: Catalogue) -> None:
    put(catalogue, 1, "a", image("x"))
    put(catalogue, 2, "b", image("x"))
    catalogue.remove_others(2)
    catalogue.fail_photo(photo(catalogue, "x"), "photo missing")
    assert catalogue.counts() == {
        "failed": {"photo missing": 1},
        "removed": {"no longer in the source": 1},
    }


def test_counts_name_the_most_frequent_reason_first(catalogue: Catalogue) -> None:
    reasons = ["corrupt", "truncated", "truncated", "empty file"]
    for number, reason in enumerate(reasons):
        put(catalogue, 1, str(number), image("x", State.REJECTED, reason))
    counted = catalogue.counts()["rejected"]
    assert list(counted.items()) == [("truncated", 2), ("corrupt", 1), ("empty file", 1)]


def test_readers_see_a_transaction_at_its_commit_and_never_wait(catalogue: Catalogue) -> None:
    with Catalogue(catalogue.folder) as reader:
        with catalogue.transaction():
            put(catalogue, 1, "a", image("a"))
            assert reader.counts() == {}
            assert reader.item_by_key("a") is None
        assert reader.counts() == {"available": {"": 1}}


def test_what_was_not_committed_is_not_there_after_a_crash(catalogue: Catalogue) -> None:
    put(catalogue, 1, "a")
    with suppress(sqlite3.ProgrammingError), catalogue.transaction():
        put(catalogue, 1, "b")
        catalogue.close()
    with Catalogue(catalogue.folder) as again:
        assert again.item_by_key("a")
        assert again.item_by_key("b") is None


def test_a_transaction_that_breaks_off_writes_nothing(catalogue: Catalogue) -> None:
    def break_off() -> None:
        with catalogue.fast_commits(), catalogue.transaction():
            put(catalogue, 1, "b")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert catalogue.item_by_key("b") is None
    put(catalogue, 1, "c")
    assert rows(catalogue, "SELECT key FROM items") == [("c",)]


def test_a_catalogue_is_unfinished_until_its_ingest_is(catalogue: Catalogue) -> None:
    catalogue.skip(3, "blank row")
    run = catalogue.begin_ingest()
    assert catalogue.is_unfinished
    assert catalogue.counts() == {}
    put(catalogue, run, "a")
    assert catalogue.finish_ingest(run) == 0
    assert not catalogue.is_unfinished


def test_facts_are_remembered_changed_and_forgotten(catalogue: Catalogue) -> None:
    assert catalogue.fact("limits") is None
    catalogue.set_fact("limits", "a")
    catalogue.set_fact("limits", "b")
    catalogue.set_fact("version", "c")
    with Catalogue(catalogue.folder) as again:
        assert (again.fact("limits"), again.fact("version")) == ("b", "c")
    catalogue.set_fact("limits", None)
    assert (catalogue.fact("limits"), catalogue.fact("version")) == (None, "c")


def test_a_photo_is_stored_once_under_the_name_of_its_content(catalogue: Catalogue) -> None:
    path = catalogue.store_photo(b"data", ".png")
    assert path == f"images/{sha('data').hex()[:2]}/{sha('data').hex()}.png"
    file = catalogue.folder / path
    assert file.read_bytes() == b"data"
    written = file.stat().st_ino
    assert catalogue.store_photo(b"data", ".png") == path
    assert file.stat().st_ino == written


@pytest.mark.parametrize("damaged", [b"", b"dat", b"dada"])
def test_a_stored_photo_that_was_damaged_is_written_again(
    catalogue: Catalogue, damaged: bytes
) -> None:
    file = catalogue.folder / catalogue.store_photo(b"data", ".png")
    file.write_bytes(damaged)
    catalogue.store_photo(b"data", ".png")
    assert file.read_bytes() == b"data"


def test_a_photo_is_written_aside_in_one_folder_that_can_be_swept(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[str] = []
    images = catalogue.folder / "images"
    monkeypatch.setattr(artifacts.os, "fsync", lambda _: during.extend(tree(images)))
    catalogue.store_photo(b"data", ".png")
    assert during[0] == f".{sha('data').hex()}.png.{get_native_id()}.tmp"


def test_stored_photos_are_there_if_each_has_its_size(catalogue: Catalogue) -> None:
    def stored(data: bytes, state: State = State.AVAILABLE) -> ImageRecord:
        path = catalogue.store_photo(data, ".png")
        return ImageRecord(path, state, path=path, size=len(data), sha256=sha(data.decode()))

    assert catalogue.has_stored_photos()
    put(catalogue, 1, "mine", copy("no such file", "/photos/images/x.png"))
    put(catalogue, 1, "failed", stored(b"failed", State.FAILED))
    put(catalogue, 1, "good", stored(b"good"))
    first, second = sorted((catalogue.folder / "images").rglob("*.png"))
    failed, good = (first, second) if first.read_bytes() == b"failed" else (second, first)
    failed.unlink()
    assert catalogue.has_stored_photos()
    good.write_bytes(b"goo")
    assert not catalogue.has_stored_photos()
    good.unlink()
    assert not catalogue.has_stored_photos()


def test_every_available_file_is_listed_once_with_its_content(catalogue: Catalogue) -> None:
    put(catalogue, 1, "a", copy("x", "/one"), image("y", State.FAILED, "photo missing"))
    put(catalogue, 1, "b", copy("x", "images/two"), copy("x", "/one"))
    put(catalogue, 1, "c", copy("z", "/three"))
    assert list(catalogue.files()) == [
        (Path("/one"), sha("x")),
        (catalogue.folder / "images/two", sha("x")),
        (Path("/three"), sha("z")),
    ]


def test_a_photo_is_read_from_the_items_own_file_if_it_has_one(catalogue: Catalogue) -> None:
    def at(path: str) -> ImageRecord:
        return ImageRecord(path, State.AVAILABLE, path=path, sha256=sha("x"))

    first, second = put(catalogue, 1, "a", at("/one")), put(catalogue, 1, "b", at("images/two"))
    assert catalogue.photo_path(sha("x")) == Path("/one")
    assert catalogue.photo_path(sha("x"), first) == Path("/one")
    assert catalogue.photo_path(sha("x"), second) == catalogue.folder / "images/two"
    assert catalogue.photo_path(sha("x"), 99) == Path("/one")
    assert catalogue.photo_path(sha("y")) is None


def test_there_is_no_catalogue_before_it_is_built(tmp_path: Path) -> None:
    with pytest.raises(NotBuiltError, match=f"{tmp_path}: .* run `imgsearch build`"):
        Catalogue(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_catalogue_is_damaged(tmp_path: Path, create: bool) -> None:
    file = tmp_path / "catalogue.sqlite"
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(DamagedArtifactError, match=f"{file}: damaged: .*; delete it and run"):
        Catalogue(tmp_path, create=create)


def test_a_file_that_cannot_be_opened_is_not_called_damaged(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Catalogue(catalogue.folder)


def test_a_damaged_page_is_found(catalogue: Catalogue) -> None:
    for number in range(200):
        put(catalogue, 1, str(number), image(str(number)))
    assert catalogue.damage() is None
    catalogue.close()
    (page,) = rows(catalogue, "SELECT rootpage FROM sqlite_master WHERE name = 'images'")[0]
    data = bytearray(catalogue.file.read_bytes())
    data[4096 * (page - 1) : 4096 * page] = b"\xa5" * 4096
    catalogue.file.write_bytes(data)
    with Catalogue(catalogue.folder) as again:
        assert again.damage()


def test_creating_a_catalogue_that_exists_opens_it(catalogue: Catalogue) -> None:
    put(catalogue, 1, "a")
    with Catalogue(catalogue.folder, create=True) as again:
        assert again.counts() == catalogue.counts() != {}
