"""The worked examples of CONTRIBUTING.md, run from its text.

Each is applied to a copy of the package as a newcomer would apply it: new files are written, and
lines are put where the page says.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(python|diff)\n# (pipeline/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
USES_NEW_INDEX = """
import sys
from pathlib import Path

import numpy as np

from pipeline import models
from pipeline.config import IndexSettings
from pipeline.index import open_index, write_index
from pipeline.search.query import Item
from tests.conftest import ENGINE, ColorModel, Shop
from tests.oracles.nearest import check

models.load = lambda name, folder, **_: ColorModel(name, fingerprint=folder.fingerprint)
folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
centers = 30 * rng.standard_normal((8, 12))
xb = (centers[rng.integers(0, 8, 400)] + rng.standard_normal((400, 12))).astype(np.float32)
xb[50:60] = xb[40:50]  # equal distances
xq = np.concatenate([xb[:20], xb[20:40] + np.float32(0.5)])
few_rows = np.array([7, 8])  # fewer than k
(folder / "index").mkdir()
write_index("pivot", folder / "index", *xb.shape, [(np.arange(400), xb)])
pivot, flat = open_index("pivot", folder / "index"), open_index("flat", folder / "index")
for k, allowed in ((1, None), (10, None), (500, None), (5, np.arange(0, 400, 3)), (3, few_rows)):
    check(pivot, xb, xq, k, allowed)
    ours, theirs = pivot.search(xq, k, allowed), flat.search(xq, k, allowed)
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_array_equal(ours.distances, theirs.distances)
assert np.median(pivot.search(xq, 3).verified) < 200, "nothing is skipped"
pivot.close()
flat.close()

colors = {f"item {n}": [(n * 7, n * 3, 255 - n)] for n in range(30)}
answers = {}
for kind in ("flat", "pivot"):
    shop = Shop(folder / kind)
    shop.config = shop.config.model_copy(update={"index": IndexSettings(type=kind)})
    build = shop.build(colors)
    assert build.manifest["index"]["type"] == kind
    with shop.searcher() as searcher:
        hits = [searcher.search(Item(item), 5).hits for item in range(1, 31)]
    answers[kind] = [[(hit.item.key, hit.distance) for hit in row] for row in hits]
    shop.catalog.close()
assert answers["pivot"] == answers["flat"]
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package, changed as CONTRIBUTING.md says."""
    folder = tmp_path_factory.mktemp("contributing")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pipeline", folder / "pipeline", ignore=ignored)
    for language, name, text in BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text()):
        file = folder / name
        if language == "python":
            assert not file.exists()
            file.write_text(text)
        else:
            _apply(file, text)
    return folder


def _apply(file: Path, diff: str) -> None:
    """Replace the lines that a diff shows without a plus by those that it shows without a minus."""
    lines = diff.splitlines()
    before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    text = file.read_text()
    assert text.count(before) == 1, f"{file.name} has changed: CONTRIBUTING.md shows\n{before}"
    file.write_text(text.replace(before, after))


def _python(changed: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{changed}{os.pathsep}{ROOT}"}
    command = [sys.executable, *words]
    ran = subprocess.run(
        command, env=environment, cwd=changed, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_source_of_the_example_is_ingested(changed: Path, tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as photos:
        for number in range(4):
            file = io.BytesIO()
            Image.new("RGB", (32, 32), (60 * number, 90, 30)).save(file, "PNG")
            photos.writestr(f"category {number % 2}/photo {number}.png", file.getvalue())
        photos.writestr("category 0/notes.txt", b"no photo")
    settings = ["--set", f"source={{type: zip, path: {archive}}}", "--set", f"root={tmp_path}"]
    report = json.loads(_python(changed, "-m", "pipeline", "ingest", "--json", *settings))
    assert report["ingest"]["offered"] == 5
    assert report["ingest"]["states"] == {"available": {"": 4}, "rejected": {"not an image": 1}}
    assert "the archive" in _python(changed, "-m", "pipeline", "config", *settings)


def test_the_index_of_the_example_finds_what_flat_finds(changed: Path, tmp_path: Path) -> None:
    _python(changed, "-c", USES_NEW_INDEX, str(tmp_path))
