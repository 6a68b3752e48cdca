"""sources/csv_rows.py and what it reads with: every dialect and encoding, in all three places."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.config import CsvSettings, MetadataSettings
from pipeline.errors import PipelineError
from pipeline.evaluation.labels import read_query_set
from pipeline.sources.base import Skipped, SourceItem
from pipeline.sources.columns import read_columns, records
from pipeline.sources.csv_dialect import Dialect, guess_dialect
from pipeline.sources.csv_rows import csv_rows
from pipeline.sources.folder import FolderSource
from tests.sources.test_table import opened


def read(
    folder: Path, content: str | bytes, **how: str | None
) -> tuple[list[str], list[list[str] | str]]:
    """The columns of a file with this content, and the cells of its rows, or why they are none."""
    file = folder / "rows.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    rows = csv_rows(file, CsvSettings(**how))
    columns = read_columns(file, rows)
    found = [row for _, row in records(columns, rows)]
    return columns, [row if isinstance(row, str) else list(row.values()) for row in found]


# -- Any dialect that a writer of its own writes ---------------------------------------------------

PIECES = [
    *"abcXYZ 019.-'äé€漢\U0001f600",
    ",",
    ";",
    "\t",
    "|",
    '"',
    "\n",
    "\r\n",
    "\\",
    "\\n",
    "&",
    "sep=",
]


def random_cell(rng: random.Random) -> str:
    return "".join(rng.choice(PIECES) for _ in range(rng.choice([0, 1, 3, 6, 12])))


def random_table(rng: random.Random) -> list[list[str]]:
    """A heading and rows; the first have quotes, by which escapes show themselves."""
    width = rng.randint(2, 7)
    names: list[str] = []
    while len(names) < width:
        name = " ".join(random_cell(rng).split()).strip('" ') or "x"
        if name not in names and not name.startswith("sep="):
            names.append(name)
    rows = [[random_cell(rng) for _ in range(width)] for _ in range(rng.randint(3, 30))]
    rows[0][0] = 'a "small" cap'
    rows[1][-1], rows[2][0] = '"so"', '5" wide'
    return [names, *(row for row in rows if any(map(str.strip, row)))]


def written(
    table: Sequence[Sequence[str]], delimiter: str, quote: str, escape: str | None, end: str
) -> str:
    """Write a table; `quote` is what is quoted beside what must be: "all", "some" or "none"."""
    rng = random.Random(len(table))

    def field(text: str) -> str:
        must = any(character in text for character in f'{delimiter}"\r\n') or text[:1] == " "
        text = text.replace(escape, 2 * escape) if escape else text
        text = text.replace('"', f'{escape or chr(34)}"')
        share = {"all": 1.0, "some": 0.5, "none": 0.0}[quote]
        return f'"{text}"' if must or rng.random() < share else text

    return "".join(delimiter.join(map(field, row)) + end for row in table)


@pytest.mark.soak
def test_random_tables_in_random_dialects_are_read_back(tmp_path: Path, soak: bool) -> None:
    for seed in range(5_000 if soak else 250):
        rng = random.Random(seed)
        table = random_table(rng)
        delimiter, escape = rng.choice(",;\t|"), rng.choice([None, None, "\\", "^"])
        text = written(
            table,
            delimiter,
            rng.choice(["all", "some", "none"]),
            escape,
            rng.choice(["\n", "\r\n", "\r"]),
        )
        if rng.random() < 0.2:
            text = f"sep={delimiter}\r\n{text}"
        encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
        data = text.encode(rng.choice(encodings))
        data = gzip.compress(data) if rng.random() < 0.2 else data
        columns, rows = read(tmp_path, data, escape=escape if escape == "^" else None)
        assert [columns, *rows] == table, (seed, text)


# -- What a file shows of itself -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "dialect"),
    [
        (["id,image", "1,u"], Dialect(",")),
        (["id;a, b, c;image", "1;x;u"], Dialect(";")),
        (["id|image", "1|a,b,c"], Dialect("|")),
        (["id\timage", "1\tu"], Dialect("\t")),
        (["id,image;url", "1,u"], Dialect(",")),
        (["id;image,a,b", "1;u", "2;u"], Dialect(";")),
        (['"a;b;c",d', "1,u"], Dialect(",")),
        (['"two\n', 'lines; or so";b', "1;u"], Dialect(";")),
        (["id", "1"], Dialect(",")),
        ([], Dialect(",")),
        (['id, "image, url"', '1, "a, b"', '2, "c, d"'], Dialect(",", skips_blanks=True)),
        (["id,name", '1,"a \\"b\\", c"', '2,"d \\"e\\", f"'], Dialect(",", "\\")),
        (["id,name", '1,"C:\\"', '2,"D:\\"'], Dialect(",")),
        (["id,name", '1,"{""a"": ""b \\"" c""}"', '2,"{""a"": ""\\""""}"'], Dialect(",")),
    ],
)
def test_the_first_rows_show_the_dialect(lines: list[str], dialect: Dialect) -> None:
    ended = [line if line.endswith("\n") else f"{line}\n" for line in lines]
    assert guess_dialect(ended, CsvSettings()) == dialect


