"""Real files and a real ledger, on a clock that is made up: nothing here sleeps.

Each scene says at which second what happens to the files, while the watch looks at them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pipeline import stages
from pipeline.catalog.catalog import Catalog, State
from pipeline.config import Config
from pipeline.errors import SourceError
from pipeline.progress import SILENT
from pipeline.stages import BuildReport
from pipeline.watch.loop import Watcher
from pipeline.watch.target import CatalogTarget
from tests.conftest import png

Action = Callable[[], object]
PHOTOS = [png((n, 50, 100), (64 + n, 64)) for n in range(20)]
OLD = 1_000_000_000  # a time long ago, in seconds since 1970


class Scene:
    """A folder that is watched, and every state that the ledger had of it."""

    def __init__(self, root: Path, **source: object) -> None:
        self.folder = root / "photos"
        self.folder.mkdir()
        settings = {
            "root": str(root / "indexes"),
            "source": {"type": "folder", "path": str(self.folder), **source},
            "watch": {"every": 2, "quiet": 3, "at_most": 30},
        }
        self.config = Config.model_validate(settings)
        self.now = 0.0
        self.reports: list[BuildReport] = []
        self.ledgers: list[dict[str, tuple[int, State, str]]] = []
        self.said: list[str] = []

    def put(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def append(self, name: str, data: bytes) -> None:
        with (self.folder / name).open("ab") as file:
            file.write(data)

    def play(self, actions: Iterable[tuple[float, Action]], seconds: float = 150) -> None:
        """Watch the folder while things happen to it."""
        target = CatalogTarget.of(self.config, SILENT)
        watch = Watcher(self.config.watch, target, self, clock=lambda: self.now)
        waiting = sorted(actions, key=lambda action: action[0])
        while self.now < seconds:
            until = self.now + watch.step().seconds
            while waiting and waiting[0][0] <= until:
                waiting.pop(0)[1]()
            self.now = until

    def built(self, report: BuildReport, seconds: float) -> None:
        self.reports.append(report)
        with Catalog(self.config.folder) as catalog:
            self.ledgers.append(
                {
                    key: (number, State(state), reason)
                    for number, key, state, reason in catalog.select(
                        "SELECT id, key, state, reason FROM items"
                    )
                }
            )

    def failure(self, error: Exception) -> str:
        return str(error)

    def note(self, text: str) -> None:
        self.said.append(text)

    def states(self, key: str) -> list[tuple[State, str]]:
        """The states of an item after each build that found it in another state."""
        found = [ledger[key][1:] for ledger in self.ledgers if key in ledger]
        return [state for n, state in enumerate(found) if n == 0 or state != found[n - 1]]


@pytest.fixture(autouse=True)
def only_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let builds end with their first stage."""
    build = stages.build

    def ingest_only(config: Config, **options: object) -> BuildReport:
        return build(config, ("ingest",), **options)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "build", ingest_only)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A folder with two photos, which are old."""
    made = Scene(tmp_path)
    for n, name in enumerate(("a.png", "b.png")):
        made.put(name, PHOTOS[n])
        os.utime(made.folder / name, (OLD, OLD))
    return made


AVAILABLE = (State.AVAILABLE, "")


def test_a_photo_that_is_written_in_pieces_is_ingested_once(scene: Scene) -> None:
    size = len(PHOTOS[5]) // 10 + 1
    pieces = [PHOTOS[5][n * size : (n + 1) * size] for n in range(10)]
    scene.play([(20 + n, lambda n=n: scene.append("new.png", pieces[n])) for n in range(10)])
    assert scene.states("new.png") == [AVAILABLE]
    assert len(scene.reports) == 2


def test_a_photo_whose_writing_pauses_is_ingested_once(scene: Scene) -> None:
    half = len(PHOTOS[5]) // 2
    scene.play(
        [
            (20, lambda: scene.put("new.png", b"")),
            (29, lambda: scene.append("new.png", PHOTOS[5][:half])),
            (30, lambda: scene.put("other.png", PHOTOS[6])),
            (49, lambda: scene.append("new.png", PHOTOS[5][half:])),
        ]
    )
    assert scene.states("new.png") == [AVAILABLE]
    assert "other.png" in scene.ledgers[1]  # which did not wait for it
    assert len(scene.reports) == 3


def test_a_photo_that_stays_truncated_is_rejected_in_the_end(scene: Scene) -> None:
    half = len(PHOTOS[5]) // 2
    scene.play([(20, lambda: scene.put("new.png", PHOTOS[5][:half]))])
    assert scene.states("new.png") == [(State.REJECTED, "truncated")]


def test_a_photo_that_was_truncated_long_ago_is_rejected_at_once(scene: Scene) -> None:
    scene.put("new.png", PHOTOS[5][: len(PHOTOS[5]) // 2])
    os.utime(scene.folder / "new.png", (OLD, OLD))
    scene.play([], seconds=10)
    assert scene.states("new.png") == [(State.REJECTED, "truncated")]


def test_a_file_in_the_making_is_no_photo_before_it_is_renamed(scene: Scene) -> None:
    half = len(PHOTOS[5]) // 2
    part = scene.folder / "new.png.part"
    scene.play(
        [
            (20, lambda: scene.put(part.name, PHOTOS[5][:half])),
            (60, lambda: scene.put("other.png", PHOTOS[6])),
            (90, lambda: scene.append(part.name, PHOTOS[5][half:])),
            (91, lambda: part.rename(scene.folder / "new.png")),
        ]
    )
    assert scene.states("new.png") == [AVAILABLE]
    assert not any(part.name in ledger for ledger in scene.ledgers)
    assert len(scene.reports) == 3


def test_a_copy_over_a_photo_changes_it_once(scene: Scene) -> None:
    half = len(PHOTOS[5]) // 2
    scene.play(
        [
            (20, lambda: scene.put("a.png", PHOTOS[5][:half])),
            (22, lambda: scene.append("a.png", PHOTOS[5][half:])),
            (40, (scene.folder / "b.png").unlink),
            (41, lambda: scene.put("b.png", PHOTOS[6])),
        ]
    )
    assert scene.states("a.png") == scene.states("b.png") == [AVAILABLE]
    assert len(scene.reports) == 3
    assert len({ledger["b.png"][0] for ledger in scene.ledgers}) == 1
    with Catalog(scene.config.folder) as catalog:
        widths = {image.uri: image.width for image in catalog.images(scene.ledgers[0]["a.png"][0])}
    assert widths == {"a.png": 64 + 5}


def test_a_photo_that_is_renamed_and_moved_keeps_its_item(scene: Scene) -> None:
    (scene.folder / "caps").mkdir()
    scene.play(
        [
            (20, lambda: (scene.folder / "a.png").rename(scene.folder / "c.png")),
            (21, lambda: (scene.folder / "b.png").rename(scene.folder / "a.png")),
            (22, lambda: (scene.folder / "c.png").rename(scene.folder / "caps" / "c.png")),
        ]
    )
    first, last = scene.ledgers
    assert last == {"caps/c.png": first["a.png"], "a.png": first["b.png"]}


def test_an_item_stays_as_it_is_while_others_are_built_and_it_is_being_written(
    scene: Scene,
) -> None:
    half = len(PHOTOS[5]) // 2
    halves = [PHOTOS[5][:half], PHOTOS[5]]
    writing = [(20 + n, lambda n=n: scene.put("a.png", halves[n % 2])) for n in range(60)]
    scene.play([*writing, (25, lambda: scene.put("other.png", PHOTOS[6]))])
    assert {state for state, _ in scene.states("a.png")} == {State.AVAILABLE}
    assert "other.png" in scene.ledgers[1]
    assert scene.states("a.png")[-1] == AVAILABLE


def test_a_photo_that_comes_or_goes_after_the_look_waits_for_the_next_build(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look and the reading of the folder, as when weights are loaded first."""
    build, half = stages.build, len(PHOTOS[5]) // 2

    def late(config: Config, **options: object) -> BuildReport:
        if scene.reports == []:
            scene.put("new.png", PHOTOS[5][:half])
            scene.put("b.png", PHOTOS[6][:half])
        if len(scene.reports) == 1:
            (scene.folder / "a.png").rename(scene.folder / "c.png")
        return build(config, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "build", late)
    scene.play(
        [
            (10, lambda: scene.put("new.png", PHOTOS[5])),
            (10, lambda: scene.put("b.png", PHOTOS[6])),
        ]
    )
    assert scene.states("new.png") == scene.states("b.png") == [AVAILABLE]
    kept = scene.ledgers[1]["a.png"]
    assert kept[1] is State.AVAILABLE
    assert "c.png" not in scene.ledgers[1]
    assert scene.ledgers[-1]["c.png"] == scene.ledgers[0]["a.png"]


