"""Killed at any flush or rename of a build that publishes: a whole publication answers."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import pipeline
from pipeline import models
from pipeline.config import Config
from pipeline.models.store import ModelFolder
from pipeline.publish import publish
from pipeline.publish.store import PublicationStore
from pipeline.stages import build
from tests.conftest import ENGINE, ColorModel, Shop, png, tree

SAMPLE = 5  # of the points at which a build is killed
_CHANGES = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir")
_POINTS = ("fsync", "rename", "replace")


class Killed(BaseException):
    """What a process that is killed does not survive."""


@contextmanager
def killed_at(point: int | None) -> Iterator[list[str]]:
    """Raise at the n-th flush or rename, and at all that would change the disk from then on.

    So nothing is tidied up, as by kill -9. Yields what was flushed and renamed.
    """
    done: list[str] = []
    is_dead = False

    def dying(name: str, change: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal is_dead
            if name in _POINTS:
                is_dead = is_dead or len(done) == point
                done.append(name)
            if is_dead:
                raise Killed
            return change(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in _CHANGES:
            patch.setattr(os, name, dying(name, getattr(os, name)))
        yield done


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "toys"
    folder.mkdir(parents=True)
    for n in range(6):
        (folder / f"{n}.png").write_bytes(png((20 * n, 0, 0)))
    return folder


@pytest.fixture
def config(shop: Shop, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A folder of photos that has been published twice, and has changed since."""

    def load(name: str, folder: ModelFolder, **_: object) -> ColorModel:
        return ColorModel(name, fingerprint=folder.fingerprint)

    monkeypatch.setattr(models, "load_on_gpu", load)
    monkeypatch.setattr(publish, "now", lambda: "2027-01-31T12:00:00+00:00")
    settings = shop.config.model_dump(mode="json")
    config = Config.model_validate(
        {**settings, "source": {"type": "folder", "path": str(photos.parent)}}
    )
    embedding = {"type": "pretrained", "input_size": 4, "resize": "nearest"}
    shop.use_model("weights", embedding=embedding)
    shop.catalog.close()
    bring_up_to_date(config)
    (photos / "6.png").write_bytes(png((130, 0, 0)))
    bring_up_to_date(config)
    (photos / "1.png").unlink()
    (photos / "2.png").write_bytes(png((45, 0, 0)))
    (photos / "7.png").write_bytes(png((150, 0, 0)))
    return config


def bring_up_to_date(config: Config) -> None:
    build(config, ("ingest", "embed", "index"))


def answers(config: Config) -> tuple[int, list[tuple[str, str, float]]]:
    with pipeline.open(config) as searcher:
        result = searcher.search(png((0, 0, 0)), 20)
        hits = result[ENGINE].hits
        return result.publication, [(h.item.key, str(h.photo), h.distance) for h in hits]


def outcome(config: Config) -> dict[str, object]:
    """All that is on the disk: bytes, and the rows of the ledger."""
    found: dict[str, object] = {
        name: data
        for name, data in tree(config.folder).items()
        if not name.startswith("catalog.") and not name.endswith("checked.json")
    }
    with closing(sqlite3.connect(config.folder / "catalog.sqlite")) as ledger:
        found["ledger"] = list(ledger.iterdump())
    return found


@pytest.mark.soak
def test_a_publication_that_is_killed_is_whole_or_absent(
    config: Config, tmp_path: Path, soak: bool
) -> None:
    before = answers(config)
    shutil.copytree(config.folder, tmp_path / "before")
    with killed_at(None) as done:
        bring_up_to_date(config)
    after, expected = answers(config), outcome(config)
    assert (before[0], after[0]) == (2, 3)
    assert before[1] != after[1]
    assert len(done) >= 20

    points = range(len(done))
    for point in points if soak else sorted(random.Random(5).sample(points, SAMPLE)):
        shutil.rmtree(config.folder)
        shutil.copytree(tmp_path / "before", config.folder)
        with pytest.raises(Killed), killed_at(point):
            bring_up_to_date(config)
        assert answers(config) in (before, after)
        bring_up_to_date(config)
        assert answers(config) == after
        assert outcome(config) == expected
        assert PublicationStore(config).numbers() == [2, 3]
        assert not [path for path in config.folder.rglob(".*") if path.name != ".lock"]
