"""sources/table.py: what each row of a CSV or Parquet file is, whatever state the file is in."""

from __future__ import annotations

import bz2
import csv
import datetime
import decimal
import gzip
import io
import json
import lzma
import math
import os
import random
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from pipeline.config import ColumnSettings, FlipkartSettings, TableSettings
from pipeline.download.outcomes import Failure
from pipeline.download.urls import parse
from pipeline.errors import SourceError
from pipeline.sources import create, csv_rows
from pipeline.sources.base import Skipped, SourceItem
from pipeline.sources.structures import ruby_to_json, structured
from pipeline.sources.table import TableSource

HEADER = ("id", "image", "title", "tree")
COLUMNS = {"key": "id", "image": "image", "name": "title", "category": "tree"}
URL = "http://shop.example/a.jpg"


def table(lines: Sequence[Sequence[Any]], header: Sequence[str] = HEADER, **how: Any) -> str:
    text = io.StringIO()
    csv.writer(text, **how).writerows([header, *lines])
    return text.getvalue()


def opened(file: Path, columns: dict[str, Any] | None = None, **chosen: Any) -> TableSource:
    given = ColumnSettings(**{**COLUMNS, **(columns or {})})
    return TableSource.of(TableSettings(type="table", path=file, columns=given, **chosen))


def rows_of(
    folder: Path,
    content: str | bytes,
    columns: dict[str, Any] | None = None,
    max_row_chars: int = csv_rows.MAX_ROW_CHARS,
    **chosen: Any,
) -> list[SourceItem | Skipped]:
    """What the rows of a CSV file with this content are."""
    file = folder / "products.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    source = replace(opened(file, columns, **chosen), max_row_chars=max_row_chars)
    found = list(source.items())
    assert [one.row for one in found] == list(range(1, len(found) + 1))
    return found


def item_of(folder: Path, *args: Any, **chosen: Any) -> SourceItem:
    (item,) = rows_of(folder, *args, **chosen)
    assert isinstance(item, SourceItem)
    return item


def outcomes(found: Sequence[SourceItem | Skipped]) -> list[str]:
    return [one.key if isinstance(one, SourceItem) else one.reason for one in found]


def uris(item: SourceItem) -> list[str]:
    return [photo.uri for photo in item.photos]


# -- Rows ------------------------------------------------------------------------------------------


def test_a_row_is_an_item(tmp_path: Path) -> None:
    content = table([("a1", URL, "Red cap", "Hats >> Caps", "12.5")], (*HEADER, "price"))
    item = item_of(tmp_path, content)
    assert (item.key, item.name, item.category, item.row) == ("a1", "Red cap", "Hats", 1)
    assert [(p.uri, p.path, p.data) for p in item.photos] == [(URL, None, None)]
    assert item.metadata == {
        "title": "Red cap",
        "tree": "Hats >> Caps",
        "price": 12.5,
        "category_1": "Hats",
        "category_2": "Caps",
    }


def test_name_and_category_need_no_column(tmp_path: Path) -> None:
    item = item_of(tmp_path, table([(" a1 ", URL, "T", "C")]), {"name": None, "category": None})
    assert (item.key, item.name, item.category) == ("a1", "a1", "")
    assert item_of(tmp_path, table([("a1", URL, " ", "")])).name == "a1"


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("", "blank row"),
        (",,,", "blank row"),
        (" ,\t,,", "blank row"),
        (",,,,,", "blank row"),
        (",", "blank row"),
        (f",{URL},T,C", "no id"),
        (f"  ,{URL},T,C", "no id"),
        (f"a,{URL},T", "wrong number of fields"),
        ("a", "wrong number of fields"),
        (f"a,{URL},T,C,more", "wrong number of fields"),
        (f"a,{URL},T,C,,more", "wrong number of fields"),
        (f"a,{URL},T,C,", "a"),
        (f"a,{URL},T,C, ,", "a"),
        (f'a,{URL},"T,C', "unreadable row"),
        (f'"a,{URL},T,C', "unreadable row"),
        (f'a,{URL},T,"C', "unreadable row"),
        (f'a,{URL},"T" or so,C', "a"),
        (f'a,{URL},14" wide,C', "a"),
        (f'a,{URL},"a "small" cap",C', "a"),
        (f'a,{URL},"a "small", blue cap",C', "wrong number of fields"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_row_has_one_outcome_and_spoils_no_other(
    tmp_path: Path, line: str, outcome: str, end: str
) -> None:
    good = [f'"b","{URL}","B","C"', f"c,{URL},C,", f'd,{URL},"two{end}lines",C']
    found = rows_of(tmp_path, end.join([",".join(HEADER), good[0], line, *good, line]))
    last = [outcome] if line else []  # nothing after the last end of a line is no row
    assert outcomes(found) == ["b", outcome, "b", "c", "d", *last]
    assert isinstance(found[4], SourceItem)
    assert found[4].name == f"two{end}lines"


def test_blank_rows_above_the_heading_are_ignored(tmp_path: Path) -> None:
    assert outcomes(rows_of(tmp_path, "\n,,\n" + table([("a", URL, "", "")]))) == ["a"]


def test_the_same_id_again_is_offered_again(tmp_path: Path) -> None:
    assert outcomes(rows_of(tmp_path, table([("a", URL, "", "")] * 3))) == ["a", "a", "a"]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)
