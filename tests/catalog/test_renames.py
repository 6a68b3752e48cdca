"""renames.py: which item each photo of a folder belongs to, compared with a model of the rules."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import images
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import IngestReport, ingest
from pipeline.config import MetadataSettings
from pipeline.images import ImageLimits
from pipeline.sources.folder import FolderSource
from tests.conftest import png

LIMITS = ImageLimits()
ANCHOR = "anchor.png"  # always there: an empty folder is another matter
TIMES = count(10**18, 10**9)  # the clock of file systems goes in steps


class Folder:
    """Photos on disk, each of a content that is a number, and the catalog of them."""

    def __init__(self, root: Path) -> None:
        self.photos = root / "photos"
        self.photos.mkdir()
        self.catalog = Catalog(root / "shop", create=True)
        self.metadata: MetadataSettings | None = None

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.catalog.close()

    def write(self, name: str, content: int) -> None:
        file = self.photos / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(photo(content))
        os.utime(file, ns=(0, next(TIMES)))

    def rename(self, old: str, new: str) -> None:
        (self.photos / new).parent.mkdir(parents=True, exist_ok=True)
        (self.photos / old).rename(self.photos / new)

    def rows(self, *rows: str) -> None:
        (self.photos / "rows.csv").write_text("\n".join(["image,label", *rows]) + "\n")
        self.metadata = MetadataSettings(file=Path("rows.csv"), key="image")

    def ingest(self) -> IngestReport:
        return ingest(FolderSource(self.photos, self.metadata), self.catalog, LIMITS)

    def live(self) -> dict[str, tuple[int, bytes]]:
        """Key → id and content of the items that show a photo."""
        query = (
            "SELECT key, items.id, sha256 FROM items JOIN images ON item = items.id"
            " WHERE items.state = 'available'"
        )
        return {key: (number, sha256) for key, number, sha256 in self.catalog.select(query)}

    def ids(self) -> dict[str, int]:
        return {key: number for key, (number, _) in self.live().items()}

    def label(self, key: str) -> tuple[int, object]:
        item = self.catalog.item_by_key(key)
        assert item is not None
        return item.id, item.metadata.get("label")


def photo(content: int) -> bytes:
    return png((content % 256, content // 256, 7))


def sha(content: int) -> bytes:
    return hashlib.sha256(photo(content)).digest()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        yield made


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Contents that were decoded, one after the other."""
    found: list[bytes] = []
    decode = images.decode
    monkeypatch.setattr(
        images, "decode", lambda data, limits: (found.append(data), decode(data, limits))[1]
    )
    return found


# -- Any changes of a folder -----------------------------------------------------------------------

NAMES = ("1.png", "2.png", "3.png", "p/1.png", "p/2.png", "q/9.png")
Operation = tuple[str, str, str]
operations = st.tuples(
    st.sampled_from(("add", "change", "remove", "rename", "swap", "touch", "copy")),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
)
looks = st.lists(st.lists(operations, max_size=5), min_size=1, max_size=5)


@dataclass
class Files:
    """What is in the folder, as the test has made it: path → content."""

    folder: Folder
    content: dict[str, int] = field(default_factory=dict)
    contents: Iterator[int] = field(default_factory=lambda: count(1))

    def write(self, name: str, content: int) -> None:
        self.folder.write(name, content)
        self.content[name] = content

    def rename(self, old: str, new: str) -> None:
        self.folder.rename(old, new)
        self.content[new] = self.content.pop(old)

    def do(self, what: str, one: str, other: str) -> None:
        """Do it if it can be done: most names are not there at first."""
        if what == "add" and one not in self.content:
            self.write(one, next(self.contents))
        if one not in self.content:
            return
        if what == "change":
            self.write(one, next(self.contents))
        elif what == "remove":
            (self.folder.photos / one).unlink()
            del self.content[one]
        elif what == "touch":
            os.utime(self.folder.photos / one, ns=(0, next(TIMES)))
        elif what == "copy" and one != other:
            self.write(other, self.content[one])
        elif what == "rename" and one != other:
            self.rename(one, other)
        elif what == "swap" and one != other and other in self.content:
            self.rename(one, "aside.png")
            self.rename(other, one)
            self.rename("aside.png", other)


