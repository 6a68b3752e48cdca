"""The command `plan`, run as a user runs it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.maintenance.plan.speeds import SHIPPED, write_speeds


def plan(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["imgsearch", "plan", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_it_says_what_to_choose_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert plan(monkeypatch, "--items", "10m", "--qps", "50") == 0
    out, _ = capsys.readouterr()
    assert "10,000,000 items" in out
    assert "choose " in out
    assert "exact is " in out
    assert "--measure measures this one" in out
    assert plan(monkeypatch, "--items", "1k", "--json") == 0
    options = json.loads(capsys.readouterr().out)["options"]
    assert [one["is_exact"] for one in options] == [True, True, False, True, False]
    assert not list(tmp_path.iterdir())


def test_it_uses_what_was_measured_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fast = replace(SHIPPED, scan_bytes=100 * SHIPPED.scan_bytes, is_measured=True)
    write_speeds(tmp_path / "indexes" / "sample", fast)

    assert plan(monkeypatch, "--items", "10m") == 0
    assert "measured here" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [("--items", "ten"), ("--items", "1k", "--p95", "soon"), ("--items", "1k", "--qps", "0"), ()],
)
def test_what_is_not_understood_is_one_line(
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert plan(monkeypatch, *arguments) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("imgsearch: --")
    assert err.count("\n") == 1
