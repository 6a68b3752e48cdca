"""Every file of a catalog, damaged in every way: no query answers wrongly, and repair mends it."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline import artifacts, models
from pipeline.artifacts import remove, write_sealed
from pipeline.config import Config, PretrainedSettings
from pipeline.errors import NotBuiltError, PipelineError
from pipeline.maintenance.repair import repair
from pipeline.maintenance.verify import verify
from pipeline.models import pretrained
from pipeline.models.store import (
    HISTORY,
    LOSS_PICTURE,
    RECONSTRUCTION_ERRORS,
    WEIGHTS,
    ModelFolder,
    ModelStore,
)
from pipeline.search.query import Item
from pipeline.stages import build
from tests.conftest import Color, ColorModel, png

SAMPLE = 24  # damages tried, of all
ITEMS = 12
EMBEDDING = {"type": "pretrained", "input_size": 4, "resize": "nearest"}
Damage = Callable[[Path], object]


def flip(path: Path) -> None:
    """Change one bit somewhere, and set back the time of modification."""
    status, data = path.stat(), bytearray(path.read_bytes())
    bit = random.Random(path.name).randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: list[Damage] = [flip, truncate, empty, Path.unlink, replace_by_folder, replace_by_fifo]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """A built catalog of drawn photos and one engine whose model sees colors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "fetch", fetch)
        patch.setattr(models, "load", load)
        root = tmp_path_factory.mktemp("damage")
        built = Config.model_validate(
            {
                "name": "shop",
                "root": str(root / "pristine"),
                "source": {"type": "sample", "photos": ITEMS, "near_duplicates": 2, "size": 48},
                "engines": {"color": {"type": "pretrained", "weights": "random"}},
                "embedding": {"shard_size": 5},
                "index": {"keep_publications": 2},
                "search": {"collapse": True},
            }
        )
        older = {"type": "sample", "photos": ITEMS - 2, "near_duplicates": 2, "size": 48}
        build(Config.model_validate({**built.model_dump(), "source": older}))
        build(built)
        write_summary(built.folder)
        yield built


def fetch(_name: str, settings: PretrainedSettings, store: ModelStore, *_: object) -> ModelFolder:
    """Publish a model with the files that a trained one has."""
    content = {"recipe": models.recipe(settings), "embedding": EMBEDDING, "dim": 3, "weights": "w"}

    def write(folder: Path) -> None:
        for name in (WEIGHTS, HISTORY, LOSS_PICTURE):
            (folder / name).write_bytes(f"all of {name}".encode())
        np.save(folder / "training.npy", np.zeros((2, 32), np.uint8))
        np.save(folder / RECONSTRUCTION_ERRORS, np.zeros((40, 2), np.float32))

    return store.publish(content, write)


def load(name: str, folder: ModelFolder, **_: object) -> ColorModel:
    folder.check(WEIGHTS)
    return ColorModel(name, fingerprint=folder.fingerprint)


def write_summary(folder: Path) -> None:
    """What a download leaves for people, of a catalog without downloads."""
    page = b"# nothing was downloaded\n"
    checksum = {"page_sha256": hashlib.sha256(page).hexdigest()}
    write_sealed(folder / "download.json", checksum)
    (folder / "download.md").write_bytes(page)