def test_what_is_set_counts_more_than_what_a_file_shows(tmp_path: Path) -> None:
    content = "sep=;\nid,a;b\n1,2;3\n"
    assert read(tmp_path, content) == (["id,a", "b"], [["1,2", "3"]])
    assert read(tmp_path, content, delimiter=",") == (["id", "a;b"], [["1", "2;3"]])


@pytest.mark.parametrize("setting", ["delimiter", "escape"])
@pytest.mark.parametrize("text", ["", ";;", '"', "\n", "\\n"])
def test_what_is_set_is_one_character(setting: str, text: str) -> None:
    with pytest.raises(ValueError, match="give one character"):
        CsvSettings(**{setting: text})


@pytest.mark.parametrize(
    "first", ["sep=;", '"sep=;"', "sep=;;;", '"sep=;";;', "Sep=; ", "\ufeffsep=;"]
)
def test_a_first_line_names_the_delimiter(tmp_path: Path, first: str) -> None:
    assert read(tmp_path, f"{first}\r\na,1;b,2\r\nx;y\r\n") == (["a,1", "b,2"], [["x", "y"]])


@pytest.mark.parametrize(
    ("field", "cell"),
    [
        (r'"Shirt \"Slim\", blue"', 'Shirt "Slim", blue'),
        (r'"27\" monitor"', '27" monitor'),
        (r'"ends with \""', 'ends with "'),
        (r'"C:\new\table"', r"C:\new\table"),
        (r'"C:\\new"', r"C:\new"),
        (r"a\, b", "a, b"),
        (r"\N", ""),
        (r'"\N"', r"\N"),
        (r"\Name", r"\Name"),
        ('"two\\\nlines"', "two\nlines"),
        ("two\\\nlines", "two\nlines"),
        ('"a ""doubled"" one"', 'a "doubled" one'),
    ],
)
def test_an_escape_takes_the_meaning_from_what_has_one(
    tmp_path: Path, field: str, cell: str
) -> None:
    content = f"id,name,image\n1,{field},u\n2,x,v\n"
    assert read(tmp_path, content, escape="\\")[1] == [["1", cell, "u"], ["2", "x", "v"]]
    other = content.replace("\\", "^")
    assert read(tmp_path, other, escape="^")[1][0] == ["1", cell.replace("\\", "^"), "u"]


@pytest.mark.parametrize("rows_before", [0, 1_000])
def test_a_single_row_with_backslashes_is_read_without_a_setting(
    tmp_path: Path, rows_before: int
) -> None:
    row = r'7,"Shirt \"Slim\", blue",u'
    content = "id,name,image\n" + '1,"C:\\",u\n' * rows_before + f"{row}\n8,x,v\n"
    *before, escaped, last = read(tmp_path, content)[1]
    assert before == [["1", "C:\\", "u"]] * rows_before
    assert (escaped, last) == (["7", 'Shirt "Slim", blue', "u"], ["8", "x", "v"])


# -- Rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "cp1252"])
def test_files_that_were_put_together_are_one(tmp_path: Path, end: str, encoding: str) -> None:
    parts = [f"\ufeffid,näme{end}{n},x{end}" for n in (1, 2)]
    text = "".join(parts) if encoding != "cp1252" else "".join(parts).replace("\ufeff", "")
    columns, rows = read(tmp_path, text.encode(encoding))
    assert (columns, rows) == (["id", "näme"], [["1", "x"], "heading once more", ["2", "x"]])


