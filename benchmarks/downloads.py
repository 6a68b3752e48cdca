"""How fast photos are downloaded, against img2dataset and a loop over `requests`.

All fetch the same photos from the same server, another process on this machine, and keep them as
250×250 JPEG files. With the reference data also: Kaggle's table, with URLs of that server.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.config import load_config
from pipeline.maintenance.verify import verify
from pipeline.stages import build

URLS, ROUNDS, CONCURRENCY = 3000, 3, 64
SIDE = 500  # of the photos as they are served, in pixels
LOOPED = 300  # photos are enough to time a loop
LATENCY = {"at once": "photo/{n}.jpg", "after 50 ms": "slow/{n}.jpg?seconds=0.05"}
SERVER = Path(__file__).parents[1] / "tests" / "download" / "photo_server.py"
SETTINGS = """
root: ROOT
name: shop
source: {type: table, path: TABLE, columns: {key: id, image: url}}
download: {concurrency: 64, per_host: 64, allow_addresses: [127.0.0.1/32]}
engines: {vgg16: {type: pretrained, weights: random}}
"""
IMG2DATASET = """
import sys, time
from img2dataset import download
if __name__ == "__main__":
    urls, out, processes, threads = sys.argv[1:]
    began = time.perf_counter()
    download(url_list=urls, output_folder=out, processes_count=int(processes),
             thread_count=int(threads), image_size=250, resize_mode="keep_ratio",
             downscale_interpolation="lanczos", encode_quality=75, number_sample_per_shard=750)
    print(time.perf_counter() - began)
"""
LOOP = """
import io, sys, time
from pathlib import Path
import requests
from PIL import Image
urls, out = sys.argv[1:]
Path(out).mkdir()
began = time.perf_counter()
for number, url in enumerate(Path(urls).read_text().split()):
    image = Image.open(io.BytesIO(requests.get(url).content))
    image.resize((250, 250), Image.Resampling.LANCZOS).save(f"{out}/{number}.jpg", "JPEG")
print(time.perf_counter() - began)
"""


def measure(data: Path | None) -> list[dict[str, object]]:
    """Take turns; compare the best round of each."""
    with tempfile.TemporaryDirectory() as folder:
        foreign = _foreign_python(Path(folder, "foreign"))
        rows: list[dict[str, object]] = [
            {
                "photos": f"{SIDE}×{SIDE}, sent {speed}",
                **_ratios(Path(folder), f"{number}", path, foreign),
            }
            for number, (speed, path) in enumerate(LATENCY.items())
        ]
        if foreign is None:
            rows.append({"skipped": "img2dataset and requests cannot be installed by pip here"})
        return [*rows, _kaggle(Path(folder), data)]


def _foreign_python(folder: Path) -> Path | None:
    """An environment of its own with img2dataset, whose pins are not ours."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    environment = {name: text for name, text in os.environ.items() if name != "PIP_CONSTRAINT"}
    command = [python, "-m", "pip", "install", "--quiet", "img2dataset", "requests", "pillow"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    return None if done.returncode else python


def _ratios(folder: Path, name: str, path: str, foreign: Path | None) -> dict[str, object]:
    with _server("--side", f"{SIDE}") as address:
        urls = [f"{address}/{path.format(n=number)}" for number in range(URLS)]
        rates: dict[str, float] = {}
        for turn in range(ROUNDS):
            place = folder / f"{name}-{turn}"
            place.mkdir()
            found = {"ours": _ours(place, urls)}
            if foreign:
                found["requests"] = _theirs(foreign, LOOP, place, urls[:LOOPED])
                for processes in (1, 2):
                    split = (f"{processes}", f"{CONCURRENCY // processes}")
                    found[f"img2dataset, {processes} processes"] = _theirs(
                        foreign, IMG2DATASET, place, urls, *split
                    )
            rates |= {key: max(rate, rates.get(key, 0.0)) for key, rate in found.items()}
    ours = rates.pop("ours")
    ratios: dict[str, object] = {f"÷ {key}": round(ours / rate, 2) for key, rate in rates.items()}
    return {"photos/s": round(ours), **ratios}


def _ours(place: Path, urls: list[str]) -> float:
    with (place / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "url"], *enumerate(urls)])
    settings = place / "settings.yaml"
    text = SETTINGS.replace("ROOT", str(place / "out")).replace("TABLE", str(place / "table.csv"))
    settings.write_text(text)
    build(load_config(settings), ["ingest"])
    began = time.perf_counter()
    report = build(load_config(settings), ["download"]).download
    seconds = time.perf_counter() - began
    assert report is not None
    assert report.counts == {"available": {"": len(urls)}}, report.counts
    return len(urls) / seconds


def _theirs(python: Path, program: str, place: Path, urls: list[str], *words: str) -> float:
    (place / "urls.txt").write_text("\n".join(urls))
    out = place / f"out-{len(list(place.iterdir()))}"
    (place / "program.py").write_text(program)
    command = [python, place / "program.py", place / "urls.txt", out, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(list(out.rglob("*.jpg"))) == len(urls), done.stdout[-2000:]
    return len(urls) / float(done.stdout.split()[-1])


@contextmanager
def _server(*options: str) -> Iterator[str]:
    command = [sys.executable, str(SERVER), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _kaggle(folder: Path, data: Path | None) -> dict[str, object]:
    """Kaggle's own file, whose hosts have long lost most of its photos, led to a local server."""
    table = data / "flipkart_com-ecommerce_sample.csv" if data else None
    if data is None or table is None or not table.is_file():
        return {"skipped": "Kaggle's table needs the reference data: make bench DATA=its folder"}
    with _server("--folder", str(data / "flipkart-700" / "images")) as address:
        numbers: dict[str, int] = {}

        def led(match: re.Match[str]) -> str:
            number = numbers.setdefault(match[0], len(numbers))
            return f"{address}/photo/{number}.jpg"

        text = table.read_text(encoding="utf-8")
        mapped = folder / "kaggle.csv"
        mapped.write_text(re.sub(r"http://img[^\"]+", led, text), encoding="utf-8")
        settings = Path(__file__).parents[1] / "config" / "flipkart.yaml"
        overrides = [f"root={folder / 'kaggle'}", f"source.path={mapped}"]
        overrides += ["source.images=all", "download.per_host=64"]
        config = load_config(settings, [*overrides, "download.allow_addresses=[127.0.0.1/32]"])
        ingested = build(config, ["ingest"]).ingest
        report = build(config, ["download"])
    assert ingested is not None
    assert report.download is not None
    assert _total(ingested.counts) == ingested.offered
    assert _total(report.download.counts) >= len(numbers)
    return {
        "Kaggle's rows": ingested.offered,
        "states": json.dumps(ingested.counts),
        "images": json.dumps(report.download.counts),
        "different URLs": len(numbers),
        "verify": [p for p in verify(config).problems if "no index" not in p] or "clean",
    }


def _total(counts: Mapping[str, Mapping[str, int]]) -> int:
    return sum(sum(reasons.values()) for reasons in counts.values())
