"""What `imgsearch watch` says, and how it ends; nothing is waited for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import stages
from pipeline.cli import main
from pipeline.config import Config
from pipeline.errors import BusyError
from pipeline.stages import BuildReport
from pipeline.watch import loop
from tests.conftest import png

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Watch a folder of one photo, until Ctrl-C after some looks; return code, stdout, stderr."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(png((1, 2, 3), (20, 20)))
    monkeypatch.setattr(os, "nice", lambda _increment: 0)

    def run(*arguments: str, looks: int = 3) -> tuple[int, str, str]:
        now, end = [0.0], looks

        def wait(seconds: float) -> None:
            nonlocal end
            now[0] += seconds
            end -= 1
            if not end:
                raise KeyboardInterrupt

        monkeypatch.setattr(loop.time, "sleep", wait)
        monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
        source = f"source={{type: folder, path: {folder}}}"
        options = ["-s", source, "-s", f"root={tmp_path}", "-s", "watch.use_events=false"]
        monkeypatch.setattr(sys, "argv", ["imgsearch", "watch", *options, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run
