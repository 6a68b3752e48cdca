"""A build that is stopped again and again ends as one that was left alone."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from pipeline.config import Config, load_config
from pipeline.maintenance.verify import verify
from tests.e2e import preloaded

KILLS, SOAK_KILLS = 1, 400
FORKS = multiprocessing.get_context("forkserver")  # builds, forked where TensorFlow is imported
FORKS.set_forkserver_preload(["tests.e2e.preloaded"])


def start(settings: Path) -> BaseProcess:
    process = FORKS.Process(target=preloaded.build, args=(settings, settings.with_suffix(".txt")))
    process.start()
    return process


def files(folder: Path) -> list[Path]:
    """Photos, every weight, vector and index, and what is current; not what queries keep."""
    found = [path for path in sorted(folder.rglob("*")) if path.parent.name != "columns"]
    suffixes = (".npy", ".npz", ".faiss", ".jpg")
    return [path for path in found if path.suffix in suffixes or path.name == "CURRENT"]


def outcome(folder: Path) -> dict[str, bytes]:
    """The bytes of every weight, vector and index, and the rows of the catalog."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files(folder)}
    with sqlite3.connect(folder / "catalog.sqlite") as database:
        items = database.execute("SELECT id, key, state FROM items ORDER BY id").fetchall()
        images = database.execute("SELECT id, item, sha256 FROM images ORDER BY id").fetchall()
    return {**found, "items": repr(items).encode(), "images": repr(images).encode()}


def moments(kills: int, dice: random.Random) -> list[float]:
    """When to kill, as shares of a build's duration: one in each of as many equal parts of it."""
    shares = [(part + dice.random()) / kills for part in range(kills)]
    dice.shuffle(shares)
    return shares


@pytest.mark.soak
def test_kills_change_nothing(
    soak: bool, built: Config, tmp_path: Path, write_settings: Callable[[Path], Path]
) -> None:
    warm_up = FORKS.Process(target=preloaded.nothing)  # its start is no part of a build's duration
    warm_up.start()
    warm_up.join()
    written = [path.stat().st_mtime for path in files(built.folder)]
    duration = max(written) - min(written)  # of a build that was not disturbed
    expected = outcome(built.folder)
    assert any(name.endswith("index.faiss") for name in expected)

    dice = random.Random(11)
    shares = moments(SOAK_KILLS if soak else KILLS, dice)
    attempt = 0
    while shares:
        # A run that gets through before its kill is checked, and the next begins from nothing.
        attempt += 1
        folder = tmp_path / f"killed-{attempt}"
        settings = write_settings(folder)
        done = False
        while not done:
            process = start(settings)
            process.join(shares.pop() * duration if shares else None)
            done = process.exitcode is not None
            if done:
                assert process.exitcode == 0, settings.with_suffix(".txt").read_text()
            else:
                stop(process, dice.choice([signal.SIGKILL, signal.SIGTERM]))
        config = load_config(settings)
        assert outcome(config.folder) == expected
        assert verify(config).problems == []
        assert not [path for path in folder.rglob(".*") if path.name != ".lock"]


def stop(process: BaseProcess, number: signal.Signals) -> None:
    """Send a signal; a process that it does not kill says so in one line and exits by it."""
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()
    # A build that SIGTERM meets before it has begun ends as any process does.
    assert process.exitcode in (-number, 128 + number, 0)
