"""rejected.py: everything that is not in the catalog is listed once, with its reason."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.catalog.ingest import ingest
from pipeline.cli.maintenance import list_rejected
from pipeline.config import MetadataSettings
from pipeline.errors import NotBuiltError, QueryError
from pipeline.images import ImageLimits
from pipeline.maintenance.rejected import Rejected, rejected, write_csv
from pipeline.sources.base import Skipped, SourceItem, SourcePhoto
from pipeline.sources.folder import FolderSource
from tests.conftest import Shop, png


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one photo that is used, and four other things."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, data in {
        "good.png": png((1, 2, 3)),
        "cut.png": png((1, 2, 3))[:-20],
        "words.jpg": b"words",
        "notes\n.xyz": b"words",
        "rows.csv": b"image,n\ngood,1\ngone.png,2\ncut,3\nwords,4\n",
    }.items():
        (folder / name).write_bytes(data)
    return folder


EXPECTED = [
    Rejected("cut.png", "cut.png", None, "rejected", "truncated"),
    Rejected("words.jpg", "words.jpg", None, "rejected", "not an image"),
    Rejected(None, "gone.png", None, "failed", "no photo of this name"),
    Rejected("notes\n.xyz", None, None, "left out", "not an image"),
]


def look(shop: Shop, photos: Path) -> None:
    metadata = MetadataSettings(file=Path("rows.csv"), key="image")
    ingest(FolderSource(photos, metadata), shop.catalog, ImageLimits())


def test_all_that_is_not_used_of_a_folder_is_listed(shop: Shop, photos: Path) -> None:
    look(shop, photos)
    assert list(rejected(shop.config)) == EXPECTED


def test_photos_at_urls_and_rows_are_listed_too(shop: Shop) -> None:
    catalog, url = shop.catalog, "https://shop.example/a.jpg"

    class Table:
        version, total = None, 4

        def items(self) -> Iterator[SourceItem | Skipped]:
            urls = (SourcePhoto(url), SourcePhoto("https://shop.example/b.jpg"))
            two = SourceItem("two", "", "", urls, row=1)
            bad = SourceItem("bad", "", "", (), row=2, without_photo="unreadable photo list")
            yield from (two, bad, Skipped(3, "blank row"), SourceItem("bad", "", "", (), row=4))

    ingest(Table(), catalog, ImageLimits())
    with catalog.transaction():
        catalog.change(
            "UPDATE images SET state = 'failed', reason = 'not found' WHERE uri = :uri",
            {"uri": url},
        )
    assert list(rejected(shop.config)) == [
        Rejected(url, "two", None, "failed", "not found"),
        Rejected(None, "bad", None, "failed", "unreadable photo list"),
        Rejected(None, None, 3, "skipped", "blank row"),
        Rejected(None, "bad", 4, "skipped", "duplicate id"),
    ]


def test_what_was_removed_or_is_available_is_not_listed(shop: Shop) -> None:
    shop.offer({"a": [(1, 0, 0)], "b": [(2, 0, 0)]})
    shop.offer({"a": [(1, 0, 0)]})
    assert list(rejected(shop.config)) == []


def test_it_is_printed_as_a_line_each(
    shop: Shop, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    look(shop, photos)
    list_rejected(shop.config, None, as_json=False)
    out = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[0] for line in out] == ["rejected", "rejected", "failed", "left"]
    assert out[0].split() == ["rejected", "truncated", "cut.png"]
    assert out[2].endswith(" gone.png")


@pytest.mark.parametrize("is_empty", [True, False])
def test_it_is_one_json_list(
    shop: Shop, photos: Path, capsys: pytest.CaptureFixture[str], is_empty: bool
) -> None:
    if not is_empty:
        look(shop, photos)
    list_rejected(shop.config, None, as_json=True)
    listed = json.loads(capsys.readouterr().out)
    assert listed == ([] if is_empty else [vars(entry) for entry in EXPECTED])


def test_it_is_written_as_csv(shop: Shop, photos: Path, tmp_path: Path) -> None:
    look(shop, photos)
    file = tmp_path / "rejected.csv"
    list_rejected(shop.config, file, as_json=False)
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert [{k: v or None for k, v in row.items()} for row in rows] == [
        vars(entry) for entry in EXPECTED
    ]
    with pytest.raises(QueryError, match=r"ends in \.csv"):
        list_rejected(shop.config, tmp_path / "rejected.txt", as_json=False)


def test_nothing_is_half_written(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "rejected.csv"
    file.write_text("earlier")
    other = shop.config.model_copy(update={"name": "other"})
    with pytest.raises(NotBuiltError):
        write_csv(file, rejected(other))
    assert file.read_text() == "earlier"
    assert [path.name for path in tmp_path.glob("*rejected*")] == ["rejected.csv"]