def test_a_photo_that_goes_just_before_a_build_of_others_waits_for_the_next(scene: Scene) -> None:
    writing = [(20 + n, lambda n=n: scene.put("new.png", PHOTOS[n % 20])) for n in range(60)]
    going = [(n, (scene.folder / "b.png").unlink) for n in (49,)]
    scene.play([*writing, (21, lambda: scene.put("other.png", PHOTOS[6])), *going])
    assert "other.png" in scene.ledgers[1]
    assert scene.ledgers[1]["b.png"][1] is State.AVAILABLE
    assert scene.ledgers[-1]["b.png"][1] is State.REMOVED


def test_a_folder_that_is_away_is_said_once_and_found_again(scene: Scene) -> None:
    away = scene.folder.with_name("away")
    scene.play(
        [
            (20, lambda: scene.folder.rename(away)),
            (60, scene.folder.mkdir),  # as a drive leaves it that is not mounted
            (100, scene.folder.rmdir),
            (100, lambda: away.rename(scene.folder)),
        ],
        seconds=110,
    )
    gone, empty, back = scene.said
    assert "held, nothing was changed: " in gone
    assert "no such folder" in gone
    assert "no photos below it" in empty
    assert "`imgsearch publish --accept-removals`" in empty
    assert back == "works again"
    assert scene.states("a.png") == scene.states("b.png") == [AVAILABLE]


