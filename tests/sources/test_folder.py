"""sources/folder.py: which files are photos, in which order, and which row describes which."""

from __future__ import annotations

import csv
import io
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.config import MetadataSettings
from pipeline.errors import SourceError
from pipeline.sources.base import NO_ROW, Skipped, SourceItem
from pipeline.sources.folder import FolderSource
from pipeline.sources.walk import photos_below

HEADER = ("image", "title", "tree")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()


def items_of(folder: Path, metadata: MetadataSettings | None = None) -> list[SourceItem]:
    """The items of a folder, without the rows of its metadata that are none."""
    return [item for item in FolderSource(folder, metadata).items() if isinstance(item, SourceItem)]


def described(folder: Path, content: str | bytes, **settings: str | None) -> list[SourceItem]:
    """The items of a folder with this metadata."""
    data = content.encode() if isinstance(content, str) else content
    (folder / "products.csv").write_bytes(data)
    chosen = {"key": "image", "name": "title", "category": "tree", **settings}
    return items_of(folder, MetadataSettings(file=Path("products.csv"), **chosen))


def keys(items: Sequence[SourceItem]) -> list[str]:
    return [item.key for item in items]


# -- Photos ----------------------------------------------------------------------------------------


def test_each_photo_is_an_item_of_the_category_of_its_folder(tmp_path: Path) -> None:
    touch(tmp_path / "shop", "caps/red cap.jpg", "shoes/boots/b.PNG", "top.webp")
    caps, boots, top = items_of(tmp_path / "shop")
    assert (caps.key, caps.name, caps.category) == ("caps/red cap.jpg", "red cap", "caps")
    assert (boots.key, boots.name, boots.category) == ("shoes/boots/b.PNG", "b", "boots")
    assert (top.key, top.name, top.category) == ("top.webp", "top", "shop")
    assert [photo.path for photo in boots.photos] == [tmp_path / "shop/shoes/boots/b.PNG"]
    assert caps.metadata == {}


@pytest.mark.parametrize(
    "in_order",
    [
        ["1.jpg", "2.jpg", "10.jpg", "a.jpg"],
        ["p2/x10.jpg", "p10/x9.jpg", "p10/x10.jpg"],
        ["a/2.jpg", "a/10.jpg", "b/1.jpg"],
        ["007.jpg", "07.jpg", "7.jpg", "8.jpg"],
        ["a1b2.jpg", "a1b10.jpg", "a2b1.jpg"],
        ["A.jpg", "a.jpg"],
    ],
)
def test_numbers_in_names_count_as_numbers(tmp_path: Path, in_order: list[str]) -> None:
    names = list(in_order)
    random.Random(3).shuffle(names)
    touch(tmp_path, *names)
    assert [path.as_posix() for path in photos_below(tmp_path)] == in_order


def test_only_image_files_that_are_not_hidden_are_photos(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.JPEG", "c.tiff", "notes.txt", "jpg", "d.jpg.part", "e.svg")
    touch(tmp_path, ".hidden.jpg", ".cache/f.jpg", "g/.thumbs/h.jpg", "g/i.gif", "g/._j.png")
    assert [path.as_posix() for path in photos_below(tmp_path)] == [
        "a.jpg",
        "b.JPEG",
        "c.tiff",
        "g/i.gif",
    ]


def test_a_hidden_folder_can_be_the_source_itself(tmp_path: Path) -> None:
    touch(tmp_path, ".photos/a.jpg")
    assert keys(items_of(tmp_path / ".photos")) == ["a.jpg"]


@pytest.mark.parametrize("name", ["nowhere", "a.txt", "empty"])
def test_a_folder_without_photos_is_named(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=f"{tmp_path / name}: (no|cannot be read)"):
        list(FolderSource(tmp_path / name).items())


def test_a_file_name_that_is_not_utf_8_is_an_item_named_in_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    touch(tmp_path, name)
    (item,) = items_of(tmp_path)
    assert (item.key, item.name) == ("caf\\xe9.jpg", "caf\\xe9")
    assert [photo.path for photo in item.photos] == [tmp_path / name]


def test_items_are_counted_before_they_are_read(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    assert FolderSource(tmp_path).total == 2
    (tmp_path / "rows.csv").write_text(table([(n, "", "") for n in ("b", "c", "d", "c")]))
    source = FolderSource(tmp_path, MetadataSettings(file=Path("rows.csv"), key="image"))
    assert source.total == len(list(source.items())) == 5


# -- Metadata --------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["caps/a.b.jpg", "a.b.jpg", "a.b", "  a.b.jpg "])
def test_a_row_is_found_by_path_name_or_stem(tmp_path: Path, key: str) -> None:
    touch(tmp_path, "caps/a.b.jpg")
    (item,) = described(tmp_path, table([(key, "A cap", "Hats >> Caps")]))
    assert (item.key, item.name, item.category) == ("caps/a.b.jpg", "A cap", "Hats")
    assert [photo.uri for photo in item.photos] == ["caps/a.b.jpg"]


def test_a_row_describes_one_photo(tmp_path: Path) -> None:
    touch(tmp_path, "p/a.jpg", "q/a.jpg")
    first, second = described(tmp_path, table([("a.jpg", "Title", "Tree")]))
    assert (first.key, first.name, first.category) == ("p/a.jpg", "Title", "Tree")
    assert (second.key, second.name, second.category) == ("q/a.jpg", "a", "")
    assert (first.remark, second.remark) == ("", NO_ROW)


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("b.jpg", "b.jpg"),
        ("A/b.jpg", "A/b.jpg"),
        ("b.png", "C/b.png"),
        ("b", "A/b.jpg"),
        ("d.jpg", "D/d.jpg"),
    ],
)
def test_a_row_matches_by_path_then_by_name_then_by_stem(
    tmp_path: Path, key: str, owner: str
) -> None:
    names = ("A/b.jpg", "A/d.jpg.png", "C/b.png", "D/d.jpg", "b.jpg")
    touch(tmp_path, *names)
    items = described(tmp_path, table([(key, "Right", "")]))
    assert keys(items) == list(names)
    assert [item.key for item in items if item.name == "Right"] == [owner]