@dataclass
class Model:
    """The rules, for contents of which there is never a copy: key → id and content."""

    live: dict[str, tuple[int, int]] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    given: set[int] = field(default_factory=set)

    def look(self, files: dict[str, int]) -> dict[str, int | None]:
        """Return key → id, or None for one that was never given before."""
        where = {content: name for name, content in files.items()}
        followed = {where[c]: n for n, c in self.live.values() if c in where}
        result: dict[str, int | None] = {}
        for name in files:
            before = self.live.get(name)
            if name in followed:
                result[name] = followed[name]
            elif before and before[1] not in where:
                result[name] = before[0]  # another photo of the same item
            else:
                result[name] = None if before else self.removed.get(name)
        return result

    def learn(self, live: dict[str, tuple[int, int]]) -> None:
        """Take over what the ledger has, once it was compared."""
        ids = {number for number, _ in live.values()}
        gone = {key: number for key, (number, _) in self.live.items() if number not in ids}
        self.removed = {k: n for k, n in (self.removed | gone).items() if n not in ids}
        self.removed = {key: n for key, n in self.removed.items() if key not in live}
        self.live = live
        self.given |= ids


@settings(max_examples=12, deadline=None)
@given(looks)
@example([[("add", "1.png", "2.png"), ("add", "2.png", "1.png")], [("swap", "1.png", "2.png")]])
@example(
    [
        [("add", name, name) for name in NAMES],
        [("remove", "1.png", "1.png"), *(("rename", b, a) for a, b in pairwise(NAMES))],
    ]
)
def test_an_item_follows_its_photo_wherever_it_goes(looks: list[list[Operation]]) -> None:
    with tempfile.TemporaryDirectory() as root, Folder(Path(root)) as folder:
        files, model = Files(folder), Model()
        files.write(ANCHOR, next(files.contents))
        for done in looks:
            for what, one, other in done:
                if what != "copy":
                    files.do(what, one, other)
            expected = model.look(files.content)
            folder.ingest()
            content = {sha(number): number for number in files.content.values()}
            found = {key: (n, content[sha256]) for key, (n, sha256) in folder.live().items()}
            assert {key: number for key, (_, number) in found.items()} == files.content
            for key, number in expected.items():
                if number is None:
                    assert found[key][0] not in model.given
                else:
                    assert found[key][0] == number
            model.learn(found)


@settings(max_examples=8, deadline=None)
@given(looks)
def test_of_copies_as_many_items_are_kept_as_can_be(looks: list[list[Operation]]) -> None:
    with tempfile.TemporaryDirectory() as root, Folder(Path(root)) as folder:
        files = Files(folder)
        files.write(ANCHOR, next(files.contents))
        folder.ingest()
        for done in looks:
            before = folder.live()
            for operation in done:
                files.do(*operation)
            folder.ingest()
            after = folder.live()
            assert {key: s for key, (_, s) in after.items()} == {
                key: sha(content) for key, content in files.content.items()
            }
            assert len({number for number, _ in after.values()}) == len(after)
            shown_before = Counter(sha256 for _, sha256 in before.values())
            shown_after = Counter(sha256 for _, sha256 in after.values())
            kept = Counter(s for _, s in set(before.values()) & set(after.values()))
            assert kept == shown_before & shown_after


def test_renamed_photos_are_not_decoded_and_their_category_is_that_of_the_new_folder(
    folder: Folder, decoded: list[bytes]
) -> None:
    names = [f"old/{n}.png" for n in range(100)]
    for number, name in enumerate(names):
        folder.write(name, number)
    folder.ingest()
    before = folder.live()
    decoded.clear()
    for number, name in enumerate(names):
        folder.rename(name, f"new/photo {(number + 1) % 100}.png")  # each to the number of the next
    report = folder.ingest()
    assert (report.newly_removed, report.counts) == (0, {"available": {"": 100}})
    assert decoded == []
    assert set(folder.live().values()) == set(before.values())
    item = folder.catalog.item_by_key("new/photo 1.png")
    assert item is not None
    assert (item.id, item.name, item.category) == (1, "photo 1", "new")


def test_a_renamed_photo_takes_the_place_of_one_that_is_overwritten(folder: Folder) -> None:
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        folder.write(name, number)
    folder.ingest()
    folder.rename("a.png", "b.png")
    assert folder.ingest().newly_removed == 1
    assert folder.ids() == {"b.png": 1, "c.png": 3}
    gone = folder.catalog.item(2)
    assert gone is not None
    assert (gone.key, gone.state) == ("b.png//2", "removed")
    folder.write("a.png", 9)  # is nobody's
    folder.ingest()
    assert folder.ids() == {"b.png": 1, "c.png": 3, "a.png": 4}


