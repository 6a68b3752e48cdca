"""report/fonts.py: names in any script, without empty boxes."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.report import contact_sheet, fonts

DEJAVU = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"  # no Hindi, no emoji


@pytest.fixture(autouse=True)
def one_system_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", lambda: (DEJAVU,))


def parts(text: str) -> list[str] | None:
    found = fonts.runs(text, 14)
    return None if found is None else [run.text for run in found]


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("Black  shirt ", ["Black shirt"]),
        ("Рубашка", ["Рубашка"]),
        ("Shirt, рубашка", ["Shirt, ", "рубашка"]),
        ("Watch \U0001f9e2\ufe0f blue", ["Watch  blue"]),
        ("\U0001f9e2", []),
        ("", []),
        ("काला कमीज", None),
        ("Shirt 黒", None),
    ],
)
def test_each_part_is_drawn_with_a_font_that_has_it(text: str, drawn: list[str] | None) -> None:
    assert parts(text) == drawn


def test_without_fonts_of_the_system_only_latin_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())
    assert parts("Black shirt") == ["Black shirt"]
    assert parts("Рубашка") is None


def test_a_file_that_is_no_font_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(DEJAVU.read_bytes()[:3000])
    monkeypatch.setattr(fonts, "_system_fonts", lambda: (broken, DEJAVU))
    assert parts("Рубашка") == ["Рубашка"]


@pytest.mark.parametrize("text", ["Shirt " * 30, "Рубашка " * 30, "Shirt, рубашка " * 20])
def test_a_line_is_cut_to_its_width(text: str) -> None:
    picture = Image.new("L", (600, 40), 255)
    contact_sheet._draw_line(ImageDraw.Draw(picture), (10, 10), text, 180, 14, "#000000")
    columns = np.flatnonzero((np.asarray(picture) < 128).any(axis=0))
    assert 150 < columns.max() <= 10 + 180
