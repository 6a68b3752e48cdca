"""What HTTP costs: `imgsearch serve` against the same searches in process, and against Flask.

VGG16 with random weights on the drawn sample; only time and memory count. Flask is measured if it
is installed; it is no dependency of this project.
"""

from __future__ import annotations

import importlib.util
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from http_load import HealthChecks, Target, Timed, forget_peak, memory, service
from PIL import Image

import pipeline
from pipeline.config import load_config

ONCE, SECONDS = 40, 30.0
SETTINGS = """
root: {root}
source: {{type: sample}}
engines:
  vgg16: {{type: pretrained, weights: random}}
serve: {{requests_per_second: null, access_log: "off"}}
"""


def measure(_: Path | None, folder: Path | None = None) -> list[dict[str, object]]:
    """Build a catalog, or take that of an earlier run; ask it in every way."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder or Path(temporary)
        file = folder / "serving.yaml"
        file.write_text(SETTINGS.format(root=folder / "indexes"))
        config = load_config(file)
        pipeline.build(config)
        photos = [path.read_bytes() for path in sorted(config.folder.glob("images/*/*"))[:ONCE]]
        rows = _flask(photos, folder) if importlib.util.find_spec("flask") else []
        with service("-m", "pipeline", "serve", "-c", str(file), "--port", "PORT") as (_, port):
            rows += _compared(config, photos, port)
            rows.append(_overloaded(photos, port))
        with service("-m", "pipeline", "serve", "-c", str(file), "--port", "PORT") as started:
            rows += _memory(*started)
        return rows


def _flask(photos: Sequence[bytes], folder: Path) -> list[dict[str, object]]:
    vectors = folder / "vectors.npy"
    np.save(vectors, np.random.default_rng(0).random((248, 4096), np.float32))
    script = str(Path(__file__).with_name("flask_service.py"))
    with service(script, "PORT", str(vectors)) as (_, port):
        target = Target(port, "/search?k=3")
        target.once(photos[:4])
        alone = _median(target.once(photos))
        rate = _rate(target.clients(photos, 8, SECONDS / 2))
    return [{"Flask: ms a photo": round(1000 * alone, 1), "photos/s of 8 clients": round(rate, 1)}]


def _compared(
    config: pipeline.Config, photos: Sequence[bytes], port: int
) -> list[dict[str, object]]:
    """In turns, photo by photo: in process and over HTTP."""
    search, items = Target(port, "/api/search?k=3"), range(1, ONCE + 1)
    inside, outside, item_inside, item_outside = [], [], [], []
    with pipeline.open(config) as searcher:
        searcher.search(photos[0])
        search.once(photos[:2])
        for photo, item in zip(photos, items, strict=False):
            inside.append(_seconds(lambda p=photo: searcher.search(p, 3)))
            outside += [answer.seconds for answer in search.once([photo])]
            item_inside.append(_seconds(lambda i=item: searcher.search(pipeline.Item(i), 3)))
            similar = Target(port, f"/api/items/{item}/similar?k=3")
            item_outside += [answer.seconds for answer in similar.once([b""], "GET")]
        batch = [len(photos) / _seconds(lambda: list(searcher.search_all(photos, 3)))]
        one = _rate(search.clients(photos, 1, SECONDS / 3))
        eight = _rate(search.clients(photos, 8, SECONDS / 3))
        batch.append(len(photos) / _seconds(lambda: list(searcher.search_all(photos, 3))))
    by_item = 1000 * (np.median(item_outside) - np.median(item_inside))
    return [
        {
            "a photo: ms over HTTP": round(1000 * float(np.median(outside)), 1),
            "÷ in process": round(float(np.median(outside) / np.median(inside)), 3),
            "an item: ms more than in process": round(float(by_item), 2),
        },
        {
            "photos/s of 8 clients": round(eight, 1),
            "÷ a batch in process": round(eight / float(np.mean(batch)), 2),
            "÷ one client": round(eight / one, 2),
        },
    ]


def _overloaded(photos: Sequence[bytes], port: int) -> dict[str, object]:
    target = Target(port, "/api/search?k=3")
    peak = max(_rate(target.clients(photos, n, SECONDS / 3)) for n in (8, 16))
    with HealthChecks(port) as checks:
        answers = target.clients(photos, 64, SECONDS)
    refused = [answer.seconds for answer in answers if answer.status == 503]
    return {
        "64 clients: goodput ÷ peak": round(_rate(answers) / peak, 2),
        "503": len(refused),
        "ms to a 503, p99": round(1000 * float(np.percentile(refused or [0], 99)), 1),
        "ms to /healthz, p99": round(1000 * float(np.percentile(checks.seconds, 99)), 1),
        "neither answered nor refused": sum(a.status not in (200, 503) for a in answers),
    }


def _memory(process: object, port: int) -> list[dict[str, object]]:
    """Peaks above what it takes at rest, in MB; a photo of 50 megapixels takes 150 decoded."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((7071, 7071)).convert("RGB").save(file, "JPEG", quality=90)
    large, target = file.getvalue(), Target(port, "/api/search?k=3")
    target.once([large])
    rows = []
    cases = {
        "40 uploads of 50 megapixels": (40, large),
        "200 uploads of 20 MB that are no photo": (40, b"\xff\xd8\xff" + bytes(19_999_000)),
        "40 uploads that are too large": (40, bytes(21_000_000)),
    }
    for name, (clients, body) in cases.items():
        idle = memory(process)  # type: ignore[arg-type]
        forget_peak(process)  # type: ignore[arg-type]
        answers = target.clients([body], clients, 10.0)
        peak = memory(process, "VmHWM")  # type: ignore[arg-type]
        statuses = sorted({answer.status for answer in answers})
        rows.append({name: f"+{peak - idle:.0f} MB", "requests": len(answers), "got": statuses})
    return rows  # type: ignore[return-value]


def _rate(answers: Sequence[Timed]) -> float:
    """Photos a second, from the first answer to the last."""
    good = [answer for answer in answers if answer.status == 200]
    began = min(answer.at - answer.seconds for answer in good)
    return len(good) / (max(answer.at for answer in good) - began)


def _median(answers: Sequence[Timed]) -> float:
    return float(np.median([answer.seconds for answer in answers]))


def _seconds(work: object) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - began
