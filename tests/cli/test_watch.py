"""What `imgsearch watch` says, and how it ends; nothing is waited for."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from pipeline import stages
from pipeline.cli import main
from pipeline.config import Config
from pipeline.publish.publish import PublishReport
from pipeline.publish.store import PublicationStore
from pipeline.stages import BuildReport
from pipeline.watch import loop
from pipeline.watch.loop import Watcher
from tests.conftest import Color, Shop, png

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Watch a folder of one photo on a made-up clock until Ctrl-C; return code, stdout, stderr."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(png((1, 2, 3), (20, 20)))
    monkeypatch.setattr(os, "nice", lambda _increment: 0)

    def play(watch: Watcher, _hint: Event) -> None:
        now = [0.0]
        monkeypatch.setattr(watch, "_clock", lambda: now[0])
        while now[0] < 60:
            now[0] += watch.step().seconds
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "run", play)

    def run(*arguments: str) -> tuple[int, str, str]:
        options = [f"root={tmp_path}", "watch.use_events=false", "name=shop"]
        options.append(f"source={{type: folder, path: {folder}}}")
        sets = [word for option in options for word in ("--set", option)]
        monkeypatch.setattr(sys, "argv", ["imgsearch", "watch", *sets, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def publishing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each build publish what the test's catalog of one photo more has."""
    offered: dict[str, list[Color]] = {}

    def build(_config: Config, **_: object) -> BuildReport:
        offered[f"item-{len(offered)}"] = [(len(offered), 0, 0)]
        shop.build(offered)
        published = PublicationStore(shop.config).current()
        assert published
        return BuildReport(publication=PublishReport(published, True, published.number))

    monkeypatch.setattr(stages, "build", build)


def test_each_publication_is_a_line_and_ctrl_c_ends_it(run: Run, publishing: None) -> None:
    code, out, err = run()
    assert code == 130
    assert re.fullmatch(r"20\S+ publication 1: 1 item; 0\.0 s\n", out)
    watching, ended = err.splitlines()
    assert watching.startswith("watching ")
    assert ended.startswith("imgsearch: interrupted")


def test_a_publication_is_one_json_document(run: Run, publishing: None) -> None:
    _, out, _ = run("--json")
    (line,) = out.splitlines()
    document = json.loads(line)
    assert (document["number"], document["seconds"]) == (1, 0)


def test_an_error_of_a_build_is_one_line_and_a_bug_has_its_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_config: Config, **_: object) -> BuildReport:
        raise error

    monkeypatch.setattr(stages, "build", fail)
    error: Exception = OSError(28, "No space left on device", "index.faiss")
    code, out, err = run()
    assert (code, out) == (130, "")
    assert err.count("No space left on device") == 1
    error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        run()


def test_a_drawn_sample_is_not_watched(run: Run) -> None:
    code, _, err = run("--set", "source={type: sample}")
    assert code == 1
    assert "a source of type sample never changes; set `source`" in err
