"""download/queue.py: which URLs are to be fetched, and what becomes of their images."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.download.queue import DownloadQueue
from tests.conftest import offer_only

A, B, C = "http://one.test/a.jpg", "http://two.test/b.jpg", "http://one.test/c.jpg"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "shop", create=True) as made:
        yield made


def offer(catalog: Catalog, key: str, *uris: str) -> None:
    """An item none of whose URLs was tried yet."""
    catalog.put(key, key, "", {}, [ImageRecord(uri, State.PENDING) for uri in uris])


def came(catalog: Catalog, uri: str, attempts: int = 1) -> ImageRecord:
    data = uri.encode()
    return ImageRecord(
        uri,
        State.AVAILABLE,
        path=catalog.store_photo(data, ".jpg"),
        size=len(data),
        sha256=hashlib.sha256(data).digest(),
        width=5,
        height=4,
        status=200,
        attempts=attempts,
        tried_at="2026-01-02T03:04:05+00:00",
        seconds=0.5,
    )


def ended(uri: str, state: State, reason: str, attempts: int = 1) -> ImageRecord:
    at = "2026-01-02T03:04:05+00:00"
    return ImageRecord(uri, state, reason, status=404, attempts=attempts, tried_at=at, seconds=0.1)


def states(catalog: Catalog) -> list[tuple[str, str]]:
    """State and reason of every item, as another process sees them."""
    with sqlite3.connect(catalog.file) as witness:
        return witness.execute("SELECT state, reason FROM items ORDER BY id").fetchall()


def test_each_url_is_to_be_fetched_once_in_the_order_of_items(catalog: Catalog) -> None:
    catalog.page_size = 2
    offer(catalog, "1", B, A)
    offer(catalog, "2", A)
    offer(catalog, "3", C, B)
    catalog.put("4", "4", "", {}, [ImageRecord("here.png", State.FAILED, "photo missing")])
    queue = DownloadQueue(catalog)
    assert list(queue.urls(State.PENDING)) == [B, A, C]
    assert queue.count(State.PENDING) == 3
    assert list(queue.urls(State.FAILED)) == []
    assert queue.count(State.FAILED) == 0


def test_urls_may_end_while_they_are_streamed(catalog: Catalog) -> None:
    catalog.page_size = 2
    uris = [f"http://one.test/{number % 7}.jpg" for number in range(20)]
    for number, uri in enumerate(uris):
        offer(catalog, str(number), uri)
    queue, seen = DownloadQueue(catalog), []
    for uri in queue.urls(State.PENDING):
        seen.append(uri)
        queue.record_outcome(State.PENDING, ended(uri, State.FAILED, "HTTP 404"))
    assert seen == uris[:7]
    seen.clear()
    for uri in queue.urls(State.FAILED):  # fails again, and is not met again
        seen.append(uri)
        queue.record_outcome(State.FAILED, ended(uri, State.FAILED, "HTTP 404"))
    assert seen == uris[:7]
    with sqlite3.connect(catalog.file) as witness:
        assert witness.execute("SELECT DISTINCT attempts FROM images").fetchall() == [(2,)]


def test_all_images_of_a_url_and_their_items_get_its_outcome(catalog: Catalog) -> None:
    offer(catalog, "both", A, B)
    offer(catalog, "b", B)
    offer(catalog, "c", C)
    queue = DownloadQueue(catalog)
    queue.record_outcome(State.PENDING, ended(B, State.REJECTED, "truncated"))
    assert states(catalog) == [("pending", ""), ("rejected", "truncated"), ("pending", "")]
    queue.record_outcome(State.PENDING, came(catalog, A, attempts=3))
    assert states(catalog)[0] == ("available", "")
    assert catalog.images(1) == [came(catalog, A, 3), ended(B, State.REJECTED, "truncated")]
    assert queue.counts() == {
        "available": {"": 1},
        "pending": {"": 1},
        "rejected": {"truncated": 2},
    }


def test_failures_are_counted_by_host_the_worst_first(catalog: Catalog) -> None:
    uris = [A, C, B, "http://[bad", "http://user:secret@three.test:81/x"]
    for number, uri in enumerate(uris):
        offer(catalog, str(number), uri)
    queue = DownloadQueue(catalog)
    for uri, reason in zip(uris, ["HTTP 404", "too small", "HTTP 404", "x", "y"], strict=True):
        state = State.REJECTED if reason == "too small" else State.FAILED
        queue.record_outcome(State.PENDING, ended(uri, state, reason))
    assert list(queue.trouble_by_host().items()) == [
        ("one.test", {"HTTP 404": 1, "too small": 1}),
        ("no host", {"x": 1}),
        ("three.test:81", {"y": 1}),
        ("two.test", {"HTTP 404": 1}),
    ]


def test_a_stored_photo_whose_file_is_lost_is_pending_again(catalog: Catalog) -> None:
    offer(catalog, "a", A)
    offer(catalog, "b", B)
    queue = DownloadQueue(catalog)
    for uri in (A, B):
        queue.record_outcome(State.PENDING, came(catalog, uri))
    next(catalog.folder.glob(f"images/*/{hashlib.sha256(B.encode()).hexdigest()}.jpg")).unlink()
    queue.reuse_stored()
    assert states(catalog) == [("available", ""), ("pending", "")]
    assert list(queue.urls(State.PENDING)) == [B]


def test_a_photo_downloaded_for_one_item_is_reused_for_another(catalog: Catalog) -> None:
    offer(catalog, "old", A)
    queue = DownloadQueue(catalog)
    queue.record_outcome(State.PENDING, came(catalog, A, attempts=2))
    offer(catalog, "new", A, C)
    queue.reuse_stored()
    assert list(queue.urls(State.PENDING)) == [C]
    assert states(catalog) == [("available", ""), ("available", "")]
    assert catalog.images(2)[0] == came(catalog, A, attempts=0)


def test_a_downloaded_photo_is_remembered_while_no_item_shows_it(catalog: Catalog) -> None:
    offer(catalog, "a", A, B)
    queue = DownloadQueue(catalog)
    for uri in (A, B):
        queue.record_outcome(State.PENDING, came(catalog, uri))
    catalog.put("a", "a", "", {}, [came(catalog, A)])  # only the first is wanted now
    offer(catalog, "other", C)
    offer_only(catalog, "other")
    offer(catalog, "a", A, B)
    assert queue.count(State.PENDING) == 3
    queue.reuse_stored()
    assert list(queue.urls(State.PENDING)) == [C]
    assert catalog.images(1) == [came(catalog, uri, attempts=0) for uri in (A, B)]


def test_a_stored_photo_of_another_size_is_pending_again(catalog: Catalog) -> None:
    offer(catalog, "a", A)
    queue = DownloadQueue(catalog)
    queue.record_outcome(State.PENDING, came(catalog, A))
    next(catalog.folder.glob("images/*/*.jpg")).write_bytes(b"")
    queue.reuse_stored()
    assert states(catalog) == [("pending", "")]


def test_a_damaged_download_is_pending_again(catalog: Catalog) -> None:
    offer(catalog, "a", A)
    queue = DownloadQueue(catalog)
    queue.record_outcome(State.PENDING, came(catalog, A))
    (photo,) = catalog.photos()
    photo.path.write_bytes(photo.path.read_bytes()[::-1])
    catalog.fail_photo(photo, "photo changed since it was ingested")
    queue.reuse_stored()
    assert states(catalog) == [("pending", "")]
    assert not photo.path.exists()


def test_rejected_downloads_are_pending_again_after_new_limits(catalog: Catalog) -> None:
    for key, uri in (("a", A), ("b", B), ("c", C)):
        offer(catalog, key, uri)
    queue = DownloadQueue(catalog)
    queue.record_outcome(State.PENDING, ended(A, State.REJECTED, "too small"))
    queue.record_outcome(State.PENDING, ended(B, State.FAILED, "HTTP 404"))
    queue.record_outcome(State.PENDING, came(catalog, C))
    catalog.forget_files()
    assert list(queue.urls(State.PENDING)) == [A]
    assert list(queue.urls(State.FAILED)) == [B]


def test_removed_items_are_neither_fetched_nor_counted(catalog: Catalog) -> None:
    offer(catalog, "gone", A)
    offer(catalog, "here", B)
    offer_only(catalog, "here")
    queue = DownloadQueue(catalog)
    assert list(queue.urls(State.PENDING)) == [B]
    assert queue.counts() == {"pending": {"": 1}}


def test_a_ledger_of_an_earlier_version_gets_what_it_lacks(tmp_path: Path) -> None:
    tmp_path.joinpath("shop").mkdir()
    with sqlite3.connect(tmp_path / "shop" / "catalog.sqlite") as old:
        old.executescript(
            "CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,"
            " name TEXT NOT NULL, category TEXT NOT NULL, metadata TEXT NOT NULL,"
            " state TEXT NOT NULL, reason TEXT NOT NULL, run INTEGER NOT NULL);"
            "CREATE TABLE images (id INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL,"
            " position INTEGER NOT NULL, uri TEXT NOT NULL, path TEXT, size INTEGER,"
            " mtime_ns INTEGER, sha256 BLOB, width INTEGER, height INTEGER, state TEXT NOT NULL,"
            " reason TEXT NOT NULL, UNIQUE (item, position));"
            "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
            "INSERT INTO items VALUES (7, 'k', 'K', '', '{}', 'available', '', 1);"
            "INSERT INTO images VALUES"
            " (3, 7, 0, 'k.png', '/k.png', 5, 6, x'00', 2, 1, 'available', '');"
        )
    for _ in range(2):
        with Catalog(tmp_path / "shop") as catalog:
            expected = ImageRecord("k.png", State.AVAILABLE, "", "/k.png", 5, 6, b"\0", 2, 1)
            assert catalog.images(7) == [expected]
            assert catalog.counts() == {"available": {"": 1}}
            assert DownloadQueue(catalog).counts() == {}