def test_line_ends_may_differ_in_one_file(tmp_path: Path) -> None:
    content = 'id,name\r1,a\n2,"b\rc\r\nd"\r\n3,e'
    assert read(tmp_path, content)[1] == [["1", "a"], ["2", "b\rc\r\nd"], ["3", "e"]]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("id,name,\n1,a\n2,b,\n3,c,x\n", [["1", "a", ""], ["2", "b", ""], ["3", "c", "x"]]),
        (
            "id,name\n1,a,,\n2,b,x\n3\n",
            [["1", "a"], "wrong number of fields", "wrong number of fields"],
        ),
        (
            "id,name,,\n1,a\n2,b,,x\n3\n",
            [["1", "a", "", ""], ["2", "b", "", "x"], "wrong number of fields"],
        ),
        (",id\n0,1\n1\n", [["0", "1"], "wrong number of fields"]),
        ("id,name\n1,a\n,\n\n", [["1", "a"], "blank row", "blank row"]),
        ("id\n1\n2\n", [["1"], ["2"]]),
    ],
)
def test_a_row_has_the_length_of_the_heading_or_is_counted(
    tmp_path: Path, content: str, rows: list[list[str] | str]
) -> None:
    assert read(tmp_path, content)[1] == rows


def test_a_cell_may_be_very_long(tmp_path: Path) -> None:
    long = "x" * 3_000_000
    assert read(tmp_path, f'id,name\n1,"{long}"\n2,y\n')[1] == [["1", long], ["2", "y"]]


# -- The same file in all three places -------------------------------------------------------------

FILES: list[tuple[bytes, dict[str, str]]] = [
    ("file;label;x\na.png;Käppi, rot;1\n".encode("utf-16-le"), {}),
    ("sep=;\nfile;label;x\na.png;Käppi, rot;1\n".encode("cp1252"), {}),
    (gzip.compress(b'file,label,x\na.png,"K\xc3\xa4ppi, rot",1\n', mtime=0), {}),
    (
        "file^label^x\na.png^Кепка, rot^1\n".encode("cp1251"),
        {"delimiter": "^", "encoding": "cp1251"},
    ),
    (b'file,label,x\na.png,"K#"ppi#", rot",1\n', {"escape": "#"}),
    (b"file,label,x\na.png,,\nb.png,B\na.png,Cap,1,2\n\nfile,label,x\na.png,Cap,1\n", {}),
    (b'file,label,x\na.png,Cap,1\n"b.png,B,1\n', {}),
    (b"PK\x03\x04 xl/", {}),
    (b"<html></html>", {}),
    (b"", {}),
    (b"file\n", {"encoding": "utf-99"}),
]


@pytest.mark.parametrize(("content", "how"), FILES)
def test_tables_metadata_and_query_sets_are_read_alike(
    tmp_path: Path, content: bytes, how: dict[str, str]
) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    (tmp_path / "a.png").touch()
    columns = {"key": "file", "image": "file", "name": "label", "category": None}
    metadata = MetadataSettings(file=file, key="file", name="label", **how)
    sources = opened(file, columns, **how), FolderSource(tmp_path, metadata)
    outcomes: list[object] = []
    for source in sources:
        try:
            found = list(source.items())
        except PipelineError as error:
            outcomes.append((error.hint or "").replace("source.metadata", "source"))
            continue
        labeled = [item.name for item in found if isinstance(item, SourceItem) and item.metadata]
        skipped = sorted(one.reason for one in found if isinstance(one, Skipped))
        outcomes.append(([name for name in labeled if name not in ("a", "a.png")], skipped))
    table, folder = outcomes
    assert table == folder
    try:
        photos, skipped_rows = read_query_set(file, CsvSettings(**how))
    except PipelineError as error:
        assert isinstance(table, str)
        assert table.replace("source", "query_set") in str(error)  # noqa: PT017
        return
    skipped = sorted(r for r in skipped_rows.elements() if r not in ("no label", "no file"))
    assert ([photo.label for photo in photos], skipped) == table