CELLS = st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    lines=st.lists(CELLS, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from([None, "utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
)
def test_what_a_csv_writer_wrote_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[tuple[str, ...]],
    delimiter: str,
    quoting: Any,
    encoding: str | None,
) -> None:
    content = table(lines, (*HEADER, "note"), delimiter=delimiter, quoting=quoting)
    found = rows_of(
        tmp_path_factory.mktemp("csv"),
        content.encode(encoding or "utf-8"),
        delimiter=delimiter,
        encoding=encoding,
    )
    assert len(found) == len(lines)
    for one, (key, _, title, tree, note) in zip(found, lines, strict=True):
        if isinstance(one, SourceItem):
            assert (one.key, one.name) == (key.strip(), title.strip() or key.strip())
            for column, text in (("title", title), ("tree", tree), ("note", note)):
                value = one.metadata[column]
                assert value == (text or None) or value == float(text)
        elif one.reason == "no id":
            assert not key.strip()
        else:
            assert (one.reason, "".join(lines[one.row - 1]).strip()) == ("blank row", "")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_quote_never_closed_costs_only_its_own_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    good = ['{0},u,"A, B",C', '"{0}","u","two\nlines, ""so""","C"', "{0},u,T,C", '{0},u,"",""']
    bad = [',u,"T,C', '"x,u,T,C', 'x,"u', 'x,u,"T"",C']
    chosen = data.draw(st.lists(st.sampled_from(good + bad), max_size=12))
    lines = [line.format(f"k{n}") for n, line in enumerate(chosen)]
    found = rows_of(tmp_path_factory.mktemp("csv"), "\n".join([",".join(HEADER), *lines]))
    assert outcomes(found) == [
        f"k{n}" if line in good else "unreadable row" for n, line in enumerate(chosen)
    ]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(content=st.text("ab,\"'\n\r [", max_size=60))
def test_any_text_is_rows(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    found = rows_of(tmp_path_factory.mktemp("csv"), "id,image,title,tree\n" + content)
    lines = len(content.splitlines())
    assert len(found) <= lines
    if '"' not in content:
        assert len(found) == lines


# -- Memory ----------------------------------------------------------------------------------------


def peak_of(source: TableSource) -> tuple[int, int]:
    """How many rows there are, and how many bytes reading them took at most."""
    tracemalloc.start()
    try:
        return sum(1 for _ in source.items()), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_of_any_size_streams(tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    row = f"a,{URL},{'T' * 400},C\n" + ",,,\n"
    with file.open("w") as out:
        out.write(",".join(HEADER) + "\n")
        out.writelines(row for _ in range(5_000))
    count, peak = peak_of(opened(file))
    assert count == 10_000
    assert peak < 1_000_000 < file.stat().st_size


def test_rows_come_before_the_file_ends(tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    rows = [f"a{n},{URL},T,C\n" for n in range(20_000)]
    file.write_text("".join([",".join(HEADER) + "\n", *rows]))
    items = opened(file).items()
    assert next(items).row == 1
    with file.open("a") as out:
        out.write(f"later,{URL},T,C\n")
    assert max(item.row for item in items) == 20_001


def test_a_quote_never_closed_takes_no_more_memory_than_a_row(tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    with file.open("w") as out:
        out.write(",".join(HEADER) + f'\nx,"{URL},T,C\n')
        out.writelines(f"a,{URL},{'T' * 400},C\n" for _ in range(5_000))
    count, peak = peak_of(replace(opened(file), max_row_chars=10_000))
    assert count == 5_001
    assert peak < 1_000_000 < file.stat().st_size


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_line_without_an_end_is_one_unreadable_row(tmp_path: Path, quote: str) -> None:
    long = [f"x,{quote}" + "y" * size for size in (9_999, 10_000, 25_000, 10_001 * 2 - 3)]
    good = f'a,{URL},"two\nlines",C'
    content = "\n".join([",".join(HEADER), *(line for one in long for line in (one, good))])
    found = rows_of(tmp_path, content, max_row_chars=10_000)
    assert outcomes(found) == ["unreadable row", "a"] * 4


@pytest.mark.parametrize("line", ['a","', '"', '""', '"""', 'a"', 'a,"b', ',"""', '"a""', "x"])
def test_no_line_is_read_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    taken = 0

    class Counting(csv_rows._Lines):
        def __next__(self) -> str:
            nonlocal taken
            taken += 1
            return super().__next__()

    monkeypatch.setattr(csv_rows, "_Lines", Counting)
    content = ",".join(HEADER) + "\n" + f"{line}\n" * 5_000 + "a,b,c,d\n"
    found = rows_of(tmp_path, content, max_row_chars=2_000)
    assert taken < 3 * 5_000
    assert outcomes(found)[-1] == "a"


# -- Encodings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_the_encoding_is_found(tmp_path: Path, encoding: str) -> None:
    item = item_of(tmp_path, table([("ä1", URL, "Käppi", "Hüte")]).encode(encoding))
    assert (item.key, item.name, item.category) == ("ä1", "Käppi", "Hüte")


def test_big_endian_utf_16_has_a_mark_too(tmp_path: Path) -> None:
    content = "\ufeff" + table([("a", URL, "Käppi", "")])
    assert item_of(tmp_path, content.encode("utf-16-be")).name == "Käppi"


def test_bytes_that_are_not_utf_8_are_read_as_windows_1252(tmp_path: Path) -> None:
    name = "Käppi – €5"
    lines = (",".join(HEADER), f"a,,{name},", f"b,,{name},", "c,,", "d,,")
    heading, windows, utf, both, odd = (line.encode() for line in lines)
    windows = windows.decode().encode("cp1252")
    both += name.encode() + name.encode("cp1252") + b","
    odd += b"\x81,"  # one of the five bytes that Windows-1252 leaves out
    content = b"\r\n".join([heading, windows, utf, both, odd])
    names = [one.name for one in rows_of(tmp_path, content) if isinstance(one, SourceItem)]
    assert names == [name, name, name + name, "\N{REPLACEMENT CHARACTER}"]


def test_a_given_encoding_is_used(tmp_path: Path) -> None:
    content = table([("a", URL, "Кепка", "")])
    assert item_of(tmp_path, content.encode("cp1251"), encoding="cp1251").name == "Кепка"
    marked = ("\ufeff" + content).encode("utf-16-le")
    assert item_of(tmp_path, marked, encoding="utf-16-le").name == "Кепка"
    spoilt = item_of(
        tmp_path, table([("a", URL, "K\xe4ppi", "")]).encode("latin-1"), encoding="utf-8"
    )
    assert spoilt.name == "K\N{REPLACEMENT CHARACTER}ppi"


@pytest.mark.parametrize("encoding", ["utf-9", "", "hex", "\0", "undefined"])
def test_an_unknown_encoding_is_an_error(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(SourceError, match=r"^source\.encoding: .* is no text encoding; .*$"):
        rows_of(tmp_path, table([]), encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("title", "value"), [("title", "Käppi"), ("商品名称", "帽子"), ("नाम", "टोपी")]
)
def test_wide_characters_need_no_mark_and_no_setting(
    tmp_path: Path, encoding: str, mark: str, title: str, value: str
) -> None:
    content = mark + table([("a", URL, value, "C")], ("id", "image", title, "tree"))
    item = item_of(tmp_path, content.encode(encoding), {"name": title})
    assert (item.key, item.name, item.category) == ("a", value, "C")


@pytest.mark.parametrize("encoding", ["utf-16", "UTF16", "utf-32"])
def test_wide_characters_may_lack_the_mark_that_their_setting_asks_for(
    tmp_path: Path, encoding: str
) -> None:
    content = table([("a", URL, "Käppi", "C")])
    for order in ("-le", "-be"):
        wide = content.encode(("utf-32" if "32" in encoding else "utf-16") + order)
        assert item_of(tmp_path, wide, encoding=encoding).name == "Käppi"


def test_a_mark_counts_more_than_the_setting(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        content = table([("a", URL, "Käppi", "C")]).encode(encoding)
        assert item_of(tmp_path, content, encoding="latin-1").name == "Käppi"


def test_wide_characters_under_a_wrong_encoding_are_named(tmp_path: Path) -> None:
    content = table([("a", URL, "T", "C")]).encode("utf-16-le")
    with pytest.raises(SourceError) as caught:
        rows_of(tmp_path, content, encoding="cp1252")
    assert str(caught.value) == (
        f"{tmp_path / 'products.csv'}: no column 'id', and NUL characters in the heading; save it"
        " as CSV in UTF-8, or set source.encoding to that of the file"
    )


def test_a_nul_is_a_character_like_any_other(tmp_path: Path) -> None:
    item = item_of(tmp_path, table([("a", URL, "T\0itle", "C\0" * 9)]))
    assert (item.name, item.category) == ("T\0itle", "C\0" * 9)


def test_an_encoding_that_does_not_fit_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"products\.csv: cannot read it: .*source\.encoding$"):
        rows_of(tmp_path, table([("a", URL, "", "")]), encoding="utf-16")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(content=st.binary(max_size=80), encoding=st.sampled_from([None, "utf-8", "cp1252", "utf-7"]))
def test_any_bytes_give_text_that_can_be_stored(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, encoding: str | None
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    found = rows_of(folder, b"id,image,title,tree\n" + content, encoding=encoding)
    for one in found:
        if isinstance(one, SourceItem):
            f"{one.key}{one.name}{one.category}{uris(one)}".encode()
            json.dumps(dict(one.metadata), ensure_ascii=False, allow_nan=False).encode()


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    lone, pair = "\\ud83d", "\\ud83d\\ude00"
    line = ("a", f'["http://a/{lone}"]', f"+2AA-{lone}", f'["A{lone} >> {pair}"]', f'["{lone}"]')
    item = item_of(tmp_path, table([line], (*HEADER, "s")), {"structured": ("s",)})
    assert uris(item) == ["http://a/\N{REPLACEMENT CHARACTER}"]
    assert item.category == "A\N{REPLACEMENT CHARACTER}"
    assert item.metadata["category_2"] == "\N{GRINNING FACE}"
    assert item.metadata["s"] == ["\N{REPLACEMENT CHARACTER}"]
    item = item_of(tmp_path, table([line], (*HEADER, "s")), encoding="utf-7")
    assert item.name == f"\N{REPLACEMENT CHARACTER}{lone}"


@pytest.mark.parametrize("name", ["products.csv.gz", "products.csv", "products"])
def test_a_gzip_file_is_unpacked_whatever_its_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    packed = gzip.compress(table([("a", URL, "Käppi", "")] * 500).encode())
    file.write_bytes(packed)
    assert [one.row for one in opened(file).items()] == list(range(1, 501))
    for damaged in (packed[:-20], packed[:30] + b"\0" * 50 + packed[30:], packed[:12]):
        file.write_bytes(damaged)
        with pytest.raises(SourceError, match=rf"{name}: cannot read it"):
            list(opened(file).items())


def test_a_name_alone_does_not_make_a_gzip_file(tmp_path: Path) -> None:
    file = tmp_path / "products.csv.gz"
    file.write_text(table([("a", URL, "Cap", "")]))
    assert outcomes(list(opened(file).items())) == ["a"]


def zip_of(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "id,image\n")
    return packed.getvalue()


PARQUET_BYTES = b"PAR1" + bytes(40) + b"PAR1"


@pytest.mark.parametrize(
    ("content", "kind", "advice"),
    [
        (zip_of("[Content_Types].xml", "xl/workbook.xml"), "a workbook", "as CSV"),
        (zip_of("docProps/app.xml", "xl/workbook.xml"), "a workbook", "as CSV"),
        (zip_of("products.csv"), "a zip archive", "unpack it"),
        (zip_of(), "a zip archive", "unpack it"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512), "an old Excel workbook", "as CSV"),
        (PARQUET_BYTES, "a Parquet file", r"name it \.parquet"),
        (bz2.compress(b"id,image\n"), "packed", "unpack it"),
        (lzma.compress(b"id,image\n"), "packed", "unpack it"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF", "as CSV"),
        (b"SQLite format 3\0" + bytes(80), "an SQLite database", "as CSV"),
        (b"\x89PNG\r\n\x1a\n", "a picture", "CSV"),
        (b"\xef\xbb\xbf\r\n <!DOCTYPE html>\n<html>", "a web page", "download the table"),
        (b"<html lang='en'><body>Sign in</body></html>", "a web page", "download the table"),
        (b"<!-- page -->\n<table><tr>", "a web page", "download the table"),
        (b"<table class='x'><tr>", "a web page", "download the table"),
        ("<html>".encode("utf-16"), "a web page", "download the table"),
        (b'<?xml version="1.0"?><rss/>', "XML", "as CSV"),
        (b'[{"id": 1}]', "JSON", "as CSV"),
        (b'{"id": 1}\n{"id": 2}\n', "JSON", "as CSV"),
        (b"[\n  {\n", "JSON", "as CSV"),
        (b"{\\rtf1\\ansi", "a document", "as CSV"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_another_kind_of_file_is_named_with_what_to_do(
    tmp_path: Path, content: bytes, kind: str, advice: str, pack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(SourceError, match=rf"products\.csv: {kind}.*, not a CSV file; .*{advice}"):
        rows_of(tmp_path, pack(content))


@pytest.mark.parametrize("heading", ["PAR1", "{id}", "[id]", "PKs", "<id>", "BZh9"])
def test_a_heading_is_not_taken_for_another_kind_of_file(tmp_path: Path, heading: str) -> None:
    content = table([("a", URL, "", "")], (heading, *HEADER[1:]))
    if heading == "PAR1":
        content = f'"{heading}"' + content.removeprefix(heading)
    assert item_of(tmp_path, content, {"key": heading}).key == "a"


# -- Columns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["key", "image", "name", "category", "structured"])
def test_a_missing_column_is_an_error_that_lists_the_columns(tmp_path: Path, setting: str) -> None:
    columns = {setting: ("typo",) if setting == "structured" else "typo"}
    with pytest.raises(SourceError) as caught:
        rows_of(tmp_path, table([]), columns)
    assert str(caught.value) == (
        f"{tmp_path / 'products.csv'}: no column 'typo'; set source.columns.{setting} to one of"
        " id, image, title, tree"
    )


def test_odd_columns_are_listed_in_one_short_line(tmp_path: Path) -> None:
    header = [f"c\n\x1b{n}" for n in range(99)]
    with pytest.raises(SourceError, match=r"and 69 more$") as caught:
        rows_of(tmp_path, table([], header))
    assert str(caught.value).isprintable()
    with pytest.raises(SourceError) as caught:
        rows_of(tmp_path, "x" * 100_000)
    assert len(str(caught.value)) < 1_000
    with pytest.raises(SourceError, match=r"id;image \(is source\.delimiter right\?\)$"):
        rows_of(tmp_path, "id;image\na;b\n", delimiter=",")


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;"])
def test_a_first_line_may_name_the_delimiter(tmp_path: Path, first: str) -> None:
    content = f"{first}\r\n" + table([("a", URL, "A, B", "C")], delimiter=";")
    item = item_of(tmp_path, content)
    assert (item.row, item.name, item.category) == (1, "A, B", "C")


@pytest.mark.parametrize("content", [b"", b"\n\r\n", b"\xef\xbb\xbf", b" , ,\n", b'"id,image\n'])
def test_a_file_without_a_heading_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError, match=r"products\.csv: no heading; the first row must name"):
        rows_of(tmp_path, content)


def test_a_heading_alone_has_no_rows(tmp_path: Path) -> None:
    assert rows_of(tmp_path, table([])) == []


def test_columns_of_one_name_are_numbered(tmp_path: Path) -> None:
    header = (*HEADER, "size", "size#2", " size ", "", "", "size")
    item = item_of(tmp_path, table([("a", URL, "", "", 1, 2, 3, 4, 5, 6)], header))
    kept = {k: v for k, v in item.metadata.items() if k not in HEADER}
    assert kept == {"size": 1, "size#2": 2, "size#3": 3, "": 4, "#2": 5, "size#4": 6}


def test_a_missing_source_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no\.csv: No such file.*; set source\.path to"):
        opened(tmp_path / "no.csv")
    with pytest.raises(SourceError, match=r"a folder; set source\.path to a CSV or Parquet file"):
        opened(tmp_path)
    with pytest.raises(SourceError, match=r"^/dev/zero: not a regular file; set source\.path to"):
        opened(Path("/dev/zero"))


def test_the_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.csv").write_text(table([("a", URL, "", "")]))
    assert outcomes(list(opened(Path("~/p.csv")).items())) == ["a"]


# -- Photos ----------------------------------------------------------------------------------------

A, B = "http://shop.example/a.jpg", "https://cdn.example/b,w=2;q=80.jpg?x=a|b"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (A, [A]),
        (f"  {B} ", [B]),
        (f"{A} {B}", [A, B]),
        (f"{A},{B}", [A, B]),
        (f"{B}, {A},", [B, A]),
        (f"{B};{A}", [B, A]),
        (f"{B} | {A}", [B, A]),
        (f"{A}\n{B}\n", [A, B]),
        (f"{A},{A}", [A]),
        ("HTTP://SHOP.EXAMPLE/A.JPG", ["HTTP://SHOP.EXAMPLE/A.JPG"]),
        ("http://a/red cap.jpg", ["http://a/red cap.jpg"]),
        ("http://a/women's.jpg,http://b/x[1].jpg", ["http://a/women's.jpg", "http://b/x[1].jpg"]),
        (f"http://a/fetch/{A}", [f"http://a/fetch/{A}"]),
        (json.dumps([A, B]), [A, B]),
        (json.dumps([A]).replace("/", "\\/"), [A]),
        (json.dumps([A, f" {A} ", "", None, B, 5]), [A, B]),
        (json.dumps(["foo.jpg", "ftp://a/b.jpg"]), ["foo.jpg", "ftp://a/b.jpg"]),
        (json.dumps(A), [A]),
        (json.dumps([[A], [B]]), [A, B]),
        (json.dumps([{"url": A}, {"url": B}]), [A, B]),
        (str([A, B]), [A, B]),
        (json.dumps(json.dumps([A, B])), [A, B]),
        (f'["{A}", "{B}"', [A, B]),
        (f'["{A}", "{B}', [A, B]),
        (f'["{A}", "htt', [A]),
        (f'["{A}", "', [A]),
        (f'["{A}",', [A]),
        (f'"{A}", "{B}"]', [A, B]),
        (f'["{A}" "{B}"]', [A, B]),
        (f'["{A}, "{B}"]', [A, B]),
        (f"[{A}, {B}]", [A, B]),
        (f'[""{A}"", ""{B}""]', [A, B]),
        (json.dumps([A, B])[:-2].replace("/", "\\/"), [A, B]),
        (f'A photo: "{A}"', [A]),
        ("file:///etc/passwd", ["file:///etc/passwd"]),
        (" ftp://a/b.jpg\n", ["ftp://a/b.jpg"]),
        ("S3+x://a/b.jpg", ["S3+x://a/b.jpg"]),
        (f"ftp://a/b.jpg?from={A}", [f"ftp://a/b.jpg?from={A}"]),
        (f"ftp://a/b.jpg,{A}", [A]),
    ],
)
def test_photos_are_found_in_lists_texts_and_broken_lists(
    tmp_path: Path, text: str, found: list[str]
) -> None:
    content = table([("a", text, "", "")])
    assert uris(item_of(tmp_path, content, images="all")) == found
    assert uris(item_of(tmp_path, content)) == found[:1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no photo"),
        ("  ", "no photo"),
        ("[]", "no photo"),
        (" [ ] ", "no photo"),
        ("null", "no photo"),
        ("[null]", "no photo"),
        ('["", " "]', "no photo"),
        ("[", "unreadable photo list"),
        ("[5]", "unreadable photo list"),
        ('["', "unreadable photo list"),
        ("[" * 100_000, "unreadable photo list"),
    ],
)
def test_an_item_without_photos_says_why(tmp_path: Path, text: str, reason: str) -> None:
    item = item_of(tmp_path, table([("a", text, "", "")]))
    assert (item.photos, item.without_photo) == ((), reason)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "none here",
            "foo.jpg",
            "www.shop.example/a.jpg",
            "shop.example/a.jpg",
            "http:/one-slash",
        ),
        *(
            "ftp://a/b.jpg ftp://a/c.jpg",
            "see ftp://a/b.jpg",
            "ftp://",
            "5",
            "N/A",
            "http//a/b.jpg",
        ),
    ],
)
def test_what_is_no_url_is_told_as_such_in_a_list_and_alone(tmp_path: Path, text: str) -> None:
    for written in (text, f" {text}\n", f'"{text}"', json.dumps([text])):
        item = item_of(tmp_path, table([("a", written, "", "")]))
        assert uris(item) == [text]
    with pytest.raises(Failure, match=r"not a URL|not an http"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("//shop.example/a.jpg", ["https://shop.example/a.jpg"]),
        (
            "//shop.example/a.jpg, //b.example/b.jpg",
            ["https://shop.example/a.jpg", "https://b.example/b.jpg"],
        ),
        (f"//shop.example/a,b.jpg;{A}", ["https://shop.example/a,b.jpg", A]),
        (f"{A}|//shop.example/a.jpg", [A, "https://shop.example/a.jpg"]),
        ('["//shop.example/a.jpg"', ["https://shop.example/a.jpg"]),
        ("\\/\\/shop.example\\/a.jpg", ["https://shop.example/a.jpg"]),
        (f"{A}//b//c.jpg", [f"{A}//b//c.jpg"]),
        ("http://a/b?w=1&amp;h=2", ["http://a/b?w=1&h=2"]),
        ("http://a/b?w=1&amp;amp;h=2", ["http://a/b?w=1&h=2"]),
        ("http://a/b?w=1&#38;h=&#x32;", ["http://a/b?w=1&h=2"]),
        ("http://a/b?a=1&copy=2&reg;3&lt=4", ["http://a/b?a=1&copy=2\N{REGISTERED SIGN}3&lt=4"]),
        ("http://a/b%26amp%3Bc.jpg", ["http://a/b%26amp%3Bc.jpg"]),
        (
            "[&quot;http://a/b.jpg&quot;, &quot;http://a/c.jpg&quot;]",
            ["http://a/b.jpg", "http://a/c.jpg"],
        ),
        ('<img src="http://a/b.jpg?w=1&amp;h=2">', ["http://a/b.jpg?w=1&h=2"]),
        ("<a href='//a/b.jpg' title=\"B\"/>", ["https://a/b.jpg"]),
    ],
)
def test_urls_are_completed_as_a_page_has_them(tmp_path: Path, text: str, found: list[str]) -> None:
    assert uris(item_of(tmp_path, table([("a", text, "", "")]), images="all")) == found
    if text.startswith(("//", "http")) and len(found) == 1:
        listed = item_of(tmp_path, table([("a", json.dumps([text]), "", "")]))
        assert uris(listed) == found


def test_entities_of_texts_are_replaced_where_there_is_no_html(tmp_path: Path) -> None:
    line = (
        "a&amp;b",
        URL,
        "Levi&#39;s 5&quot; &amp; co",
        "Tops &amp; Tees >> A&gt;B",
        "<b>A &amp; B</b>",
    )
    item = item_of(tmp_path, table([line], (*HEADER, "html")))
    assert (item.key, item.name, item.category) == ("a&amp;b", "Levi's 5\" & co", "Tops & Tees")
    assert item.metadata == {
        "title": "Levi's 5\" & co",
        "tree": "Tops & Tees >> A>B",
        "html": "<b>A &amp; B</b>",
        "category_1": "Tops & Tees",
        "category_2": "A>B",
    }


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    names=st.lists(st.text("ab1-_~%:;,&=()/.", min_size=1, max_size=9), min_size=1, max_size=5),
    cut=st.integers(0, 200),
)
def test_a_list_cut_short_keeps_the_photos_before_the_cut(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], cut: int
) -> None:
    listed = [f"http://shop.example/{name}x" for name in names]
    text = json.dumps(listed)[: -1 - cut] or "["
    item = item_of(tmp_path_factory.mktemp("csv"), table([("a", text, "", "")]), images="all")
    whole = [uri for n, uri in enumerate(listed) if json.dumps(listed[: n + 1])[:-1] in text]
    whole = list(dict.fromkeys(whole))
    found = uris(item)
    assert found[: len(whole)] == whole
    assert len(found) - len(whole) <= 1
    assert all(any(uri.startswith(one) for uri in listed) for one in found)


# -- Categories ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "levels"),
    [
        ("Hats >> Caps >> Red", ["Hats", "Caps", "Red"]),
        ('["Hats >> Caps >> Red"]', ["Hats", "Caps", "Red"]),
        ('["Hats >> \\"so\\" >> It\'s"]', ["Hats", '"so"', "It's"]),
        ('["Hats", "Caps"]', ["Hats", "Caps"]),
        ('["Hats"]', ["Hats"]),
        ('["Hats >> Caps', ["Hats", "Caps"]),
        ('["Hats >> Caps"', ["Hats", "Caps"]),
        ("['Hats >> Caps']", ["Hats", "Caps"]),
        ("[Hats >> Caps]", ["Hats", "Caps"]),
        (">> Hats >>  >> Caps", ["Hats", "Caps"]),
        ("", []),
        ("[]", []),
        ("[null]", []),
        (" >> ", []),
        ("12", ["12"]),
    ],
)
def test_a_category_tree_is_split_into_its_levels(
    tmp_path: Path, tree: str, levels: list[str]
) -> None:
    item = item_of(tmp_path, table([("a", URL, "A cap", tree)]))
    assert item.category == (levels[0] if levels else "")
    split = {f"category_{n}": level for n, level in enumerate(levels, 1)}
    assert {k: v for k, v in item.metadata.items() if k.startswith("category_")} == split


