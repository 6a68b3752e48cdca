"""boundary.py: whatever the system refuses, a command ends in one line and the next one works."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts import digest
from pipeline.cli import main
from pipeline.config import load_config
from pipeline.maintenance.verify import verify
from pipeline.models import pretrained
from pipeline.models.store import WEIGHTS, ModelFolder, ModelStore
from tests.conftest import ENGINE, Shop, tree

NUMBERS = (
    *(errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ELOOP, errno.EMFILE, errno.ENFILE),
    *(errno.ENAMETOOLONG, errno.ENOENT, errno.ENOMEM, errno.ENOSPC, errno.EPERM, errno.EROFS),
    *(errno.ESTALE, errno.ETIMEDOUT),
)
CALLS = ("open", "replace", "rename", "fsync", "mkdir", "scandir", "stat", "unlink", "write")
COMMANDS = {
    **{name: [name] for name in ("build", "info", "verify", "clean", "audit", "config", "report")},
    **{name: [name] for name in ("ingest", "download", "train", "embed", "index", "evaluate")},
    "clean all": ["clean", "--all", "--yes"],
    "query": ["query", "--id", "1", "--grid", "grid.png"],
    "query photo": ["query", "photo.png"],
    "neighbors": ["neighbors", ENGINE, "graph.npy"],
    "parquet": ["neighbors", ENGINE, "graph.parquet"],
    "projector": ["projector", "projector"],
    "compare": ["compare"],
    "init": ["init", "photos", "--out", "made.yaml"],
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    shop: Shop, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Run commands on a small catalog in the current folder; their models load no network."""

    def fetch(name: str, settings: object, store: ModelStore, progress: object) -> ModelFolder:
        recipe = {**pretrained.recipe(settings), "obtained": True}  # type: ignore[arg-type]
        embedding = {"input_size": 4, "resize": "nearest"}
        content = {"recipe": recipe, "embedding": embedding, "dim": 3, "weights": digest(name)}
        return store.publish(content, lambda folder: (folder / WEIGHTS).write_text(name) and None)

    monkeypatch.setattr(pretrained, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    shop.catalog.close()
    shutil.rmtree(shop.folder)
    settings = shop.config.model_dump(mode="json")
    settings["source"] = {"type": "sample", "photos": 6, "near_duplicates": 1, "size": 16}
    Path("imgsearch.yaml").write_text(str(settings).replace("None", "null"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["imgsearch", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capfd.readouterr()

    return run


class Refusals:
    """Counts the system calls of a kind that touch a folder; one of them may fail."""

    def __init__(self, folder: Path, nth: int = 0, number: int = 0) -> None:
        self.folder, self.nth, self.number = str(folder), nth, number
        self.count = 0

    def __call__(self, argument: Any) -> None:
        path = (
            Path(f"/proc/self/fd/{argument}").readlink() if isinstance(argument, int) else argument
        )
        if os.fspath(path).startswith(self.folder):
            self.count += 1
            if self.count == self.nth:
                names = () if isinstance(argument, int) else (str(path),)
                raise OSError(self.number, os.strerror(self.number), *names)


@contextmanager
def refusing(call: str, refusals: Refusals) -> Iterator[Refusals]:
    """Ask `refusals` before each such call of `os`, or what stands for it in `io`."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (os, io) if call == "open" else (os,):
            real = getattr(module, call)

            def refused(first: Any, *args: Any, _real: Any = real, **named: Any) -> Any:
                refusals(first)
                return _real(first, *args, **named)

            patch.setattr(module, call, refused)
        yield refusals


def prepare(command: str) -> None:
    """Have a command that writes the catalog begin from nothing."""
    if command in {"build", "ingest"}:
        shutil.rmtree("shop")


@pytest.mark.soak
def test_whatever_the_system_refuses_is_one_line_and_loses_nothing(
    soak: bool, run: Run, tmp_path: Path
) -> None:
    assert run("build")[0] == 0
    photo = next(Path("shop/images").glob("*/*"))
    Path("photos").mkdir()
    for place in ("photo.png", "photos"):
        shutil.copy(photo, place)
    expected = outcome(tmp_path)
    dice = random.Random(5)
    for command, arguments in COMMANDS.items():
        cases = []
        for call in CALLS:
            prepare(command)
            with refusing(call, Refusals(tmp_path)) as counted:
                assert run(*arguments)[0] == 0
            cases += [(call, nth + 1) for nth in range(counted.count)]
            run("build")
        for call, nth in cases if soak else dice.sample(cases, min(2, len(cases))):
            prepare(command)
            number = dice.choice(NUMBERS)
            with refusing(call, Refusals(tmp_path, nth, number)):
                code, out, err = run(*arguments)
            case = (command, call, nth, errno.errorcode[number], code, err)
            assert "Traceback" not in err, case
            assert code in (0, 1), case
            is_said = err.splitlines()[-1:] and err.splitlines()[-1].startswith("imgsearch: ")
            assert code == 0 or is_said or (command == "verify" and out), case
            assert run("build")[0] == 0, case
            assert outcome(tmp_path) == expected, case
            assert verify(load_config("imgsearch.yaml")).problems == [], case


def outcome(folder: Path) -> dict[str, object]:
    """What a build makes, and that nothing is left beside it."""
    files = {
        name: data
        for name, data in tree(folder / "shop").items()
        if name.endswith((".npy", ".faiss", ".jpg", ".tmp", "CURRENT"))
    }
    with sqlite3.connect(folder / "shop" / "catalog.sqlite") as database:
        return {**files, "items": database.execute("SELECT id, key, state FROM items").fetchall()}
