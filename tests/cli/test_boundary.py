"""boundary.py: whatever the system refuses, a command ends in one line and the next one works."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
    **{name: [name] for name in ("build", "ingest", "download", "train", "embed", "index")},
    **{name: [name] for name in ("info", "verify", "clean", "audit", "config", "compare")},
    **{name: [name, "--no-cost"] for name in ("evaluate", "report")},
    "clean all": ["clean", "--all", "--yes"],
    "query": ["query", "--id", "1", "--grid", "grid.png"],
    "query photo": ["query", "photo.png"],
    "neighbors": ["neighbors", ENGINE, "graph.npy"],
    "parquet": ["neighbors", ENGINE, "graph.parquet"],
    "projector": ["projector", "projector"],
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
        embedding = {"type": "pretrained", "input_size": 4, "resize": "nearest"}
        content = {"recipe": recipe, "embedding": embedding, "dim": 3, "weights": digest(name)}
        return store.publish(content, lambda folder: (folder / WEIGHTS).write_text(name) and None)

    monkeypatch.setattr(pretrained, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    shop.catalog.close()
    shutil.rmtree(shop.folder)
    settings = shop.config.model_dump(mode="json")
    settings["engines"]["other"] = settings["engines"][ENGINE]
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
        self.folder, self.nth, self.number = folder, nth, number
        self.count = 0

    def __call__(self, argument: Any) -> None:
        is_open = isinstance(argument, int)
        path = Path(f"/proc/self/fd/{argument}").readlink() if is_open else Path(argument)
        if path.absolute().is_relative_to(self.folder):
            self.count += 1
            if self.count == self.nth:
                names = () if is_open else (str(path),)
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


WRITERS = ("build", "ingest", "download", "train", "embed", "index", "clean", "clean all")


def prepare(command: str) -> None:
    """Have a command that writes the whole catalog begin from nothing."""
    if command in {"build", "ingest"}:
        shutil.rmtree("shop")


def calls_of(run: Run, command: str, folder: Path) -> list[tuple[str, int]]:
    """Every system call that a command makes in a folder: its name, and which of them it is."""
    prepare(command)
    with ExitStack() as stack:
        counted = {c: stack.enter_context(refusing(c, Refusals(folder))) for c in CALLS}
        code, _, err = run(*COMMANDS[command])
    assert code == 0, err
    if command in WRITERS:
        run("build")
    return [(call, nth + 1) for call in CALLS for nth in range(counted[call].count)]


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
    # A report takes seconds: its maps.
    for command in sorted(COMMANDS if soak else COMMANDS.keys() - {"report"}):
        calls = calls_of(run, command, tmp_path)
        for call, nth in calls if soak else dice.sample(calls, 1):
            number = dice.choice(NUMBERS)
            prepare(command)
            with refusing(call, Refusals(tmp_path, nth, number)):
                code, out, err = run(*COMMANDS[command])
            case = (command, call, nth, errno.errorcode[number], code, err)
            assert "Traceback" not in err, case
            last = err.splitlines()[-1] if err else ""
            is_said = last.startswith("imgsearch: ") or (command == "verify" and out)
            assert code == 0 or (code == 1 and is_said), case
            if command in WRITERS:
                assert run("build")[0] == 0, case
                assert verify(load_config("imgsearch.yaml")).problems == [], case
            assert outcome(tmp_path) == expected, case


def outcome(folder: Path) -> dict[str, object]:
    """What a build makes, and that nothing is left beside it."""
    files = {
        name: data
        for name, data in tree(folder / "shop").items()
        if name.endswith((".npy", ".faiss", ".jpg", ".tmp", "CURRENT"))
    }
    with sqlite3.connect(folder / "shop" / "catalog.sqlite") as database:
        return {**files, "items": database.execute("SELECT id, key, state FROM items").fetchall()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs it puts a built catalog, for the others to copy."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def built(run: Run, whole: Path, tmp_path: Path) -> Run:
    """`run`, on a catalog that is built."""
    if not (whole / "shop").is_dir():
        assert run("build")[0] == 0
        shutil.copytree(tmp_path / "shop", whole / "shop")
    shutil.copytree(whole / "shop", tmp_path / "shop", dirs_exist_ok=True)
    return run


# -- Bugs ------------------------------------------------------------------------------------------


def test_a_bug_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr("pipeline.maintenance.info.catalog_info", buggy)
    monkeypatch.setattr(sys, "argv", ["imgsearch", "info"])
    with pytest.raises(TypeError, match="a bug"):
        main()


# -- Signals ---------------------------------------------------------------------------------------

SLEEPS = """
import _thread, hashlib, os, sys, tempfile, time
from pipeline.cli import main
import pipeline.maintenance.info as info

def wait(_):
    with tempfile.TemporaryDirectory(dir={folder!r}):
        try:
            print("ready", flush=True)
            {sleep}
        finally:
            {then}