@pytest.mark.parametrize(
    ("name", "tree"),
    [
        ("Escan Lace Up", '["Escan Lace Up"]'),
        ("Gold Synthetic  Clutch", "gold synthetic clutch "),
        ("Rose Artificial Plant  with Pot", '["Rose Artificial Plant  with Pot (3..."]'),
        ("Crystal Paper Weights  with Silver Finish", '["Crystal Paper Weight..."]'),
        ("Sports Running Shoes, Cycling Shoes", '["Sports Running Shoes, Cycling ..."]'),
        ("Crystal Paper Wei…", "Crystal Paper Weights"),
        ("8520 WHITE LCD LCD", '["8520 WHITE LCD LCD (YIT-562)"]'),
    ],
)
def test_a_single_level_that_is_the_products_name_is_no_category(
    tmp_path: Path, name: str, tree: str
) -> None:
    item = item_of(tmp_path, table([("a", URL, name, tree)]))
    assert (item.name, item.category) == (name, "")
    assert set(item.metadata) == {"title", "tree"}


@pytest.mark.parametrize(
    ("name", "tree"),
    [
        ("Wayfarer Sunglasses", '["Sunglasses"]'),
        ("Sunglasses by Yna", '["Sunglasses"]'),
        ("Cap", '["Caps"]'),
        ("...", '["Caps"]'),
        ("A cap", '["A cap >> Caps"]'),
    ],
)
def test_another_single_level_is_a_category(tmp_path: Path, name: str, tree: str) -> None:
    item = item_of(tmp_path, table([("a", URL, name, tree)]))
    assert item.category == tree.strip('[]"').split(" >> ")[0]


