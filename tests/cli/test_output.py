"""cli/output.py and contact_sheet.py: numbers and pictures as people read them."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipeline.catalog.ingest import IngestReport
from pipeline.catalog.left_out import LeftOutCount, Unmatched
from pipeline.catalog.records import ItemRecord, State
from pipeline.cli import hits, main, output, progress_bars, terminal_bars
from pipeline.cli.build import print_report, remark_lines, states_line
from pipeline.cli.findings import print_audit
from pipeline.cli.hits import print_paths, print_result
from pipeline.cli.maintenance import print_info
from pipeline.cli.output import print_json, print_line, print_table, talk
from pipeline.download.download import DownloadReport
from pipeline.images import ImageLimits, Region
from pipeline.maintenance import clean, verify
from pipeline.maintenance.audit import Audit, AuditLimits, Example, Finding, Group
from pipeline.maintenance.info import BuildInfo, CatalogInfo, EngineInfo, ModelInfo
from pipeline.maintenance.problems import Problem, Remedy
from pipeline.report import contact_sheet
from pipeline.report.contact_sheet import QueryRow, query_sheet
from pipeline.report.text import cell, size
from pipeline.search.result import EngineResult, Hit, SearchResult
from pipeline.stages import BuildReport
from tests.conftest import Color, png


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({}, "0 items offered = none"),
        ({"available": {"": 246}}, "246 items offered = 246 available"),
        (
            {"available": {"": 1234}, "rejected": {"truncated": 2, "empty file": 1}},
            "1,237 items offered = 1,234 available + 3 rejected (2 truncated, 1 empty file)",
        ),
        (
            {"available": {"": 5}, "failed": {"no photo": 1}, "removed": {"gone": 2, "lost": 1}},
            "6 items offered = 5 available + 1 failed (1 no photo); 3 removed",
        ),
        ({"removed": {"gone": 2}}, "0 items offered = none; 2 removed"),
    ],
)
def test_the_states_add_up_in_one_line(counts: dict[str, dict[str, int]], line: str) -> None:
    assert states_line(counts) == line


def test_what_is_left_out_is_counted_by_kind_and_reason() -> None:
    left_out = [
        LeftOutCount(".xyz", "not an image", 1200),
        LeftOutCount("folder", "cannot be read: Permission denied", 3),
        LeftOutCount("file", "empty", 1),
    ]
    unmatched = {"row": Unmatched(1, ("a.jpg",)), "photo": Unmatched(4000, ("b", "c", "d"))}
    assert list(remark_lines(left_out, unmatched)) == [
        "1,204 files left out: 1,200 .xyz not an image,"
        " 3 folders cannot be read: Permission denied, 1 file empty",
        "1 row without a photo: a.jpg",
        "4,000 photos without a row: b, c, d, ...",
    ]
    many = [LeftOutCount(f".{n}", "not an image", 1) for n in range(9)]
    (line,) = remark_lines(many, {})
    assert line.startswith("9 files left out: 1 .0 not an image, ")
    assert line.endswith("1 .5 not an image, and 3 other kinds")
    assert not list(remark_lines([], {}))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1550, "1.6 kB"),
        (5_300_000, "5.3 MB"),
        (554_100_000_000, "554.1 GB"),
        (2_000_000_000_000, "2.0 TB"),
        (2_000_000_000_000_000, "2,000.0 TB"),
    ],
)
def test_sizes_have_a_fitting_unit(count: int, text: str) -> None:
    assert size(count) == text


def hit(item: int, name: str, photo: Path | None) -> Hit:
    record = ItemRecord(item, f"k{item}", name, name, {}, State.AVAILABLE, "")
    return Hit(item, 0.5, 12.34, record, photo, "")


def answer(
    engine: str, hits: Sequence[Hit], no_match: bool = False, warning: str | None = None
) -> EngineResult:
    return EngineResult(engine, tuple(hits), no_match, None, "build", "model", warning)


def result_of(engine: EngineResult) -> SearchResult:
    return SearchResult("query", 1, {engine.engine: engine})


def colors_of(picture: Image.Image) -> set[Color]:
    """The colors of the places that are large enough to be photos."""
    pixels = np.asarray(picture).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {(int(r), int(g), int(b)) for r, g, b in found[counts > 10_000]}


def test_a_contact_sheet_shows_the_query_and_every_hit(tmp_path: Path) -> None:
    colors: list[Color] = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)]
    query, *paths = (tmp_path / f"{number}.png" for number in range(4))
    for path, color in zip((query, *paths), colors, strict=True):
        path.write_bytes(png(color))
    near = [hit(n, f"[name] {n}", path) for n, path in enumerate(paths, 1)]
    result = SearchResult(
        "query", 1, {"one": answer("one", near[:2]), "two": answer("two", near[2:])}
    )
    rows = [QueryRow("query", query, result)]
    drawn = query_sheet(rows, ImageLimits())
    assert set(colors) <= colors_of(drawn)
    file = io.BytesIO()
    drawn.save(file, "PNG")
    paths[0].unlink()
    paths[1].write_bytes(b"no photo")
    left = query_sheet(rows, ImageLimits())
    assert left.size == drawn.size
    assert colors_of(left) & set(colors) == {colors[0], colors[3]}


def test_the_region_that_was_searched_with_is_named_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    red, blue = (200, 0, 0), (0, 0, 200)
    photo = Image.new("RGB", (100, 100), red)
    photo.paste(blue, (50, 0, 100, 100))
    photo.save(tmp_path / "query.png")
    whole = answer("one", [hit(1, "name", None)])
    result = result_of(replace(whole, region=Region(0.5, 0, 0.5, 1)))
    print_result("query.png", result, as_json=False)
    print_result("query.png", result_of(whole), as_json=False)
    titles = [line for line in capsys.readouterr().out.splitlines() if "Nearest" in line]
    assert titles[0].strip() == "Nearest to query.png, region 0.5,0,0.5,1"
    assert titles[1].strip() == "Nearest to query.png"
    sheet = query_sheet([QueryRow("query", tmp_path / "query.png", result)], ImageLimits())
    assert colors_of(sheet) & {red, blue} == {blue}


def test_a_contact_sheet_says_of_each_row_what_to_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles: list[str] = []
    monkeypatch.setattr(
        contact_sheet, "contact_sheet", lambda rows: titles.extend(title for title, _ in rows)
    )
    engines = {
        "one": answer("one", [], no_match=True),
        "two": answer("two", [], warning="a warning"),
    }
    query_sheet([QueryRow("query", None, SearchResult("query", 1, engines))], ImageLimits())
    assert titles == ["one: no good match", "two (RANDOM weights)"]


def test_what_is_refined_hidden_or_only_words_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(contact_sheet, "_draw_line", lambda _, __, text, *___: drawn.append(text))
    found = replace(hit(7, "cap", None), similar=(8, 9))
    engine = replace(answer("net", [found]), refined="rerank")
    result = replace(result_of(engine), text=())
    query_sheet([QueryRow("red caps", None, result)], ImageLimits())
    assert {"net (rerank)", "words", "red caps"} <= set(drawn)
    assert any(line.endswith(", and 2 more") for line in drawn)
    print_result("red caps", result, as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "net: in the order of rerank, not of distances" in said
    assert "2 more" in said


WARNING = "net: RANDOM weights [of nothing]; run `imgsearch build`"


def test_results_are_printed_with_their_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    found = [hit(7, "A [cap]", Path("cap.png"))]
    for as_json in (False, True):
        print_result("[query]", result_of(answer("net", found, warning=WARNING)), as_json)
    table, document = capsys.readouterr().out.rsplit("\n{", 1)
    assert WARNING in " ".join(table.split())
    assert "A [cap]" in table
    printed = json.loads("{" + document)
    assert (printed["query"], printed["engines"]["net"]["warning"]) == ("[query]", WARNING)
    assert [hit["item"]["id"] for hit in printed["engines"]["net"]["hits"]] == [7]
    assert printed["engines"]["net"]["no_match"] is False
    unlike = result_of(answer("net", found, no_match=True))
    print_result("query", unlike, as_json=False)
    table = " ".join(capsys.readouterr().out.split())
    assert "RANDOM" not in table
    assert "net: no good match: 12.34 % of the catalog's own photos" in table
    print_result("query", unlike, as_json=True)
    assert json.loads(capsys.readouterr().out)["engines"]["net"]["no_match"] is True


LONG = Path("/photos/with a blank/") / ("folder" * 20) / "cap.png"


def lines_at(width: int, result: SearchResult, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a terminal of this width shows."""
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False)
    monkeypatch.setattr(hits, "stdout", lambda: console)
    print_result("query", result, as_json=False)
    return file.getvalue().splitlines()


