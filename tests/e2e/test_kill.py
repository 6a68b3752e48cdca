"""A build that is killed again and again ends as one that was left alone."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.config import load_config
from pipeline.maintenance.verify import verify

KILLS = 20
IMGSEARCH = (sys.executable, "-c", "from pipeline.cli import main; main()")


def start(settings: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*IMGSEARCH, "build", "--config", str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def outcome(settings: Path) -> dict[str, bytes]:
    """The bytes of every weight, vector and index, and the rows of the catalog."""
    folder = load_config(settings).folder
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".npy", ".npz", ".faiss", ".jpg") or path.name == "CURRENT"
    }
    with sqlite3.connect(folder / "catalog.sqlite") as database:
        items = database.execute("SELECT id, key, state FROM items ORDER BY id").fetchall()
        images = database.execute("SELECT id, item, sha256 FROM images ORDER BY id").fetchall()
    return {**found, "items": repr(items).encode(), "images": repr(images).encode()}


def test_twenty_kills_change_nothing(
    tmp_path: Path, write_settings: Callable[[Path], Path]
) -> None:
    settings = write_settings(tmp_path / "undisturbed")
    began = time.monotonic()
    assert start(settings).wait() == 0
    duration = time.monotonic() - began
    expected = outcome(settings)
    assert any(name.endswith("index.faiss") for name in expected)

    dice = random.Random(11)
    kills = attempt = 0
    while kills < KILLS:
        # A run that gets through before its kill is checked, and the next begins from nothing.
        attempt += 1
        folder = tmp_path / f"killed-{attempt}"
        settings = write_settings(folder)
        done = False
        while not done:
            process = start(settings)
            patience = dice.uniform(0, duration) if kills < KILLS else None
            try:
                _, talk = process.communicate(timeout=patience)
                assert process.returncode == 0, talk.decode()
                done = True
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
        assert outcome(settings) == expected
        assert verify(load_config(settings)).problems == []
        assert not [path for path in folder.rglob(".*") if path.name != ".lock"]