def test_a_column_of_the_table_is_not_replaced_by_a_level(tmp_path: Path) -> None:
    line = ("a", URL, "T", "Hats >> Caps >> Red", "mine", "")
    item = item_of(tmp_path, table([line], (*HEADER, "category_1", "category_3")))
    assert item.category == "Hats"
    levels = [item.metadata[f"category_{n}"] for n in (1, 2, 3)]
    assert levels == ["mine", "Caps", None]


def test_the_separator_is_a_setting(tmp_path: Path) -> None:
    content = table([("a", URL, "", "Hats/Caps >> Red")])
    item = item_of(tmp_path, content, {"category_separator": "/"})
    assert (item.category, item.metadata["category_2"]) == ("Hats", "Caps >> Red")


# -- Structures ------------------------------------------------------------------------------------

INNER = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ['"=>"', "=>", "nil", '\\"', "#{x}", "\\", "\n", "[", "{", "\0", "\x1b"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | INNER
KEYS = INNER.filter(lambda key: key not in ("key", "value"))
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=4) | st.dictionaries(KEYS, v, max_size=4), max_leaves=12
)


def inspect(value: Any, space: str = "") -> str:
    """Ruby's `inspect`, written after its documentation."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(inspect(v, space) for v in value) + "]"
    if isinstance(value, dict):
        arrow = f"{space}=>{space}"
        pairs = (f"{inspect(k)}{arrow}{inspect(v, space)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    named = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\x1b": "\\e", "#": "\\#", "\0": "\\0"}
    return (
        '"'
        + "".join(
            named.get(c) or (f"\\u{{{ord(c):x}}}" if not c.isprintable() else c) for c in value
        )
        + '"'
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    value=st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), space=st.sampled_from(["", " "])
)
def test_json_and_ruby_hashes_are_parsed(value: dict[str, Any], space: str) -> None:
    assert structured(inspect(value, space)) == value
    assert structured(json.dumps(value)) == value


def test_a_specification_can_be_queried_by_its_keys() -> None:
    text = (
        '{"product_specification"=>[{"key"=>"Fabric", "value"=>"Cotton"}, {"value"=>"3 shorts"},'
        ' {"key"=>"Type", "value"=>"A \\"b\\" => c"}, {"key"=>"Fabric", "value"=>nil}, '
        '{"key"=>nil, "value"=>"more"}, {"key"=>"Odd"}]}'
    )
    assert structured(text) == {
        "product_specification": {
            "Fabric": ["Cotton", None],
            "": ["3 shorts", "more"],
            "Type": 'A "b" => c',
            "Odd": None,
        }
    }
    alone = '{"product_specification"=>{"key"=>"Body Material", "value"=>"leather"}}'
    assert structured(alone) == {"product_specification": {"Body Material": "leather"}}
    assert structured('[{"key": "a", "value": [{"key": "b", "value": 1}]}]') == {"a": {"b": 1}}


@pytest.mark.parametrize(
    "text",
    [
        '[{"key": "a", "value": 1, "unit": "cm"}]',
        '[{"key": 5, "value": 1}]',
        '[{"key": "a"}, {}]',
        '[{"key": "a"}, 5]',
        '{"value": 5}',
        "[]",
        "5",
    ],
)
def test_other_structures_stay_as_they_are(text: str) -> None:
    assert structured(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "No rating available",
        '{"a"=>"b"',
        '{"a"=>b}',
        "{:a=>1}",
        '{"a"=>"\\u{110000}"}',
        '"a',
        "007",
        "\0nil",
        "[" * 100_000,
        '{"a"=>' * 100_000,
        "[" * 60 + "]" * 60,
        '"' * 99_999,
        '{"' + "\\a" * 100_000,
        "1" * 5_000,
    ],
)
def test_what_does_not_parse_stays_text(text: str) -> None:
    assert structured(text) == text


def test_numbers_that_json_lacks_are_none() -> None:
    assert structured("[NaN, -Infinity, 1e999, 1.5]") == [None, None, None, 1.5]
    assert structured("") is None


def test_a_line_may_break_inside_a_text() -> None:
    assert structured('{"a": "two\nlines"}') == {"a": "two\nlines"}
    assert structured('{"a"=>"two\nlines"}') == {"a": "two\nlines"}


def test_structured_columns_are_parsed_and_no_others(tmp_path: Path) -> None:
    hash_ = '{"a"=>[1, nil]}'
    content = table([("a", URL, "", "", hash_, hash_)], (*HEADER, "s", "t"))
    item = item_of(tmp_path, content, {"structured": ("s",)})
    assert (item.metadata["s"], item.metadata["t"]) == ({"a": [1, None]}, hash_)


@pytest.mark.parametrize("text", ["9" * 400 + ".0", "-" + "9" * 400 + ".5"])
def test_a_number_that_is_too_large_stays_a_text(tmp_path: Path, text: str) -> None:
    assert item_of(tmp_path, table([("a", URL, text, "")])).metadata["title"] == text


def test_ruby_escapes_are_those_of_ruby() -> None:
    written = r'"\e\a\s\v\0\x41\u0041\u{1F600}\#{x}\'\n\t\\\""'
    assert json.loads(ruby_to_json(written), strict=False) == (
        "\x1b\a \v\0AA\N{GRINNING FACE}#{x}'\n\t\\\""
    )


# -- Parquet ---------------------------------------------------------------------------------------


def written(folder: Path, columns: dict[str, Any], rows_per_group: int = 1000) -> Path:
    file = folder / "products.parquet"
    parquet.write_table(pa.table(columns), file, row_group_size=rows_per_group)
    return file


def item_in(folder: Path, **columns: Any) -> SourceItem:
    (item,) = opened(
        written(folder, {"id": ["a"], "image": [A], "title": ["T"], "tree": ["C"], **columns}),
        images="all",
    ).items()
    assert isinstance(item, SourceItem)
    return item


def test_a_parquet_file_is_read_in_batches(tmp_path: Path) -> None:
    rng = random.Random(5)
    count = 1_000
    columns = {
        "id": [f"k{n}" if rng.random() < 0.9 else None for n in range(count)],
        "image": [[A, B] if rng.random() < 0.9 else None for _ in range(count)],
        "title": [f"T {n}" for n in range(count)],
        "tree": ["Hats >> Caps"] * count,
        "price": [rng.random() for _ in range(count)],
    }
    source = opened(written(tmp_path, columns, rows_per_group=300), images="all")
    assert source.total == count
    found = list(source.items())
    assert [one.row for one in found] == list(range(1, count + 1))
    assert outcomes(found) == [key or "no id" for key in columns["id"]]
    for one, photos, price in zip(found, columns["image"], columns["price"], strict=True):
        if isinstance(one, SourceItem):
            assert (uris(one), one.metadata["price"]) == (photos or [], price)
            assert (one.without_photo, one.metadata["category_2"]) == ("no photo", "Caps")


@pytest.mark.parametrize(
    ("given_", "value"),
    [
        (pa.array(["5"]), "5"),
        (pa.array([""]), ""),
        (pa.array([None], pa.string()), None),
        (pa.array([2**62]), 2**62),
        (pa.array([1.5]), 1.5),
        (pa.array([math.nan]), None),
        (pa.array([math.inf]), None),
        (pa.array([True]), True),
        (pa.array([decimal.Decimal("1.50")]), 1.5),
        (pa.array([decimal.Decimal("19.99")]), 19.99),
        (pa.array([decimal.Decimal("-2000.00")]), -2000),
        (pa.array([decimal.Decimal(10**37 + 1)]), 10**37 + 1),
        (pa.array([decimal.Decimal(10**75 + 1)]), 10**75 + 1),
        (pa.array([decimal.Decimal(f"{10**37}.5")]), 1e37),
        (pa.array([[decimal.Decimal("0.5")]]), [0.5]),
        (pa.array([datetime.date(2016, 3, 25)]), "2016-03-25"),
        (pa.array([0], pa.timestamp("us", "UTC")), "1970-01-01 00:00:00.000000Z"),
        (pa.array([1], pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
        (pa.array([1], pa.time64("ns")), "00:00:00.000000001"),
        (pa.array([b"caf\xc3\xa9"]), "café"),
        (pa.array([b"\xff\x00"]), "ff00"),
        (pa.array([b"\xff" * 1000]), "1000 bytes"),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array([[1, None, math.nan]]), [1, None, None]),
        (pa.array([{"x": {"y": b"z"}}]), {"x": {"y": "z"}}),
        (pa.array([[("k", 1.5)]], pa.map_(pa.string(), pa.float64())), {"k": 1.5}),
        (pa.array([[(1, "v")]], pa.map_(pa.int64(), pa.string())), {"1": "v"}),
        (pa.array([[]], pa.list_(pa.string())), []),
    ],
)
def test_values_of_parquet_become_jsonable(tmp_path: Path, given_: Any, value: Any) -> None:
    kept = item_in(tmp_path, x=given_).metadata["x"]
    assert (kept, type(kept)) == (value, type(value))


@pytest.mark.parametrize("kind", [pa.timestamp("ms"), pa.date64(), pa.duration("us")])
def test_a_date_beyond_those_of_python_is_a_text_too(tmp_path: Path, kind: Any) -> None:
    assert isinstance(item_in(tmp_path, x=pa.array([86_400_000 * 10**9], kind)).metadata["x"], str)


def test_text_in_parquet_that_is_not_utf_8_is_read_as_windows_1252(tmp_path: Path) -> None:
    data = [None, pa.py_buffer((0).to_bytes(4, "little") + (4).to_bytes(4, "little"))]
    text = pa.Array.from_buffers(pa.string(), 1, [*data, pa.py_buffer(b"caf\xe9")])
    assert item_in(tmp_path, x=text).metadata["x"] == "café"


@pytest.mark.parametrize(("key", "text"), [(7, "7"), (7.0, "7"), (7.5, "7.5"), (" 7 ", "7")])
def test_ids_in_parquet_become_texts(tmp_path: Path, key: Any, text: str) -> None:
    assert item_in(tmp_path, id=[key]).key == text


def test_a_structured_column_of_parquet_may_be_nested_or_text(tmp_path: Path) -> None:
    pairs = [{"key": "Fabric", "value": "Cotton"}]
    columns = {"id": ["a"], "image": [A], "nested": [pairs], "text": [json.dumps(pairs)]}
    file = written(tmp_path, columns)
    chosen = {"name": None, "category": None, "structured": ("nested", "text")}
    (item,) = opened(file, chosen).items()
    assert isinstance(item, SourceItem)
    assert item.metadata == {"nested": {"Fabric": "Cotton"}, "text": {"Fabric": "Cotton"}}


def test_photos_and_categories_of_parquet_may_be_lists(tmp_path: Path) -> None:
    item = item_in(tmp_path, image=[[{"url": A}, {"url": B}]], tree=[["Hats", "Caps"]])
    assert uris(item) == [A, B]
    assert (item.category, item.metadata["category_2"]) == ("Hats", "Caps")
    assert item.metadata["tree"] == ["Hats", "Caps"]


def test_a_blank_row_of_parquet_is_skipped(tmp_path: Path) -> None:
    blank = {"id": [None], "image": [[]], "title": [" "], "tree": [math.nan]}
    (row,) = opened(written(tmp_path, blank)).items()
    assert row == Skipped(1, "blank row")


def test_columns_of_parquet_may_share_a_name(tmp_path: Path) -> None:
    file = tmp_path / "products.pq"
    names = [*HEADER, "size", "size"]
    parquet.write_table(pa.table([pa.array([name]) for name in "aTTCxy"], names), file)
    (item,) = opened(file).items()
    assert isinstance(item, SourceItem)
    assert (item.metadata["size"], item.metadata["size#2"]) == ("x", "y")


def test_a_file_that_is_not_parquet_is_an_error_in_one_line(tmp_path: Path) -> None:
    file = written(tmp_path, {"id": [f"{n}" for n in range(999)], "image": [A] * 999})
    whole = file.read_bytes()
    chosen = {"name": None, "category": None}
    for content in (b"", b"id,image\n", whole[:-9], b"PAR1" + bytes(300) + whole[304:]):
        file.write_bytes(content)
        with pytest.raises(SourceError, match=r"^.*products\.parquet: .*; .*$"):
            list(opened(file, chosen).items())
    file.write_bytes(b"")
    with pytest.raises(SourceError, match="not a Parquet file"):
        _ = opened(file).total


# -- The source ------------------------------------------------------------------------------------


def test_the_flipkart_file_needs_only_its_path(tmp_path: Path) -> None:
    header = ("uniq_id", "product_name", "product_category_tree", "image", "product_specifications")
    line = ("a", "Shorts", '["Clothing >> Shorts"]', f'["{A}", "{B}"]', '{"s"=>[{"value"=>"x"}]}')
    (tmp_path / "f.csv").write_text(table([line, [""] * 5], header))
    source = create(FlipkartSettings(type="flipkart", path=tmp_path / "f.csv"))
    item, skipped = source.items()
    assert isinstance(item, SourceItem)
    assert (item.key, item.name, item.category, uris(item)) == ("a", "Shorts", "Clothing", [A])
    assert item.metadata["product_specifications"] == {"s": {"": ["x"]}}
    assert skipped == Skipped(2, "blank row")
    assert source.total is None


def test_the_version_names_the_file_and_how_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"

    def versions() -> Iterator[str | None]:
        file.write_text(table([]))
        yield opened(file).version
        yield opened(file, images="all").version
        yield opened(file, {"name": None}).version
        file.write_text(table([("a", "", "", "")]))
        yield opened(file).version
        file.write_text(table([("b", "", "", "")]))
        yield opened(file).version
        yield opened(file.rename(tmp_path / "q.csv")).version
        (tmp_path / "q.csv").rename(file)

    found = list(versions())
    assert len(set(found)) == len(found)
    assert list(versions()) == found


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_what_may_have_no_end_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    columns = ColumnSettings(key="key", image="url")
    with pytest.raises(SourceError, match="not a regular file"):
        list(TableSource.of(TableSettings(path=tmp_path / name, columns=columns)).items())