def test_each_photo_gets_the_row_that_names_it_best(tmp_path: Path) -> None:
    touch(tmp_path, "A/b.jpg", "b.jpg", "b.png")
    items = described(tmp_path, table([("b", "Stem", ""), ("b.jpg", "Name", "")]))
    assert {item.key: item.name for item in items} == {
        "A/b.jpg": "Stem",
        "b.jpg": "Name",
        "b.png": "b",
    }


def test_photos_are_yielded_in_order_and_then_rows_without_a_photo(tmp_path: Path) -> None:
    touch(tmp_path, "10.jpg", "2.jpg")
    rows = [("z.jpg", "Z", "T"), ("10.jpg", "Ten", "T"), ("b.jpg", "B", ""), ("2.jpg", "Two", "T")]
    items = described(tmp_path, table(rows))
    assert keys(items) == ["2.jpg", "10.jpg", "z.jpg", "b.jpg"]
    assert [item.name for item in items] == ["Two", "Ten", "Z", "B"]
    assert [len(item.photos) for item in items] == [1, 1, 0, 0]
    assert items[3].category == ""


@pytest.mark.parametrize(
    ("tree", "levels"),
    [
        ("Hats >> Caps >> Red", ["Hats", "Caps", "Red"]),
        ('["Hats >> Caps >> Red"]', ["Hats", "Caps", "Red"]),
        ('["Hats"]', ["Hats"]),
        ('["It\'s >> \\"so\\""]', ["It's", '"so"']),
        ('["Hats >> Caps', ['["Hats', "Caps"]),
        ('["Hats \\ud83d >> Caps"]', ["Hats \N{REPLACEMENT CHARACTER}", "Caps"]),
        (">> Hats >>  >> Caps", ["Hats", "Caps"]),
        ("Hats > Caps", ["Hats > Caps"]),
        ("12", ["12"]),
        ("", []),
        (" >> ", []),
    ],
)
def test_a_category_tree_is_split_into_its_levels(
    tmp_path: Path, tree: str, levels: list[str]
) -> None:
    touch(tmp_path, "a.jpg")
    (item,) = described(tmp_path, table([("a.jpg", "A", tree)]))
    assert item.category == (levels[0] if levels else "")
    split = {f"category_{n}": level for n, level in enumerate(levels, 1)}
    assert {k: v for k, v in item.metadata.items() if k.startswith("category_")} == split


def test_the_separator_is_a_setting(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (item,) = described(
        tmp_path, table([("a.jpg", "A", "Hats/Caps >> Red")]), category_separator="/"
    )
    assert (item.category, item.metadata["category_2"]) == ("Hats", "Caps >> Red")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("2.50", 2.5),
        ("-0.5", -0.5),
        ("007", "007"),
        ("1e5", "1e5"),
        ("1,5", "1,5"),
        (".5", ".5"),
        ("5.", "5."),
        ("+5", "+5"),
        ("9" * 18, 10**18 - 1),
        ("9" * 30, "9" * 30),
        ("\N{ARABIC-INDIC DIGIT FIVE}", "\N{ARABIC-INDIC DIGIT FIVE}"),
        ("nan", "nan"),
        ("", None),
        (" 5", " 5"),
    ],
)
def test_every_other_column_is_kept_and_numbers_become_numbers(
    tmp_path: Path, text: str, value: str | float | None
) -> None:
    touch(tmp_path, "a.jpg")
    (item,) = described(tmp_path, table([("a.jpg", "A", "", text)], (*HEADER, "price")))
    assert dict(item.metadata) == {"title": "A", "tree": None, "price": value}
    assert type(item.metadata["price"]) is type(value)


