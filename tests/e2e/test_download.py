"""A table of URLs by the command line: a server that misbehaves, kills, the whole chain."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.maintenance.verify import verify
from pipeline.search.engine_searcher import open_engine
from tests.download.photo_server import Expected, PhotoServer, draw, mixed
from tests.e2e.conftest import Command

Run = Callable[..., tuple[str, str]]
IMGSEARCH = (sys.executable, "-c", "from pipeline.cli import main; main()")
REPOSITORY = Path(__file__).parents[2]
URLS, KILLS = 1000, 2
SOAK_URLS, SOAK_KILLS = 2000, 10
LEFT = 500
# Every photo has 5 s, and 64 are on their way at a time. If all of them took that long:
LONGEST = SOAK_URLS / 64 * 5.0
SETTINGS = """
root: {root}
name: shop
source: {{type: table, path: {table}, columns: {{key: id, image: url}}}}
download:
  per_host: 64
  attempts: 2
  backoff: 0.05
  connect_timeout: 1
  read_timeout: 2.5
  total_timeout: 5
  allow_addresses: [127.0.0.1/32]
images: {{min_side: 1, max_bytes: 1000000}}
engines: {{vgg16: {{type: pretrained, weights: random}}}}
"""


@pytest.fixture
def server() -> Iterator[PhotoServer]:
    # A photo for each URL, or else most of the files would be there after the first few.
    with PhotoServer(cache(lambda number: draw(number, 60))) as running:
        yield running


def write_table(folder: Path, urls: Sequence[str]) -> Path:
    """Settings and a table of a row for each URL."""
    folder.mkdir()
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "url"])
        writer.writerows((number, json.dumps([url])) for number, url in enumerate(urls))
    settings = folder / "settings.yaml"
    settings.write_text(SETTINGS.format(root=folder / "out", table=folder / "table.csv"))
    return settings


def start(settings: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*IMGSEARCH, *words, "--config", str(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def run(command: Command) -> Run:
    """Run a command that must succeed, in this process; return what it prints."""

    def run(settings: Path, *words: str) -> tuple[str, str]:
        code, out, talk = command(*words, "--config", settings)
        assert code == 0, talk
        return out, talk

    return run


def ledger(settings: Path, columns: str = "uri, state, reason") -> list[tuple[str, ...]]:
    with sqlite3.connect(load_config(settings).folder / "catalog.sqlite") as witness:
        return witness.execute(f"SELECT {columns} FROM images ORDER BY id").fetchall()


def as_rows(expected: Sequence[Expected]) -> list[tuple[str, ...]]:
    return [(one.url, one.state, one.reason) for one in expected]


def finished(settings: Path) -> dict[str, dict[str, Any]]:
    """The photos that have ended, seen without tidying up what a kill has left: URL → its row."""
    file = load_config(settings).folder / "catalog.sqlite"
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as witness:
        witness.row_factory = sqlite3.Row
        rows = witness.execute("SELECT * FROM images WHERE state <> 'pending'")
        return {row["uri"]: dict(row) for row in rows}


def kill_after(settings: Path, photos: int, total: int) -> None:
    """Download, and kill that as soon as so many more photos have ended."""
    enough = len(finished(settings)) + photos
    process = start(settings, "download")
    deadline = time.monotonic() + LONGEST
    while len(finished(settings)) < enough and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert enough <= len(finished(settings)) < total


@pytest.mark.soak
def test_urls_end_within_their_deadlines_and_add_up_however_often_it_is_killed(
    soak: bool, tmp_path: Path, server: PhotoServer, run: Run
) -> None:
    urls, count = (SOAK_URLS, SOAK_KILLS) if soak else (URLS, KILLS)
    expected = mixed(server, urls, seed=1)
    settings = write_table(tmp_path / "shop", [one.url for one in expected])
    run(settings, "ingest")
    folder = load_config(settings).folder
    # More than that end before each kill arrives; those that are left are enough for those.
    kills = sorted(random.Random(3).sample(range(1, urls - LEFT), count))
    ended: dict[str, dict[str, Any]] = {}
    for before, after in pairwise([0, *kills]):
        kill_after(settings, after - before, urls)
        now = finished(settings)
        assert {url: now.get(url) for url in ended} == ended
        ended = now
        for row in ended.values():
            assert (row["path"] is not None) == (row["state"] == "available")
            if row["path"]:
                data = (folder / row["path"]).read_bytes()
                assert hashlib.sha256(data).digest() == row["sha256"]
    out, talk = run(settings, "download")
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    now = finished(settings)
    assert {url: now[url] for url in ended} == ended
    assert ledger(settings) == as_rows(expected)
    paths = {row["path"] for row in now.values() if row["path"]}
    assert len(paths) > urls / 2
    ledger_files = {"catalog.sqlite", "catalog.copy.sqlite", "catalog.json"}
    assert left - {"checked.json"} == {
        ".lock",
        "download.json",
        "download.md",
        *ledger_files,
        *paths,
    }
    check_report(expected, folder, out, talk)

    asked = len(server.requests)
    again, _ = run(settings, "download")
    assert again == out
    assert len(server.requests) == asked


def check_report(expected: Sequence[Expected], folder: Path, out: str, talk: str) -> None:
    """What is printed and written adds up."""
    states = Counter(one.state for one in expected)
    assert f"{len(expected):,} images = {states['available']:,} available + " in out
    assert f"+ {states['rejected']:,} rejected (" in out
    assert "MB" in talk
    assert "--retry-failed" in talk
    facts = json.loads((folder / "download.json").read_text())
    reasons = Counter((one.state, one.reason) for one in expected)
    assert reasons == {
        (state, reason): count
        for state, counts in facts["counts"].items()
        for reason, count in counts.items()
    }
    page = (folder / "download.md").read_text()
    assert f"| failed | HTTP 404 | {reasons['failed', 'HTTP 404']} |" in page
    assert "| 169.254.169.254 | forbidden address |" in page


def test_the_articles_settings_take_a_table_to_two_indexes(
    tmp_path: Path, server: PhotoServer, run: Run
) -> None:
    """Kaggle's columns and its mess; small networks stand in for the article's."""
    heading = ["uniq_id", "product_name", "product_category_tree", "image", "retail_price"]
    heading += ["product_specifications"]
    rows = [
        [f"id{n}", f"Thing {n}", f'["Things >> Kind {n % 2}"]', _urls(server, n), 100 + n, "{}"]
        for n in range(8)
    ]
    rows[2:2] = [[""] * 6, [""] * 6]
    rows.append(["id1", "Again", "[]", _urls(server, 1), 5, ""])
    rows.append(["id9", "No photo", "[]", "[]", 5, ""])
    rows.append(["id10", "Gone", "[]", f'["{server.url("status/1?is=404")}"]', 5, ""])
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([heading, *rows])
    overrides = [
        f"root={tmp_path / 'out'}",
        f"source.path={table}",
        "download.allow_addresses=[127.0.0.1/32]",
        "engines.autoencoder.architecture=strided",
        "engines.autoencoder.input_size=32",
        "engines.autoencoder.training.epochs=1",
        "engines.vgg16.weights=random",
        "engines.vgg16.include_top=false",
        "engines.vgg16.layer=null",
        "engines.vgg16.pooling=avg",
        "engines.vgg16.input_size=32",
    ]
    words = [word for override in overrides for word in ("--set", override)]
    settings = REPOSITORY / "config" / "flipkart.yaml"
    out, talk = run(settings, "build", *words)
    assert (
        "13 rows = 8 available + 2 failed (1 HTTP 404, 1 no photo)"
        " + 3 skipped (2 blank row, 1 duplicate id)"
    ) in run(settings, "info", *words)[0]
    assert "9 images = 8 available + 1 failed (1 HTTP 404)" in out
    assert "first URL" not in talk

    config = load_config(settings, overrides)
    assert verify(config).problems == []
    for engine in config.engines:
        with open_engine(config, engine) as searcher:
            (nearest,) = searcher.search(server.photo(3), k=1).hits
        assert nearest.item.key == "id3"
        assert nearest.item.metadata["category_2"] == "Kind 1"
        assert nearest.item.metadata["retail_price"] == 103
    assert not server.asked("photo/50")


def test_a_build_without_one_photo_says_why_and_what_it_counted(
    tmp_path: Path, server: PhotoServer, command: Command
) -> None:
    settings = write_table(tmp_path / "shop", [server.url(f"status/{n}?is=410") for n in range(3)])
    engines = "engines={autoencoder: {type: autoencoder}}"
    code, out, talk = command("build", "--set", engines, "--config", settings)
    assert code == 1
    assert out == ""
    assert "3 items offered = 3 pending" in talk
    assert "3 images = 3 failed (3 HTTP 410)" in talk
    (error,) = [line for line in talk.splitlines() if line.startswith("imgsearch: ")]
    assert "no photo could be had (3 HTTP 410); see download.md" in error


def test_a_table_that_cannot_be_read_changes_nothing(
    tmp_path: Path, server: PhotoServer, command: Command, run: Run
) -> None:
    settings = write_table(tmp_path / "shop", [server.url("photo/1")])
    run(settings, "ingest")
    before, _ = run(settings, "info")
    table = tmp_path / "shop" / "table.csv"
    table.write_text(table.read_text().replace("id,url", "number,url"))
    code, _, talk = command("ingest", "--config", settings)
    assert code == 1
    assert "no column 'id'" in talk
    assert run(settings, "info")[0] == before
    assert "did not finish" not in before


def test_a_table_without_urls_has_nothing_to_download(tmp_path: Path, run: Run) -> None:
    settings = write_table(tmp_path / "shop", [])
    run(settings, "ingest")
    out, talk = run(settings, "download")
    assert (out, talk.strip()) == ("", "no photos at URLs: nothing to download")


def _urls(server: PhotoServer, number: int) -> str:
    return json.dumps([server.url(f"photo/{number}"), server.url(f"photo/{50 + number}")])