def test_copies_that_move_together_keep_their_names_apart(folder: Folder) -> None:
    names = ("p/front.png", "p/back.png", "p/side.png")
    for name in names:
        folder.write(name, 1)
    folder.write(ANCHOR, 2)
    folder.ingest()
    before = folder.ids()
    (folder.photos / "p").rename(folder.photos / "a")
    folder.ingest()
    assert folder.ids() == {key.replace("p/", "a/"): number for key, number in before.items()}


def test_an_item_that_is_where_it_was_stays_although_there_is_a_copy_now(folder: Folder) -> None:
    folder.write("z.png", 1)
    folder.ingest()
    folder.write("a/z.png", 1)
    os.utime(folder.photos / "z.png", ns=(0, next(TIMES)))
    folder.ingest()
    assert folder.ids() == {"z.png": 1, "a/z.png": 2}


# -- Rows of metadata ------------------------------------------------------------------------------


def test_a_row_stays_with_its_photo_whatever_that_is_called(folder: Folder) -> None:
    for number, name in enumerate(("by path.png", "p/by-name.png", "stem.png", "p/none.png")):
        folder.write(name, number)
    folder.rows("by path.png,path", "by-name.png,name", "stem,stem", "absent.png,absent")
    folder.ingest()
    renamed = {
        "by path.png": "x/1.png",
        "p/by-name.png": "x/2.png",
        "stem.png": "x/3.png",
        "p/none.png": "x/4.png",
    }
    before = {renamed[key]: folder.label(key) for key in renamed}
    for old, new in renamed.items():
        folder.rename(old, new)
    for _ in range(2):
        report = folder.ingest()
        assert report.newly_removed == 0
        assert {key: folder.label(key) for key in folder.ids()} == before
        assert report.unmatched["row"].examples == ("absent.png",)
        assert report.unmatched["photo"].examples == ("x/4.png",)
    for old, new in renamed.items():  # and once more, and back to where they were
        folder.rename(new, f"y/{old}")
    folder.ingest()
    assert {key: folder.label(key) for key in folder.ids()} == {
        f"y/{old}": before[new] for old, new in renamed.items()
    }
    for old in renamed:
        folder.rename(f"y/{old}", old)
    folder.ingest()
    assert {key: folder.label(key) for key in folder.ids()} == {
        old: before[new] for old, new in renamed.items()
    }


def test_all_rows_of_a_photo_go_with_it(folder: Folder) -> None:
    folder.write("a.png", 1)
    folder.write(ANCHOR, 2)
    folder.rows("a.png,one", "a.png,two", "a.png,three")
    folder.ingest()
    before = [folder.label(key) for key in ("a.png", "a.png#2", "a.png#3")]
    folder.rename("a.png", "z.png")
    assert folder.ingest().newly_removed == 0
    assert [folder.label(key) for key in ("z.png", "z.png#2", "z.png#3")] == before


def test_where_rows_name_photos_that_are_there_the_rows_decide(folder: Folder) -> None:
    for number, name in enumerate(("a.png", "b.png", ANCHOR)):
        folder.write(name, number)
    folder.rows("a.png,A", "b.png,B")
    folder.ingest()
    before = {key: folder.label(key) for key in ("a.png", "b.png")}
    folder.rename("a.png", "aside.png")
    folder.rename("b.png", "a.png")
    folder.rename("aside.png", "b.png")
    folder.ingest()
    assert {key: folder.label(key) for key in ("a.png", "b.png")} == before
    assert folder.live()["a.png"] == (1, sha(1))


def test_a_table_that_is_renamed_with_its_photos_keeps_their_items(folder: Folder) -> None:
    for number, name in enumerate(("a.png", "b.png", ANCHOR)):
        folder.write(name, number)
    folder.rows("a.png,A", "b.png,B")
    folder.ingest()
    folder.rename("a.png", "c.png")
    folder.rows("c.png,A", "b.png,B")
    assert folder.ingest().newly_removed == 0
    assert folder.label("c.png") == (1, "A")


def test_a_row_that_names_another_photo_now_leaves_the_renamed_one(folder: Folder) -> None:
    folder.write("a.png", 1)
    folder.write(ANCHOR, 2)
    folder.rows("a.png,A")
    folder.ingest()
    folder.rename("a.png", "z.png")
    folder.ingest()
    assert folder.label("z.png") == (1, "A")
    folder.write("a.png", 3)
    folder.ingest()
    assert folder.label("z.png") == (1, None)
    assert folder.label("a.png")[1] == "A"