def copy_of(config: Config, root: Path) -> Config:
    """A copy of the catalog, with a configuration of its own."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(config.root, root)
    return config.model_copy(update={"root": root})


def answers(config: Config) -> list[object]:
    """What a few queries of each kind find, or the line that each ends in."""
    found: list[object] = []
    for query in (Item(1), Item(3), Item(ITEMS), png((200, 30, 60), (20, 20))):
        try:
            with pipeline.open(config) as searcher:
                (result,) = searcher.search(query, 4).engines.values()
        except PipelineError as error:
            found.append(str(error))
        else:
            hits = [
                (hit.item.key, hit.item.name, hit.distance, hit.percentile) for hit in result.hits
            ]
            found.append((hits, result.no_match))
    return found


def follow(config: Config, lines: list[str]) -> None:
    """Do what the lines say, as a person would."""
    for line in lines:
        if deleted := re.search(r"^(\S+?): .*; delete (\S+) and run `imgsearch (\w+)`$", line):
            remove(Path(deleted[1] if deleted[2] == "it" else deleted[2]))
        elif "`imgsearch repair`" in line:
            repair(config)
        else:
            assert line.endswith("; run `imgsearch build`"), line
    build(config)


def outcome(config: Config, file: Path, damage: Damage, expected: list[object], by: str) -> str:
    """Damage a file, ask, verify, mend; return what went wrong, or an empty text."""
    damage(config.root / file)
    for answer, right in zip(answers(config), expected, strict=True):
        if answer != right and not isinstance(answer, str):
            return f"answered {answer}"
    lines = problems(config)
    if not lines:
        return "not found"
    for _ in range(3):  # one problem may hide others
        if lines:
            follow(config, lines) if by == "hand" else repair(config)
            lines = problems(config)
    if lines:
        return f"left: {lines}"
    return "" if answers(config) == expected else "mended, but the answers are others"


def problems(config: Config) -> list[str]:
    try:
        return [str(problem) for problem in verify(config).problems]
    except NotBuiltError as error:
        return [str(error)]


@pytest.mark.soak
def test_each_damage_is_found_and_mended_and_answers_nothing_wrong(
    config: Config, tmp_path: Path, soak: bool
) -> None:
    expected = answers(config)
    assert all(isinstance(answer, tuple) for answer in expected), expected
    cases = list(itertools.product(files_of(config), DAMAGES, ("hand", "repair")))
    if not soak:
        cases = random.Random(5).sample(cases, SAMPLE)
    wrong = {}
    for file, damage, by in cases:
        case = f"{file} {damage.__name__} {by}"
        wrong[case] = outcome(copy_of(config, tmp_path / "copy"), file, damage, expected, by)
    assert {case: fault for case, fault in wrong.items() if fault} == {}


def files_of(config: Config) -> list[Path]:
    """Every file below the catalog's folder, relative to its parent."""
    files = (path for path in config.root.rglob("*") if path.is_file() and path.name != ".lock")
    return sorted(path.relative_to(config.root) for path in files)


@pytest.mark.parametrize("damage", [Path.unlink, replace_by_folder, replace_by_fifo])
def test_a_segment_without_its_vectors_is_made_again(
    config: Config, tmp_path: Path, damage: Damage
) -> None:
    here = copy_of(config, tmp_path / "copy")
    expected = answers(here)
    damage(next(here.root.rglob("index.faiss")))
    assert repair(here).left == []
    assert answers(here) == expected


def test_a_photo_of_the_same_size_and_time_is_read_again(config: Config, tmp_path: Path) -> None:
    def bmp(color: Color) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (20, 20), color).save(file, "BMP")
        return file.getvalue()

    photos = [tmp_path / "photos" / name for name in ("a.bmp", "b.bmp")]
    photos[0].parent.mkdir()
    for photo in photos:
        photo.write_bytes(bmp((200, 0, 0)))
    source = {"type": "folder", "path": str(photos[0].parent)}
    here = Config.model_validate({**config.model_dump(), "root": tmp_path, "source": source})
    build(here)
    before = photos[1].stat()
    photos[1].write_bytes(bmp((0, 0, 200)))
    os.utime(photos[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    (problem,) = verify(here).problems
    assert str(problem).startswith(f"{photos[1]}: the photo has changed since it was ingested; run")
    done = repair(here)
    assert (done.mended, done.left) == ([problem], [])
    with pipeline.open(here) as searcher:
        assert searcher.search(Item(1), 1)["color"].hits[0].distance > 100


def test_what_cannot_be_read_is_neither_called_damaged_nor_deleted(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = copy_of(config, tmp_path / "copy")
    names = ("index.faiss", "manifest.json", "changes.npy", "catalog.sqlite", "CURRENT", "loss.png")
    opens = os.open
    for name in names:
        refused = next(here.root.rglob(name))

        def refuse(path: object, *args: int, to: Path = refused, **more: int) -> int:
            if path == to:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return opens(path, *args, **more)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(artifacts.os, "open", refuse)
            lines = [line for line in problems(here) if line.startswith(str(refused))]
            assert any("Permission denied; let this user read it" in line for line in lines), name
            assert not any("delete" in line for line in problems(here)), name
            left = repair(here).left
        assert [problem.where for problem in left if problem.where == refused], name
        assert problems(here) == [], name
