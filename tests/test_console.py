"""console.py and report.py: numbers and pictures as people read them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import report
from pipeline.console import print_answers, size, states_line
from pipeline.images import ImageLimits
from pipeline.report import query_sheet
from pipeline.search import Neighbour
from tests.conftest import Colour, png


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
            "6 items offered = 5 available + 1 failed (1 no photo); 3 removed before",
        ),
        ({"removed": {"gone": 2}}, "0 items offered = none; 2 removed before"),
    ],
)
def test_the_states_are_told_as_a_sum(counts: dict[str, dict[str, int]], line: str) -> None:
    assert states_line(counts) == line


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1550, "1.6 kB"),
        (5_300_000, "5.3 MB"),
        (554_100_000_000, "554.1 GB"),
        (2_000_000_000_000, "2.0 TB"),
        (2_000_000_000_000_000, "2,000.0 TB"),
    ],
)
def test_sizes_are_told_in_a_fitting_unit(count: int, text: str) -> None:
    assert size(count) == text


def colours_of(picture: Image.Image) -> set[Colour]:
    """The colours of the places that are large enough to be photos."""
    pixels = np.asarray(picture).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    return {(int(r), int(g), int(b)) for r, g, b in found[counts > 10_000]}


def test_a_sheet_shows_the_query_and_every_neighbour(tmp_path: Path) -> None:
    colours: list[Colour] = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)]
    query, *paths = (tmp_path / f"{number}.png" for number in range(4))
    for path, colour in zip((query, *paths), colours, strict=True):
        path.write_bytes(png(colour))
    near = [
        Neighbour(n, n / 2, None, n, f"k{n}", f"[name] {n}", "c", path, {})
        for n, path in enumerate(paths, 1)
    ]
    asked = [("query", query, {"one": near[:2], "two": near[2:]}, ["one"])]
    drawn = query_sheet(asked, ImageLimits(), {})
    assert set(colours) <= colours_of(drawn)
    file = io.BytesIO()
    drawn.save(file, "PNG")
    paths[0].unlink()
    paths[1].write_bytes(b"no photo")
    left = query_sheet(asked, ImageLimits(), {})
    assert left.size == drawn.size
    assert colours_of(left) & set(colours) == {colours[0], colours[3]}


def test_a_sheet_says_of_each_row_what_to_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles: list[str] = []
    monkeypatch.setattr(report, "sheet", lambda rows: titles.extend(title for title, _ in rows))
    asked = [("query", None, {"one": [], "two": []}, ["one"])]
    query_sheet(asked, ImageLimits(), {"two": "a warning"})
    assert titles == ["one: no good match", "two (RANDOM weights)"]


WARNING = "net: RANDOM weights [of nothing]; run `imgsearch build`"


def test_answers_are_told_with_their_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    near = [Neighbour(1, 0.5, 12.34, 7, "k", "A [cap]", "Hats", Path("cap.png"), {})]
    for as_json in (False, True):
        print_answers("[query]", {"net": near}, {"net": WARNING}, [], as_json)
    table, document = capsys.readouterr().out.rsplit("\n{", 1)
    assert WARNING in " ".join(table.split())
    assert "A [cap]" in table
    told = json.loads("{" + document)
    assert (told["query"], told["warnings"]) == ("[query]", {"net": WARNING})
    assert [n["id"] for n in told["engines"]["net"]] == [7]
    print_answers("query", {"net": near}, {}, [], as_json=True)
    assert json.loads(capsys.readouterr().out)["warnings"] == {}
    print_answers("query", {"net": near}, {}, ["net"], as_json=False)
    table = " ".join(capsys.readouterr().out.split())
    assert "RANDOM" not in table
    assert "net: no good match: 12.34 % of the catalogue's own photos" in table
    print_answers("query", {"net": near}, {}, ["net"], as_json=True)
    assert json.loads(capsys.readouterr().out)["no_good_match"] == ["net"]
