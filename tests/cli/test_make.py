"""What the Makefile hands to the program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize(
    "settings",
    [
        "",
        "index.type=pruned",
        "source={type: folder, path: /p}",
        "source.path=/my 'own'  \"photos\" name=shop\nindex.keep_publications=3",
        "source.path=/a;b|c&d `x` *",
    ],
)
def test_settings_reach_the_program_in_one_piece(tmp_path: Path, settings: str) -> None:
    program = tmp_path / "imgsearch"
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    program.chmod(0o755)
    words = [f"BIN={tmp_path}", f"STAMP={program}", "CONFIG=my shop.yaml", f"SET={settings}"]
    command = ["make", "--silent", "-C", str(REPOSITORY), "index", *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    options = ["--config", "my shop.yaml", *(["--set", settings] if settings else [])]
    assert ran.stdout.split("\0") == ["build", *options, "report", *options, ""]