def test_in_80_columns_each_path_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    result = result_of(answer("net", [hit(7, "A long name " * 20, LONG), hit(8, "帽子", LONG)]))
    lines = lines_at(80, result, monkeypatch)
    assert [line.strip() for line in lines].count(str(LONG)) == 2
    assert len(lines) == 2 + 2 * 3 + 1
    assert all(len(line) <= 80 for line in lines if str(LONG) not in line)
    assert " 7  0.5 · farther than 12.3 % · id 7" in lines
    assert "    帽子 · 帽子" in lines
    assert len(lines_at(200, result, monkeypatch)) > len(lines)  # the table folds the names


def table_of(*rows: Sequence[str]) -> Table:
    table = Table("engine", "model", "names", title="Engines", caption="all of them")
    for row in rows:
        table.add_row(*map(cell, row))
    return table


def printed_at(width: int, table: Table, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    file = io.StringIO()
    monkeypatch.setattr(output, "stdout", lambda: Console(file=file, width=width, highlight=False))
    print_table(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_a_table_that_is_too_wide_becomes_lines_of_which_nothing_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide = table_of(("net", "0123456789abcdef" * 3, "a" * 40 + "…"), ("[two]", "", "short"))
    assert printed_at(80, wide, monkeypatch) == [
        "Engines",
        "engine: net",
        f"    model: {'0123456789abcdef' * 3}",
        f"    names: {'a' * 40}…",
        "engine: [two]",
        "    names: short",
        "all of them",
    ]
    assert f"│ net    │ {'0123456789abcdef' * 3} │ {'a' * 40}… │" in printed_at(
        120, wide, monkeypatch
    )


def test_a_table_whose_texts_are_broken_into_many_lines_becomes_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = "some words " * 30
    tall = table_of(("net", words, words), ("other", words, words))
    assert len(printed_at(80, tall, monkeypatch)) == 2 + 2 * 3
    few = table_of(("net", "a model", "some words"))
    assert len(printed_at(80, few, monkeypatch)) == 2 + 5


def test_paths_are_printed_once_and_alone(capsys: pytest.CaptureFixture[str]) -> None:
    both = [hit(7, "cap", LONG), hit(8, "hat", None), hit(9, "bag", Path("bag.png"))]
    engines = {"one": answer("one", both[:2]), "two": answer("two", both)}
    print_paths(SearchResult("query", 1, engines))
    assert capsys.readouterr().out.splitlines() == [str(LONG), "bag.png"]


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m[red]x[/red] \u202e:smile: \r\n\udcff\\"
PLAIN = "�]0;owned��[2J�31m[red]x[/red] �:smile:   �\\"


def one_finding(title: str, *keys: str, label: str = "") -> Finding:
    shown = tuple(Example(n, key, key, key, None) for n, key in enumerate(keys))
    groups = (Group(label, len(keys), shown),) if keys else ()
    return Finding(title, "", "photo", "item", len(keys), groups, len(groups))


def audited(found: Finding) -> Audit:
    names = [one.name for one in fields(Audit)][4:]
    return Audit(HOSTILE, 1, 1, AuditLimits(), **dict.fromkeys(names, found))


def info_of(text: str) -> CatalogInfo:
    model = ModelInfo(text, text, text, 1, 1, text, text, None, True)
    build = BuildInfo(text, text, 1, 1, 1, 1, text, 1, True, None)
    engine = EngineInfo(1, model, 1, build, [text])
    states, others = {"rejected": {text: 1}}, ([LeftOutCount(text, text, 1)], not_met(text))
    said = (1, [text], True, text)
    return CatalogInfo(text, text, 1, 1, states, *others, *said, 1, {text: engine})


def not_met(text: str) -> dict[str, Unmatched]:
    return {"row": Unmatched(4, (text,)), "photo": Unmatched(1, (text,))}


def answer_with(text: str) -> None:
    found = [hit(7, text, Path(text))]
    result = result_of(answer(text, found, no_match=True, warning=text))
    print_result(text, result, as_json=False)


def build_of(text: str) -> BuildReport:
    counts = {"rejected": {text: 1}}
    others = ([LeftOutCount(text, text, 1)], not_met(text))
    return BuildReport(IngestReport(1, counts, 0, False, *others), DownloadReport(0, 0, counts))


@pytest.mark.parametrize(
    "tell",
    [
        answer_with,
        talk,
        print_line,
        lambda text: print_audit(audited(one_finding(text, text, label=text))),
        lambda text: print_info(info_of(text)),
        lambda text: print_report(build_of(text)),
    ],
)
def test_names_from_anywhere_do_nothing_to_a_terminal(
    tell: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    tell(HOSTILE)
    told = capsys.readouterr()
    text = told.out + told.err
    assert not [c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs"} and c != "\n"]
    assert PLAIN in " ".join(text.split("\n"))


def test_what_a_script_needs_to_be_itself_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("क्\u200dष र्\u200cय Café\N{NO-BREAK SPACE}👩\u200d🔧")
    assert capsys.readouterr().out == "क्\u200dष र्\u200cय Café 👩\u200d🔧\n"


def test_problems_and_paths_do_nothing_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = Problem("here", HOSTILE)
    monkeypatch.setattr(verify, "verify", lambda *_: verify.Verdict(problems=[problem]))

    def announced(*_: object, announce: Callable[..., object], **__: object) -> list[clean.Removal]:
        removals = [clean.Removal(Path(HOSTILE), 1)]
        announce(removals)
        return removals

    monkeypatch.setattr(clean, "clean", announced)
    shown = f"here: {PLAIN}; run `imgsearch build`"
    for command, line in (("verify", shown), ("clean", f"removing {PLAIN} (1 byte)")):
        monkeypatch.setattr("sys.argv", ["imgsearch", command])
        with pytest.raises(SystemExit):
            main()
        assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize(
    ("remedies", "is_advised"),
    [([Remedy.WAIT], False), ([Remedy.NONE], False), ([Remedy.WAIT, Remedy.BUILD], True)],
)
def test_repair_is_advised_where_it_can_mend_something(
    remedies: list[Remedy],
    is_advised: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = [Problem("there", "is wrong", remedy) for remedy in remedies]
    monkeypatch.setattr(verify, "verify", lambda *_: verify.Verdict(problems=problems))
    monkeypatch.setattr("sys.argv", ["imgsearch", "verify"])
    with pytest.raises(SystemExit):
        main()
    assert ("imgsearch repair" in capsys.readouterr().err) == is_advised


def test_bars_show_text_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=500, color_system=None)
    for module in (progress_bars, terminal_bars):
        monkeypatch.setattr(module, "stderr", terminal)
    with progress_bars.console_progress().task("[red]label[/red]", 2, "photos") as advance:
        advance(1, HOSTILE)
    assert "[red]label[/red]" in shown.getvalue()
    assert PLAIN in shown.getvalue()


def test_json_holds_every_text_and_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(map(chr, range(0x100))) + "\udc9b Käppi 😀"
    print_json({"name": text})
    line = capsys.readouterr().out
    assert json.loads(line) == {"name": text}
    assert not [c for c in line[:-1] if unicodedata.category(c) in {"Cc", "Cs"}]
    assert "Käppi 😀" in line


def test_long_keys_are_cut_in_the_table_of_an_audit(capsys: pytest.CaptureFixture[str]) -> None:
    print_audit(audited(one_finding("Title", "k" * 400, "short", label="l" * 400)))
    line = next(line for line in capsys.readouterr().out.splitlines() if "Title" in line)
    assert f"{'k' * 39}…, short" in line
    assert "l" * 79 + "…: " in line
