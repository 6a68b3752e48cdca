"""A file of text, whatever its encoding, packed or not; other kinds of files are named."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from pipeline.errors import SourceError
from pipeline.sources.base import check_regular

_HEAD = 4096  # bytes that are looked at
_GZIP = b"\x1f\x8b"
_MARKS = {  # those of UTF-32 begin with those of UTF-16
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_UNPACK = "unpack it, and name the CSV file in it"
_SAVE = "save its table as CSV (UTF-8), and name that file"
# Pattern of the first bytes → what it is, and what to do. The first that matches counts.
_BINARY_KINDS = (
    (
        rb"PK\x03\x04.*(?:xl/|\[Content_Types\]\.xml|opendocument\.spreadsheet)",
        "a workbook (of Excel or the like)",
        _SAVE,
    ),
    (rb"PK(?:\x03\x04|\x05\x06)", "a zip archive", _UNPACK),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", _SAVE),
    (rb"PAR1", "a Parquet file", "as the table of a source, name it .parquet; else save it as CSV"),
    (rb"\x1f\x8b", "a gzip file in a gzip file", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07", "an archive (.7z or .rar)", _UNPACK),
    (rb"BZh[1-9]1AY&SY|\xfd7zXZ\x00|\x28\xb5\x2f\xfd", "packed (bzip2, xz or zstd)", _UNPACK),
    (rb"SQLite format 3\x00", "an SQLite database", _SAVE),
    (rb"ARROW1\x00|Obj\x01|\x89HDF", "a binary table (Arrow, Avro or HDF5)", _SAVE),
    (rb"%PDF-", "a PDF", "ask for the table that it was made from, as CSV"),
    (rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a", "a picture", "name the CSV file instead"),
)
_TEXT_KINDS = (
    (
        r"<!doctype html|<!--|<(?:html|head|body|table|div|script)\b",
        "a web page (HTML)",
        "download the table itself as CSV; a page may be what a site shows before a login",
    ),
    (r"<\?xml|<rss\b", "XML", _SAVE),
    (r"\{\s*(?:\"|\}|$)|\[\s*[\[{\"]", "JSON", "write it as CSV or Parquet"),
    (r"\{\\rtf", "a document (RTF)", _SAVE),
)


@contextmanager
def open_text(path: Path, encoding: str | None = None, setting: str = "source") -> Iterator[TextIO]:
    r"""Open a file of text; `\r`, `\n` and `\r\n` stay as they are.

    A byte order mark decides the encoding; else it is `encoding`; else UTF-16 or UTF-32 where NUL
    bytes show it; else UTF-8, and bytes that are not UTF-8 become surrogates as by
    `surrogateescape`. A gzip file is unpacked, whatever its name. `setting` is where the encoding
    can be set, for errors.

        with open_text(Path("products.csv")) as text:
            heading = text.readline()

    Raises:
        SourceError: the file cannot be read, is another kind of file, or there is no such encoding.
    """
    _check_encoding(encoding, setting)
    check_regular(path)
    try:
        with ExitStack() as stack:
            binary = stack.enter_context(path.open("rb"))
            if binary.peek(2).startswith(_GZIP):
                unpacked = stack.enter_context(gzip.GzipFile(fileobj=binary))
                binary = stack.enter_context(io.BufferedReader(unpacked))
            head = binary.peek(_HEAD)[:_HEAD]
            decoding = _decoding(head, encoding)
            _refuse_other_kinds(path, head, decoding[0])
            yield io.TextIOWrapper(cast("BinaryIO", binary), *decoding, newline="")
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = f"check the file and {setting}.encoding"
        raise SourceError(f"cannot read it: {reason}", where=path, hint=hint) from error


def _check_encoding(encoding: str | None, setting: str) -> None:
    try:
        "".encode("utf-8" if encoding is None else encoding)
    except (LookupError, ValueError) as error:
        hint = "leave it out, or name one such as utf-8 or cp1252"
        where = f"{setting}.encoding"
        raise SourceError(f"{encoding!r} is no text encoding", where=where, hint=hint) from error


def _decoding(head: bytes, encoding: str | None) -> tuple[str, str]:
    """Choose the encoding, and what to do with bytes that do not belong to it."""
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    if marked is None and (encoding is None or codecs.lookup(encoding).name in _MARKS.values()):
        encoding = _wide_encoding(head) or encoding  # "utf-16" does not say which without a mark
    if name := marked or encoding:
        return name, "surrogateescape" if name == marked == "utf-8" else "replace"
    return "utf-8", "surrogateescape"


def _wide_encoding(head: bytes) -> str | None:
    """Recognize UTF-16 and UTF-32 without a mark by where the NUL bytes of its ASCII are."""

    def nuls(start: int, step: int) -> float:
        """Share of NUL among every `step`th byte."""
        part = head[start::step]
        return part.count(0) / max(1, len(part))

    fits = {
        "utf-32-le": min(nuls(2, 4), nuls(3, 4)) > 0.9,
        "utf-32-be": min(nuls(0, 4), nuls(1, 4)) > 0.9,
        "utf-16-le": nuls(1, 2) > max(0.1, 4 * nuls(0, 2)),
        "utf-16-be": nuls(0, 2) > max(0.1, 4 * nuls(1, 2)),
    }
    name = next((name for name, does_fit in fits.items() if does_fit), None)
    # What has neither lines nor columns then is another text, with NUL characters in it.
    return name if name and re.search(r"[\r\n,;|\t]", head.decode(name, "ignore")) else None


def _refuse_other_kinds(path: Path, head: bytes, encoding: str) -> None:
    for pattern, kind, hint in _BINARY_KINDS:
        if re.match(pattern, head, re.DOTALL):
            raise SourceError(f"{kind}, not a CSV file", where=path, hint=hint)
    start = head.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    for text_pattern, kind, hint in _TEXT_KINDS:
        if re.match(text_pattern, start, re.IGNORECASE):
            raise SourceError(f"{kind}, not a CSV file", where=path, hint=hint)