def test_a_folder_that_is_not_there_when_the_first_catalog_is_made_is_an_error(
    scene: Scene,
) -> None:
    scene.folder.rename(scene.folder.with_name("away"))
    with pytest.raises(SourceError, match="no such folder"):
        CatalogTarget.of(scene.config, SILENT)


def test_a_table_is_read_when_it_is_written_and_not_before(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("id,url\n1,https://shop.example/1.jpg\n")
    columns = {"key": "id", "image": "url"}
    scene = Scene(tmp_path, type="table", path=str(table), columns=columns)
    rows = [f"{n},https://shop.example/{n}.jpg\n" for n in range(2, 9)]

    def write(row: str) -> None:
        with table.open("a") as file:
            file.write(row)

    scene.play([(20 + n, lambda row=row: write(row)) for n, row in enumerate(rows)])
    assert [len(ledger) for ledger in scene.ledgers] == [1, 8]


def test_a_folder_and_its_metadata_are_built_together(tmp_path: Path) -> None:
    scene = Scene(tmp_path, metadata={"file": "../rows.csv", "key": "file"})
    table = tmp_path / "rows.csv"
    table.write_text("file\na\nb\n")
    for n, name in enumerate(("a.png", "b.png")):
        scene.put(name, PHOTOS[n])
    scene.play(
        [
            (20, lambda: table.write_text("file\na\n")),
            (22, lambda: (scene.folder / "b.png").rename(scene.folder / "c.png")),
            (24, lambda: table.write_text("file\na\nc\n")),
        ]
    )
    assert len(scene.reports) == 2
    assert [ledger.keys() for ledger in scene.ledgers] == [{"a.png", "b.png"}, {"a.png", "c.png"}]
    assert scene.ledgers[1]["c.png"] == scene.ledgers[0]["b.png"]
