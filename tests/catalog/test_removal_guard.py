"""removal_guard.py: what is out of reach is not removed, and is as it was when it is back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import IngestReport, ingest
from pipeline.cli import main
from pipeline.config import Config, MetadataSettings
from pipeline.errors import HeldError, SourceGoneError
from pipeline.images import ImageLimits
from pipeline.maintenance.info import catalog_info
from pipeline.sources.base import SourceItem, SourcePhoto
from pipeline.sources.folder import FolderSource
from pipeline.stages import build
from tests.conftest import ListSource, png

LIMITS = ImageLimits()
NAMES = tuple(f"{n // 10}/{n}.png" for n in range(20))


class Shop:
    """A folder of photos and its catalog, brought up to date by the first stage of `build`."""

    def __init__(self, root: Path) -> None:
        self.photos = root / "photos"
        self.config = Config.model_validate(
            {
                "name": "shop",
                "root": str(root),
                "source": {"type": "folder", "path": str(self.photos)},
                "images": {"min_side": 1},
            }
        )

    def write(self, *names: str, shade: int = 0) -> None:
        for number, name in enumerate(names):
            file = self.photos / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png((number, shade, 1)))

    def ingest(self, *, accept_removals: bool = False) -> IngestReport:
        report = build(self.config, ["ingest"], accept_removals=accept_removals).ingest
        assert report is not None
        return report

    def items(self) -> list[str]:
        with closing(sqlite3.connect(self.config.folder / "catalog.sqlite")) as ledger:
            dump = list(ledger.iterdump())
        rows = [
            line
            for line in dump
            if line.startswith(('INSERT INTO "items"', 'INSERT INTO "images"'))
        ]
        assert rows
        return rows


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    made.write(*NAMES)
    made.ingest()
    return made


def emptied(shop: Shop) -> None:
    shop.photos.mkdir()


def replaced(shop: Shop) -> None:
    shop.write("other.png", "another.png", shade=9)


def partly_replaced(shop: Shop) -> None:
    shop.write(*NAMES[1:])


def replaced_by_other_photos_of_the_same_names(shop: Shop) -> None:
    for number, name in enumerate(NAMES):
        file = shop.photos / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png((number, 5, 5), (40 + number, 9)))


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (lambda _shop: None, "no such folder"),
        (emptied, "no photos below it"),
        (replaced, "is another folder or drive than it was: 20 of 20 items would be removed"),
        (partly_replaced, "is another folder or drive than it was: 1 of 20 items would be"),
        (replaced_by_other_photos_of_the_same_names, "20 of 20 items would show another photo"),
    ],
)
def test_a_drive_that_is_not_there_removes_nothing_and_is_as_it_was_when_it_is_back(
    shop: Shop, happens: Callable[[Shop], None], words: str
) -> None:
    before = shop.items()
    away = shop.photos.rename(shop.photos.with_name("unplugged"))
    happens(shop)
    for _ in range(2):
        with pytest.raises(HeldError, match=words) as held:
            shop.ingest()
        assert "`imgsearch publish --accept-removals`" in held.value.hint
        assert words in str(catalog_info(shop.config).held)
    assert shop.items() == before
    if shop.photos.exists():
        shop.photos.rename(shop.photos.with_name("other"))
    away.rename(shop.photos)
    report = shop.ingest()
    assert (report.newly_removed, report.held, catalog_info(shop.config).held) == (0, None, None)
    assert shop.items() == before


def test_a_folder_that_was_copied_elsewhere_is_the_same(shop: Shop) -> None:
    with Catalog(shop.config.folder) as catalog:
        before = [(p.id, p.sha256) for p in catalog.photos()]
    shop.photos.rename(shop.photos.with_name("old"))
    shop.write(
        *NAMES,
    )
    assert shop.ingest().held is None
    with Catalog(shop.config.folder) as catalog:
        assert [(p.id, p.sha256) for p in catalog.photos()] == before
    (shop.photos / NAMES[0]).unlink()
    assert shop.ingest().newly_removed == 1  # the folder is known by now


def test_what_is_accepted_is_removed(shop: Shop) -> None:
    shop.photos.rename(shop.photos.with_name("old"))
    replaced(shop)
    report = shop.ingest(accept_removals=True)
    assert (report.newly_removed, report.offered, report.held) == (20, 2, None)
    assert shop.ingest().held is None
    for file in shop.photos.iterdir():
        file.unlink()
    with pytest.raises(HeldError):
        shop.ingest()
    assert shop.ingest(accept_removals=True).newly_removed == 2
    with pytest.raises(SourceGoneError):  # there is nothing left to be removed
        shop.ingest()


def test_a_new_catalog_is_not_held(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    with pytest.raises(SourceGoneError, match="no such folder"):
        shop.ingest()
    assert not shop.config.folder.exists()


def test_the_commands_say_that_it_is_held(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        settings = shop.photos.with_name("imgsearch.yaml")
        settings.write_text(str(shop.config.model_dump(mode="json")).replace("None", "null"))
        monkeypatch.chdir(settings.parent)
        monkeypatch.setattr("sys.argv", ["imgsearch", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    shop.photos.rename(shop.photos.with_name("unplugged"))
    emptied(shop)
    code, out, err = run("ingest")
    assert (code, out) == (1, "")
    *_, line = err.splitlines()
    assert "held, nothing was changed" in line
    assert "no photos below it" in line
    assert "run `imgsearch publish --accept-removals`" in line
    code, out, _ = run("info")
    assert code == 0
    assert "no photos below it" in " ".join(out.split())
    code, out, _ = run("ingest", "--accept-removals", "--json")
    assert (code, json.loads(out)["ingest"]["newly_removed"]) == (0, 20)


# -- How many are gone -----------------------------------------------------------------------------


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "table", create=True) as made:
        yield made


def offer(catalog: Catalog, numbers: range, price: int = 1) -> IngestReport:
    """Items as a table has them: with a key of their own, and photos at URLs."""
    items = [
        SourceItem(f"sku {n}", "", "", (SourcePhoto(f"https://a.test/{n}.jpg"),), {"price": price})
        for n in numbers
    ]
    return ingest(ListSource(items), catalog, LIMITS)


@pytest.mark.parametrize(
    ("items", "left", "is_held"),
    [
        (249, 200, False),  # 49 of 249
        (250, 200, False),  # 50 of 250, which is 20 %
        (249, 199, True),
        (1000, 801, False),
        (1000, 799, True),
        (40, 1, False),
        (40, 0, True),
    ],
)
def test_more_than_a_fifth_and_fifty_items_are_not_removed(
    catalog: Catalog, items: int, left: int, is_held: bool
) -> None:
    offer(catalog, range(items))
    report = offer(catalog, range(left), price=2)
    assert (report.held is not None) == is_held
    assert report.newly_removed == (0 if is_held else items - left)
    item = catalog.item_by_key("sku 0")
    assert item is not None
    assert item.metadata == {"price": 1 if is_held else 2}  # what has changed waits too


def test_items_that_have_only_changed_are_not_gone(catalog: Catalog, tmp_path: Path) -> None:
    def files(color: int) -> ListSource:
        items = []
        for n in range(60):
            file = tmp_path / f"{n}.png"
            file.write_bytes(png((n, color, 0), (4 + color, 4)))
            items.append(SourceItem(f"sku {n}", f"{color}", "", (SourcePhoto(f"{n}", file),)))
        return ListSource(items)

    ingest(files(1), catalog, LIMITS)
    report = ingest(files(2), catalog, LIMITS)
    assert (report.held, report.newly_removed, report.counts) == (None, 0, {"available": {"": 60}})


def test_photos_behind_links_that_lead_nowhere_are_out_of_reach(
    tmp_path: Path, catalog: Catalog
) -> None:
    photos, drive = tmp_path / "photos", tmp_path / "drive"
    photos.mkdir()
    drive.mkdir()
    for n in range(60):
        (drive / f"{n}.png").write_bytes(png((n, 1, 1)))
        (photos / f"{n}.png").symlink_to(drive / f"{n}.png")
    ingest(FolderSource(photos), catalog, LIMITS)
    drive.rename(tmp_path / "unplugged")
    assert ingest(FolderSource(photos), catalog, LIMITS).held == "60 of 60 items would be removed"
    (tmp_path / "unplugged").rename(drive)
    assert ingest(FolderSource(photos), catalog, LIMITS).held is None


def test_photos_that_are_gone_while_their_rows_are_there_count(
    tmp_path: Path, catalog: Catalog
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(80):
        (photos / f"{n}.png").write_bytes(png((n, 1, 1)))
    (photos / "rows.csv").write_text("\n".join(["id,n", *(f"{n},{n}" for n in range(80))]))
    source = FolderSource(photos, MetadataSettings(file=Path("rows.csv"), key="id"))
    ingest(source, catalog, LIMITS)
    for n in range(60):
        (photos / f"{n}.png").rename(tmp_path / f"{n}.png")
    report = ingest(replace(source), catalog, LIMITS)
    assert report.held == "60 of 80 items would be removed"


def test_renaming_all_is_not_held(tmp_path: Path, catalog: Catalog) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(80):
        (photos / f"{n}.png").write_bytes(png((n, 1, 1)))
    ingest(FolderSource(photos), catalog, LIMITS)
    for n in range(80):
        (photos / f"{n}.png").rename(photos / f"new {n}.png")
    report = ingest(FolderSource(photos), catalog, LIMITS)
    assert (report.held, report.newly_removed, report.offered) == (None, 0, 80)
