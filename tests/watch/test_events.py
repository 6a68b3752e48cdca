"""Events only hint at changes; where there are none, that is said, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
import watchfiles
from watchfiles._rust_notify import WatchfilesRustInternalError

from pipeline.watch.events import hints

PATIENCE = 20  # seconds; it takes a fraction of one


def test_a_change_below_the_folder_sets_the_hint(tmp_path: Path) -> None:
    (tmp_path / "caps").mkdir()
    hint, file, said = Event(), tmp_path / "caps" / "a.jpg", list[str]()
    with hints(tmp_path, hint, said.append, has_tree=True):
        for _ in range(10 * PATIENCE):  # it may not listen yet when the first one is written
            file.write_bytes(b"x")
            if hint.wait(0.1):
                break
    assert hint.is_set()
    assert said == []


@pytest.mark.parametrize(
    "error",
    [
        OSError("OS file watch limit reached. about [photos]"),
        FileNotFoundError("No path was found."),
        WatchfilesRustInternalError("Too many\nopen files"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_system_without_events_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> Iterator[None]:
        raise error

    said, is_said = list[str](), Event()

    def note(text: str) -> None:
        said.append(text)
        is_said.set()

    monkeypatch.setattr(watchfiles, "watch", refuse)
    with hints(tmp_path, Event(), note, has_tree=True):
        assert is_said.wait(PATIENCE)
    reason = " ".join(str(error).split())
    assert said == [f"no events of the system ({reason}): changes are found by looking alone"]