def test_name_and_category_need_no_column(tmp_path: Path) -> None:
    touch(tmp_path, "caps/a.jpg")
    rows = table([("a", "A", "T"), ("gone.jpg", "G", "T")])
    item, gone = described(tmp_path, rows, name=None, category=None)
    assert (item.name, item.category) == ("a", "")
    assert gone.name == "gone"
    assert item.metadata == {"title": "A", "tree": "T"}


def test_a_row_without_a_name_is_named_after_its_photo(tmp_path: Path) -> None:
    touch(tmp_path, "caps/a cap.jpg")
    (item,) = described(tmp_path, table([("a cap.jpg", "", "")]))
    assert item.name == "a cap"


def test_a_missing_key_column_is_an_error_that_lists_the_columns(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(SourceError) as caught:
        described(tmp_path, table([]), key="file")
    assert str(caught.value) == (
        f"{tmp_path / 'products.csv'}: no column 'file'; set source.metadata.key to one of"
        " image, title, tree"
    )


@pytest.mark.parametrize("setting", ["name", "category"])
def test_a_missing_name_or_category_column_is_an_error(tmp_path: Path, setting: str) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(SourceError, match=f"no column 'typo'; set source.metadata.{setting} to"):
        described(tmp_path, table([("a.jpg", "A", "T")]), **{setting: "typo"})


def test_a_separator_is_at_least_one_character() -> None:
    with pytest.raises(ValueError, match="at least 1 character"):
        MetadataSettings(file=Path("products.csv"), key="image", category_separator="")


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n"])
def test_an_empty_file_has_no_heading(tmp_path: Path, content: bytes) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(SourceError, match=r"products\.csv: no heading; the first row must name"):
        described(tmp_path, content)


def test_a_missing_metadata_file_is_named_in_the_error(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    settings = MetadataSettings(file=Path("no.csv"), key="image")
    with pytest.raises(SourceError, match=str(tmp_path / "no.csv")):
        list(FolderSource(tmp_path, settings).items())


def test_the_metadata_may_be_in_another_folder(tmp_path: Path) -> None:
    touch(tmp_path, "photos/a.jpg")
    file = tmp_path / "rows.csv"
    file.write_text(table([("a.jpg", "A", "T")]))
    settings = MetadataSettings(file=file, key="image", name="title")
    (item,) = items_of(tmp_path / "photos", settings)
    assert item.name == "A"


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    touch(tmp_path, "ä.jpg")
    rows = table([("ä.jpg", "Käppi", "T")])
    (item,) = described(tmp_path, b"\xef\xbb\xbf" + rows.encode())
    assert (item.key, item.name) == ("ä.jpg", "Käppi")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_the_encoding_of_metadata_is_found(tmp_path: Path, encoding: str) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    content = table([("a.jpg", "Käppi", "T"), ("b.jpg", "Cap", "T")]).encode(encoding)
    first, second = described(tmp_path, content)
    assert (first.name, first.category) == ("Käppi", "T")
    assert second.name == "Cap"


def test_the_encoding_and_the_delimiter_of_metadata_can_be_set(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    content = "image;title,with;comma;tree\na.jpg;Кепка;;T\n".encode("cp1251")
    settings = {"encoding": "cp1251", "delimiter": ";", "name": "title,with"}
    (item,) = described(tmp_path, content, **settings)
    assert (item.name, item.category) == ("Кепка", "T")
    with pytest.raises(SourceError, match=r"^source\.metadata\.encoding: 'utf-9' is no text"):
        described(tmp_path, content, encoding="utf-9")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n", "\r\n"])
def test_the_delimiter_of_metadata_is_found(tmp_path: Path, delimiter: str, first: str) -> None:
    touch(tmp_path, "a.jpg")
    rows = [["image", 'ti,t;l|e"', "tree"], ["a.jpg", "A,B;C", "T"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    content = first.format(delimiter) + text.getvalue()
    (item,) = described(tmp_path, content, name='ti,t;l|e"')
    assert (item.name, item.category) == ("A,B;C", "T")


def test_columns_of_metadata_may_share_a_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (item,) = described(tmp_path, "image,title,tree,title\na.jpg,A,T,More\n")
    assert (item.name, item.metadata["title#2"]) == ("A", "More")


def test_a_row_of_metadata_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    content = 'image,title,tree\na.jpg,"A,T\nb.jpg,B,T\nc.jpg,"C",T\n'
    (tmp_path / "products.csv").write_text(content)
    settings = MetadataSettings(file=Path("products.csv"), key="image", name="title")
    source = FolderSource(tmp_path, settings)
    *items, skipped = source.items()
    assert [item.name for item in items if isinstance(item, SourceItem)] == ["a", "B", "C"]
    assert skipped == Skipped(1, "unreadable row")
    assert source.total == len(items) + 1


def test_quoted_cells_may_hold_commas_quotes_and_lines(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    text = 'A "red",\nround cap' + "!" * 200_000
    first, second = described(tmp_path, table([("a.jpg", text, "T"), ("b.jpg", "B", "T")]))
    assert (first.name, second.name) == (text, "B")


def test_rows_of_another_length_are_counted_and_describe_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    content = "image,title,tree\na.jpg,A\nb.jpg,B,T,more\n\nb.jpg,B,T,,\n,no key,T\n , ,\n"
    (tmp_path / "products.csv").write_text(content)
    settings = MetadataSettings(file=Path("products.csv"), key="image", name="title")
    first, second, keyless, *skipped = FolderSource(tmp_path, settings).items()
    assert [one.name for one in (first, second, keyless) if isinstance(one, SourceItem)] == [
        "a",
        "B",
        "no key",
    ]
    assert skipped == [
        Skipped(1, "wrong number of fields"),
        Skipped(2, "wrong number of fields"),
        Skipped(3, "blank row"),
        Skipped(6, "blank row"),
    ]


def test_every_row_of_a_photo_is_an_item_that_shows_it(tmp_path: Path) -> None:
    touch(tmp_path, "p/a.jpg", "b.jpg")
    rows = [("a", "One", "T"), ("b.jpg", "B", ""), ("a", "Two", "U"), ("a", "Three", "")]
    items = described(tmp_path, table(rows))
    assert [(item.key, item.name, item.category) for item in items] == [
        ("b.jpg", "B", ""),
        ("p/a.jpg", "One", "T"),
        ("p/a.jpg#2", "Two", "U"),
        ("p/a.jpg#3", "Three", ""),
    ]
    assert {photo.path for item in items[1:] for photo in item.photos} == {tmp_path / "p/a.jpg"}
    assert [len(item.photos) for item in items] == [1, 1, 1, 1]


def test_a_row_without_a_key_is_an_item_without_a_photo(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    rows = [("", "One", "T"), ("a.jpg", "A", ""), ("  ", "", "U")]
    items = described(tmp_path, table(rows))
    assert keys(items) == ["a.jpg", "row without a key", "row without a key#2"]
    assert [item.name for item in items] == ["A", "One", "row without a key#2"]
    assert [item.photos for item in items[1:]] == [(), ()]


def test_a_key_may_look_like_a_numbered_one(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    names = ["a.jpg", "a.jpg", "a.jpg", "a.jpg#2", "c#2", "c", "c", "c#2"]
    found = keys(described(tmp_path, table([(name, "", "") for name in names])))
    assert found == ["a.jpg", "a.jpg#3", "a.jpg#4", "a.jpg#2", "c#2", "c#2#2", "c", "c#3"]


@pytest.mark.parametrize("seed", range(5))
def test_every_photo_and_every_row_is_yielded_once(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    names = ["a", "b", "p/a", "p/c", "q/b"]
    photos = [f"{name}.jpg" for name in names if rng.random() < 0.7] or ["a.jpg"]
    touch(tmp_path, *photos)
    pool = ["", " ", "a", "b", "a.jpg", "p/a.jpg", "c", "z", "z#2", "b#2"]
    rows = [(rng.choice(pool), f"row {n}", "") for n in range(rng.randrange(30))]
    items = described(tmp_path, table(rows))
    assert len(set(keys(items))) == len(items)
    titles = [str(item.metadata["title"]) for item in items if item.metadata]
    assert sorted(titles) == sorted(title for _, title, _ in rows)
    assert {photo.uri for item in items for photo in item.photos} == set(photos)
    plain = [item for item in items if not item.metadata]
    assert len(items) == len(rows) + len(plain)
    settings = MetadataSettings(file=Path("products.csv"), key="image")
    assert FolderSource(tmp_path, settings).total == len(items)


def test_a_column_without_a_heading_is_not_used_as_name_or_category(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (item,) = described(tmp_path, ",image,title,tree\r\n0,a.jpg,A,T\r\n", name=None, category=None)
    assert (item.name, item.category) == ("a", "")


def test_a_column_without_a_heading_is_kept(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (item,) = described(tmp_path, ",image,title,tree\r\n0,a.jpg,A,T,\r\n")
    assert (item.name, item.metadata[""]) == ("A", 0)