info.catalog_info = wait
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cleans_up_and_ends_in_one_line(number: signal.Signals, tmp_path: Path) -> None:
    process = sleeping(tmp_path)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 128 + number
    assert err.startswith("imgsearch: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_second_signal_ends_the_program_at_once(tmp_path: Path) -> None:
    process = sleeping(tmp_path, then="print('cleaning', flush=True); time.sleep(60)")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err == "imgsearch: stopped at once; the next run removes what is unfinished\n"


def test_a_second_signal_ends_it_at_once_while_a_library_runs(tmp_path: Path) -> None:
    # Another thread gets its turn, and says so, once this one runs no Python, for minutes.
    turn = "sys.setswitchinterval(1000); _thread.start_new_thread(os.write, (1, b'within\\n'))"
    code = f"{turn}; hashlib.pbkdf2_hmac('md5', b'', b'', 10**9)"
    process = sleeping(tmp_path, sleep=code)
    assert process.stdout is not None
    assert process.stdout.readline() == "within\n"
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)  # signals that come together are one
    assert process.wait(60) == 143
    assert "stopped at once" in process.communicate()[1]


def test_an_error_that_a_library_makes_of_an_interruption_is_one(tmp_path: Path) -> None:
    process = sleeping(tmp_path, then="raise SystemError('unreported exception')")
    process.send_signal(signal.SIGINT)
    assert "imgsearch: interrupted; what was finished is kept" in process.communicate()[1]
    assert process.returncode == 130


def test_a_signal_in_code_that_a_library_makes_has_its_own_exit_code(tmp_path: Path) -> None:
    process = sleeping(tmp_path, sleep="exec('time.sleep(60)')")  # as dataclasses make theirs
    process.send_signal(signal.SIGTERM)
    assert "imgsearch: terminated; " in process.communicate()[1]
    assert process.returncode == 143


def sleeping(
    folder: Path, then: str = "pass", sleep: str = "time.sleep(60)"
) -> subprocess.Popen[str]:
    """Start `imgsearch info`, which waits in a temporary folder until it is stopped."""
    program = SLEEPS.format(folder=str(folder), then=then, sleep=sleep)
    process = subprocess.Popen(
        [sys.executable, "-c", program, "info"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


# -- stdout ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "utf-8"])
def test_any_text_can_be_written_in_any_encoding(
    encoding: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "naïve 日本 ×"

    def written(*options: str) -> bytes:
        data = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding=encoding))
        assert run("config", "--set", f"root={name}", *options)[0] == 0
        return data.getvalue()

    document = written("--json")
    assert json.loads(document)["root"] == name
    assert document.isascii() is (encoding != "utf-8")
    assert b"root: " + name.encode(encoding, "backslashreplace") in written().replace(b'"', b"")


def test_a_stdout_that_takes_nothing_is_said() -> None:
    with Path("/dev/full").open("wb") as full:
        done = program(["config"], stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith(b"imgsearch: stdout: No space left on device; ")
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_has_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = program(["config"], stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    "options",
    [
        ("query", "--key", "\udcff"),
        ("query", "--id", "1", "--where", "category = '\udcff'"),
        ("query", "--id", "1", "--group-by", "\udcff"),
        ("query", "--id", "1", "--engine", "\udcff"),
        ("query", "\udcff.png"),
        ("evaluate", "--label", "\udcff"),
        ("evaluate", "--product", "\udcff"),
        ("evaluate", "--query-set", "\udcff"),
        ("info", "--set", "name=\udcff"),
        ("info", "--set", "root=\udcff"),
        ("info", "--config", "\udcff.yaml"),
        ("init", "\udcff"),
    ],
)
def test_options_that_are_not_utf_8_are_refused_in_one_line(
    options: tuple[str, ...], built: Run
) -> None:
    code, out, err = built(*options)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("imgsearch: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "options",
    [
        ("query", "--id", f"{2**63}"),
        ("query", "--id", f"{-(2**70)}"),
        ("query", "--id", "1", "-k", f"{2**63}"),
        ("query", "--id", "1", "-k", f"{10**400}"),
        ("query", "--id", "1", "--max-distance", "nan"),
        ("query", "--id", "1", "--min-distance", "1e400"),
        ("query", "--id", "1", "--where", f"category = {10**400}"),
        ("query", "--id", "1", "--where", " and ".join(["id > 0"] * 1000)),
        ("query", "--id", "1", "--where", f"id in ({', '.join(map(str, range(1000)))})"),
        ("neighbors", ENGINE, "graph.npy", "-k", f"{2**70}"),
        ("projector", "projected", "--limit", f"{2**70}"),
        ("projector", "projected", "--seed", f"{2**70}"),
        ("evaluate", "--no-cost", "--seed", f"{2**70}"),
        ("evaluate", "--no-cost", "--queries", f"{2**70}"),
        ("evaluate", "--no-cost", "--resamples", f"{2**60}"),
        ("compare", "--sample", f"{2**70}"),
        ("compare", "--seed", f"{2**70}"),
        ("compare", "-k", f"{2**70}"),
        ("audit", "--side", f"{2**70}"),
        ("audit", "--items", f"{2**70}"),
        ("audit", "--examples", f"{2**70}"),
        ("audit", "--sharpness", "nan"),
        (
            "build",
            "--set",
            f"embedding.batch_size={2**62}",
            "--set",
            f"embedding.shard_size={2**62}",
        ),
        ("index", "--set", f"index.keep_publications={2**70}"),
        ("info", "--set", f"images.max_pixels={2**70}"),
    ],
)
def test_a_number_of_any_size_is_taken_or_refused_in_one_line(
    options: tuple[str, ...], built: Run
) -> None:
    code, _, err = built(*options)
    assert "Traceback" not in err
    assert code in (0, 1, 2)
    assert code == 0 or "imgsearch: " in err.splitlines()[-1] or "Invalid value" in err


def program(arguments: Sequence[str], stdout: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
