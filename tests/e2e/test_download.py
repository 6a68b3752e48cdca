"""A table of URLs by the command line: a server that misbehaves, kills, the whole chain."""

from __future__ import annotations

import csv
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline import search
from pipeline.config import load
from pipeline.verify import verify
from tests.photo_server import Expected, PhotoServer, draw, mixed

IMGSEARCH = (sys.executable, "-c", "from pipeline.cli import main; main()")
REPOSITORY = Path(__file__).parents[2]
URLS, KILLS = 2000, 10
# Every photo has 3 s, and 64 are on their way at a time. If all of them took that long:
LONGEST = URLS / 64 * 3.0
SETTINGS = """
root: {root}
name: shop
source: {{type: table, path: {table}, columns: {{key: id, image: url}}}}
download:
  per_host: 64
  attempts: 3
  backoff: 0.05
  connect_timeout: 1
  read_timeout: 1
  total_timeout: 3
  allow_addresses: [127.0.0.1/32]
engines: {{vgg16: {{type: pretrained, weights: random}}}}
"""


@pytest.fixture
def server() -> Iterator[PhotoServer]:
    with PhotoServer([draw(number, 60) for number in range(8)]) as running:
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


def run(settings: Path, *words: str) -> tuple[str, str]:
    process = start(settings, *words)
    out, talk = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, talk
    return out, talk


def ledger(settings: Path, columns: str = "uri, state, reason") -> list[tuple[str, ...]]:
    with sqlite3.connect(load(settings).folder / "catalogue.sqlite") as witness:
        return witness.execute(f"SELECT {columns} FROM images ORDER BY id").fetchall()


def as_rows(expected: Sequence[Expected]) -> list[tuple[str, ...]]:
    return [(one.url, one.state, one.reason) for one in expected]


def test_two_thousand_urls_end_within_their_deadlines_and_add_up(
    tmp_path: Path, server: PhotoServer
) -> None:
    expected = mixed(server, URLS, seed=1)
    settings = write_table(tmp_path / "shop", [one.url for one in expected])
    run(settings, "ingest")
    out, talk = run(settings, "download")
    assert ledger(settings) == as_rows(expected)
    states = Counter(one.state for one in expected)
    assert f"2,000 images = {states['available']:,} available + " in out
    assert f"+ {states['rejected']:,} rejected (" in out
    assert "MB" in talk
    assert "--retry-failed" in talk

    folder = load(settings).folder
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

    asked = len(server.requests)
    again, _ = run(settings, "download")
    assert again == out
    assert len(server.requests) == asked


def test_ten_kills_change_nothing(tmp_path: Path, server: PhotoServer) -> None:
    expected = mixed(server, 600, seed=2)
    settings = write_table(tmp_path / "shop", [one.url for one in expected])
    run(settings, "ingest")
    dice = random.Random(3)
    kills = 0
    while kills < KILLS:
        process = start(settings, "download")
        time.sleep(dice.uniform(0.3, 1.5))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        # What was committed is never undone, and there is a file for each photo that came.
        for path, state in ledger(settings, "path, state"):
            assert state != "available" or (load(settings).folder / path).is_file()
        if all(state != "pending" for (state,) in ledger(settings, "state")):
            with sqlite3.connect(load(settings).folder / "catalogue.sqlite") as again:
                again.execute("UPDATE images SET state = 'pending', tried_at = NULL")
    run(settings, "download")
    assert ledger(settings) == as_rows(expected)
    folder = load(settings).folder
    assert not [path for path in folder.rglob(".*") if path.name != ".lock"]
    stored = {path.relative_to(folder).as_posix() for path in folder.glob("images/*/*")}
    assert stored == {path for (path,) in ledger(settings, "path") if path}


def test_the_articles_settings_take_a_table_to_two_indexes(
    tmp_path: Path, server: PhotoServer
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

    config = load(settings, overrides)
    assert verify(config).problems == []
    for engine in config.engines:
        with search.open(config, engine) as searcher:
            (nearest,) = searcher.query(server.photo(3), k=1)
        assert nearest.key == "id3"
        assert nearest.metadata["category_2"] == "Kind 1"
        assert nearest.metadata["retail_price"] == 103
    assert not server.asked("photo/50")


def _urls(server: PhotoServer, number: int) -> str:
    return json.dumps([server.url(f"photo/{number}"), server.url(f"photo/{50 + number}")])
