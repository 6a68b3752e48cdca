"""download.py against a server that misbehaves: what the ledger and the disk say in the end."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.config import DownloadSettings
from pipeline.download import download as download_module
from pipeline.download import storing
from pipeline.download.download import DownloadReport, download
from pipeline.download.storing import Downloaded
from pipeline.images import ImageLimits
from pipeline.progress import Silent
from tests.download.photo_server import PhotoServer, draw, mixed

LIMITS = ImageLimits()
SETTINGS = DownloadSettings(
    attempts=3,
    backoff=0.05,
    connect_timeout=1,
    read_timeout=1,
    total_timeout=3,
    per_host=64,
    allow_addresses=("127.0.0.1/32",),
)


@pytest.fixture(scope="module")
def server() -> Iterator[PhotoServer]:
    with PhotoServer([draw(number, 60) for number in range(8)]) as running:
        yield running


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "shop", create=True) as made:
        yield made


def offer(catalog: Catalog, urls: Sequence[str]) -> None:
    """An item for each URL."""
    with catalog.transaction():
        for number, url in enumerate(urls):
            catalog.put(str(number), "", "", {}, [ImageRecord(url, State.PENDING)])


def run(catalog: Catalog, retry_failed: bool = False, **changes: Any) -> DownloadReport:
    settings = DownloadSettings(**{**SETTINGS.model_dump(), **changes})
    return download(catalog, settings, LIMITS, retry_failed=retry_failed)


def rows(catalog: Catalog, columns: str) -> list[tuple[Any, ...]]:
    """Of the images, as another process sees them."""
    with sqlite3.connect(catalog.file) as witness:
        return witness.execute(f"SELECT {columns} FROM images ORDER BY id").fetchall()


def test_every_url_ends_in_the_expected_state(server: PhotoServer, catalog: Catalog) -> None:
    expected = mixed(server, 300, seed=5)
    offer(catalog, [one.url for one in expected])
    report = run(catalog)
    found = rows(catalog, "uri, state, reason")
    assert found == [(one.url, one.state, one.reason) for one in expected]
    counts: dict[str, Counter[str]] = {}
    for one in expected:
        counts.setdefault(one.state, Counter())[one.reason] += 1
    assert report.counts == counts
    assert report.tried == 300
    assert sum(sum(reasons.values()) for reasons in report.trouble.values()) == sum(
        sum(reasons.values()) for state, reasons in counts.items() if state != "available"
    )
    for state, status, attempts, tried_at, seconds in rows(
        catalog, "state, status, attempts, tried_at, seconds"
    ):
        assert tried_at.endswith("+00:00")
        assert attempts <= 3
        assert 0 <= seconds < 5
        assert state == "failed" or (status == 200 and attempts >= 1)


def test_a_photo_is_stored_as_in_the_article(server: PhotoServer, catalog: Catalog) -> None:
    offer(catalog, [server.url("photo/3")])
    report = run(catalog)
    original = server.photo(3)
    file = io.BytesIO()
    Image.open(io.BytesIO(original)).resize((250, 250), Image.Resampling.LANCZOS).save(file, "JPEG")
    ((path, size, sha256, width, height),) = rows(catalog, "path, size, sha256, width, height")
    assert (catalog.folder / path).read_bytes() == file.getvalue()
    assert (size, width, height) == (len(file.getvalue()), 60, 60)
    assert sha256 == hashlib.sha256(file.getvalue()).digest()
    assert path == f"images/{sha256.hex()[:2]}/{sha256.hex()}.jpg"
    assert report.bytes == len(original)


@pytest.mark.parametrize(("resize", "side"), [("fit 32", 32), ("fit 512", 60), ("none", 60)])
def test_photos_are_stored_in_the_configured_size(
    server: PhotoServer, catalog: Catalog, resize: str, side: int
) -> None:
    offer(catalog, [server.url("photo/3")])
    run(catalog, resize=resize)
    ((path,),) = rows(catalog, "path")
    data = (catalog.folder / path).read_bytes()
    assert Image.open(io.BytesIO(data)).size == (side, side)
    assert (data == server.photo(3)) == (resize == "none")


def test_another_size_applies_to_new_photos_and_is_noted(
    server: PhotoServer, catalog: Catalog
) -> None:
    said: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            said.append(text)

    offer(catalog, [server.url("photo/3")])
    run(catalog)
    ((path,),) = rows(catalog, "path")
    offer_more(catalog, "new", server.url("photo/4"))
    settings = SETTINGS.model_copy(update={"resize": 100})
    download(catalog, settings, LIMITS, progress=Notes())
    kept = [Image.open(catalog.folder / path).size for (path,) in rows(catalog, "path")]
    assert kept == [(250, 250), (100, 100)]
    assert rows(catalog, "path")[0] == (path,)
    assert len(said) == 1
    assert "resize: 250" in said[0]


def offer_more(catalog: Catalog, key: str, url: str) -> None:
    catalog.put(key, "", "", {}, [ImageRecord(url, State.PENDING)])


def test_photos_of_the_same_content_are_stored_once(server: PhotoServer, catalog: Catalog) -> None:
    offer(catalog, [server.url(f"photo/{number}") for number in (1, 9, 17, 2)])
    run(catalog)
    assert len(list(catalog.folder.glob("images/*/*.jpg"))) == 2
    assert catalog.photo_count() == 2


def test_a_second_run_requests_nothing(
    server: PhotoServer, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [server.url(f"photo/{number}") for number in range(3)]
    offer(catalog, [*urls, server.url("status/7?is=404")])
    first = run(catalog)
    monkeypatch.setattr(storing, "fetch_all", None)
    second = run(catalog)
    assert (second.tried, second.bytes) == (0, 0)
    assert second.counts == first.counts
    assert second.trouble == first.trouble


def test_retrying_requests_only_failed_photos(server: PhotoServer, catalog: Catalog) -> None:
    good, rejected = server.url("photo/61"), server.url("truncated/61")
    failed = [server.url("fails-once/71"), server.url("status/72?is=404")]
    offer(catalog, [good, rejected, *failed])
    run(catalog, attempts=1)
    assert [state for (state,) in rows(catalog, "state")] == [
        *("available", "rejected", "failed", "failed")
    ]
    offer_more(catalog, "later", server.url("photo/62"))
    before = len(server.requests)
    report = run(catalog, retry_failed=True, attempts=1, robots="ignore")
    asked = [request.path for request in server.requests[before:]]
    assert sorted(asked) == ["/fails-once/71.jpg", "/status/72.jpg?is=404"]
    assert report.tried == 2
    assert rows(catalog, "state, attempts") == [
        *(("available", 1), ("rejected", 1), ("available", 2), ("failed", 2), ("pending", 0))
    ]


def test_fetched_photos_are_committed_when_a_run_is_interrupted(
    server: PhotoServer, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(catalog, [server.url(f"photo/{number}") for number in range(100, 140)])
    end, ended = download_module._DownloadRun.end, []

    def break_off(self: Any, downloaded: Downloaded) -> None:
        if len(ended) == 20:
            raise KeyboardInterrupt
        end(self, downloaded)
        ended.append(downloaded)

    monkeypatch.setattr(download_module._DownloadRun, "end", break_off)
    with pytest.raises(KeyboardInterrupt):
        run(catalog, concurrency=1)
    states = Counter(state for (state,) in rows(catalog, "state"))
    assert states == {"available": 20, "pending": 20}
    monkeypatch.undo()
    assert run(catalog).tried == 20


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.EFBIG]
)
def test_a_faulty_disk_stops_the_run_and_loses_nothing(
    server: PhotoServer, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    offer(catalog, [server.url(f"photo/{number}") for number in range(200, 208)])
    write, written = Path.write_bytes, itertools.count()

    def break_down(path: Path, data: bytes) -> int:
        if next(written) >= 3:
            write(path, data[:10])
            raise OSError(number, os.strerror(number), str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", break_down)
    with pytest.raises(OSError, match=re.escape(os.strerror(number))) as caught:
        run(catalog)
    assert caught.value.errno == number
    assert "images" in caught.value.filename
    assert "failed" not in {state for (state,) in rows(catalog, "state")}
    files = [path for path in (catalog.folder / "images").rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in files)
    monkeypatch.undo()
    assert run(catalog).counts == {"available": {"": 8}}


def test_photos_whose_folder_cannot_be_read_are_not_lost(
    server: PhotoServer, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(catalog, [server.url("photo/3")])
    run(catalog)
    asked = len(server.requests)

    def refuse(folder: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        run(catalog)
    assert rows(catalog, "state") == [("available",)]
    assert len(server.requests) == asked


def test_nothing_to_download_is_no_work(catalog: Catalog) -> None:
    assert run(catalog) == DownloadReport(0, 0, {})
    assert run(catalog, retry_failed=True) == DownloadReport(0, 0, {})
