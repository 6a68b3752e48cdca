"""projector.py: what TensorBoard would read, against FAISS, SQLite and the photos themselves."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest
import yaml
from PIL import Image

from pipeline.catalog.ingest import ingest
from pipeline.cli import main
from pipeline.errors import QueryError
from pipeline.images import ImageLimits
from pipeline.report import projector
from pipeline.report.photo_sample import grid_side
from pipeline.report.projector import Export, export, may_be_text, tile_side
from pipeline.sources.base import SourceItem, SourcePhoto
from tests.conftest import Color, ListSource, Shop, png, tree
from tests.engines import Fair, Opener, Thing, open_fair

__all__ = ["open_fair"]

RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)
COLORS: list[Color] = [(20 * n, 250 - 20 * n, 7 * n % 250) for n in range(12)]
Embedding = dict[str, Any]


# -- What TensorBoard does, written afresh ---------------------------------------------------------


def read_config(folder: Path) -> list[Embedding]:
    """The embeddings in `projector_config.pbtxt`: protobuf's text format, a field a line."""
    embeddings: list[Embedding] = []
    for line in (folder / "projector_config.pbtxt").read_text("utf-8").splitlines():
        if line == "embeddings {":
            embeddings.append({"tensor_shape": [], "single_image_dim": []})
        elif field := re.fullmatch(r' *(\w+): (?:"([^"\\]*)"|(\d+))', line):
            name, text, number = field.groups()
            if number is None:
                assert name not in embeddings[-1]
                embeddings[-1][name] = text
            else:
                embeddings[-1][name].append(int(number))
        else:
            assert line.strip() in ("sprite {", "}")
    return embeddings


def read_vectors(folder: Path, embedding: Embedding) -> npt.NDArray[np.float32]:
    """As `projector_plugin.py` does: text, and if it cannot be decoded, float32 of that shape."""
    file = folder / embedding["tensor_path"]
    try:
        with file.open(encoding="utf-8") as lines:
            rows = [list(map(float, line.rstrip("\n").split("\t"))) for line in lines]
        vectors = np.array(rows, np.float32)
    except UnicodeDecodeError:
        vectors = np.fromfile(file, np.float32).reshape(embedding["tensor_shape"])
    assert list(vectors.shape) == embedding["tensor_shape"]
    return vectors


def read_metadata(folder: Path) -> list[dict[str, str]]:
    r"""As the page does: lines end at \n, cells at tabs, the first line is the heading."""
    text = (folder / "metadata.tsv").read_bytes().decode("utf-8")
    assert text.endswith("\n")
    heading, *rows = [line.split("\t") for line in text[:-1].split("\n")]
    assert len(text.splitlines()) == 1 + len(rows)  # nothing else ends a line either
    assert len(set(heading)) == len(heading) > 1
    return [dict(zip(heading, row, strict=True)) for row in rows]


def read_tiles(folder: Path) -> list[npt.NDArray[np.float64]]:
    """All tiles that there is room for, by the sum that the page's shader does."""
    (width, height), *others = [one["single_image_dim"] for one in read_config(folder)]
    assert all(other == [width, height] for other in others)
    sprite = np.asarray(Image.open(folder / "sprite.jpg"), np.float64)
    assert max(sprite.shape) <= 8192
    per_row, per_column = sprite.shape[1] / width, sprite.shape[0] / height
    places = [(n // per_column, n % per_row) for n in range(int(per_row * per_column))]
    return [
        sprite[int(y) * height : int(y + 1) * height, int(x) * width : int(x + 1) * width]
        for y, x in places
    ]


# -- Catalogs ------------------------------------------------------------------------------------


def picture(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def build(fair: Fair, items: Mapping[str, Sequence[bytes]]) -> None:
    """Take items with these encoded photos through all stages."""
    offers = [
        SourceItem(
            key,
            key.title(),
            "",
            tuple(SourcePhoto(f"{key}-{n}", data=d) for n, d in enumerate(photos)),
        )
        for key, photos in items.items()
    ]
    ingest(ListSource(offers), fair.catalog, ImageLimits())
    for engine in fair.config.engines:
        fair.index(engine)


def one_each(colors: Sequence[Color]) -> dict[str, Thing]:
    return {f"k{n:02}": Thing([color]) for n, color in enumerate(colors)}


def write(fair: Fair, folder: Path, *engines: str, **options: int) -> Export:
    searchers = [fair.searcher(name) for name in engines or fair.config.engines]
    try:
        return export(searchers, folder, **options)
    finally:
        for searcher in searchers:
            searcher.close()


def indexed(fair: Fair, engine: str) -> npt.NDArray[np.float32]:
    """All vectors of an index, as FAISS itself reads the file."""
    (segment,) = (fair.config.folder / engine / "segments").iterdir()
    index = faiss.read_index(str(segment / "index.faiss"))
    vectors: npt.NDArray[np.float32] = index.reconstruct_n(0, index.ntotal)
    return vectors


# -- Vectors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 5, 256])
def test_the_vectors_of_every_engine_are_those_of_its_index(
    open_fair: Opener, tmp_path: Path, block: int
) -> None:
    fair = open_fair("color", "mixed", "red")
    fair.build(one_each(COLORS[1:]))
    written = write(fair, tmp_path / "out", vector_block=block)
    embeddings = read_config(tmp_path / "out")
    assert [one["tensor_name"] for one in embeddings] == ["color", "mixed", "red"]
    for one in embeddings:
        assert np.array_equal(
            read_vectors(tmp_path / "out", one), indexed(fair, one["tensor_name"])
        )
    assert (written.points, written.photos, written.unreadable) == (11, 11, 0)
    assert written.engines == {name: name for name in ("color", "mixed", "red")}


@pytest.mark.parametrize(
    ("engine", "colors", "file"),
    [
        ("color", [(1, 2, 3), (4, 5, 6)], "vectors.bytes"),  # 1.0 is 00 00 80 3f: no letter is 80
        ("color", [(2, 3, 8), (2, 8, 32)], "vectors.tsv"),  # 2.0 is 00 00 00 40, which is UTF-8
        ("color", [(0, 0, 0)], "vectors.tsv"),
        # 0.0, 2.0, 34.5: the last is 00 00 0a 42, and so ends a line in which nothing is wrong.
        ("mixed", [(69, 2, 0), (1, 1, 1)], "vectors.tsv"),
    ],
)
def test_numbers_that_look_like_text_are_written_as_text(
    open_fair: Opener, tmp_path: Path, engine: str, colors: list[Color], file: str
) -> None:
    fair = open_fair(engine)
    fair.build(one_each(colors))
    write(fair, tmp_path / "out")
    (one,) = read_config(tmp_path / "out")
    assert one["tensor_path"] == f"{engine}/{file}"
    assert np.array_equal(read_vectors(tmp_path / "out", one), indexed(fair, engine))


def test_text_holds_every_bit_of_a_number(open_fair: Opener, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    any_bits = rng.integers(0, 2**32, 3000, np.uint32).view(np.float32)
    numbers = any_bits[np.isfinite(any_bits)][:2400].reshape(-1, 3)
    fair = open_fair("color")
    fair.build(one_each([(2, n, 0) for n in range(len(numbers) // 4)]))
    with fair.searcher("color") as searcher, pytest.MonkeyPatch.context() as patch:
        patch.setattr(searcher.index, "vectors", lambda rows: numbers[rows])
        patch.setattr(projector, "may_be_text", lambda start: True)
        export([searcher], tmp_path / "out")
    (one,) = read_config(tmp_path / "out")
    read = read_vectors(tmp_path / "out", one)
    assert np.array_equal(read.view(np.uint32), numbers[: len(read)].view(np.uint32))


@pytest.mark.parametrize(
    ("start", "is_text"),
    [
        (b"", True),
        (b"0.5\t1\n", True),
        ("é".encode(), True),
        ("é".encode()[:1], True),  # the rest of the letter may follow
        ("é".encode()[:1] + b"\n", True),  # taken for such a cut: written as text, to be sure
        (b"\x80", False),
        (b"\x00\x00\x80\x3f\n", False),
        (b"\x00\n\x80", True),  # the first line decides: TensorFlow reads no further
    ],
)
def test_only_what_cannot_be_decoded_at_once_is_numbers(start: bytes, is_text: bool) -> None:
    assert may_be_text(start) == is_text


# -- Metadata --------------------------------------------------------------------------------------


def test_each_point_tells_of_the_first_item_that_shows_its_photo(
    open_fair: Opener, tmp_path: Path
) -> None:
    fair = open_fair()
    fair.build(
        {
            "a": Thing([RED, GREEN], "shoes", {"price": 5, "size": None}),
            "b": Thing([GREEN], "hats", {"price": None, "size": "XL"}),
            "c": Thing([BLUE, GREEN], "", {"size": "S"}),
        }
    )
    write(fair, tmp_path / "out")
    rows = read_metadata(tmp_path / "out")
    first = {"name": "A", "key": "a", "category": "shoes", "price": "5", "size": ""}
    third = {"name": "C", "key": "c", "category": "", "price": "", "size": "S"}
    expected = [{**first, "items": "1"}, {**first, "items": "3"}, {**third, "items": "1"}]
    ids = [str(fair.id_of(key)) for key in "aac"]
    assert [{k: v for k, v in row.items() if k not in ("id", "photo")} for row in rows] == expected
    assert [row["id"] for row in rows] == ids
    shown = [np.asarray(Image.open(row["photo"]))[0, 0].tolist() for row in rows]
    assert shown == [list(RED), list(GREEN), list(BLUE)]


HOSTILE = "a\tb\nc\r\nd\x00e\x1bf\x85g\u2028h\u2029i\x0bj\x1ck"


def test_nothing_in_a_catalog_breaks_the_table(open_fair: Opener, tmp_path: Path) -> None:
    metadata = {
        HOSTILE: "\x1b[31m red",
        "id": 99,
        "id (metadata)": "second",
        "name\t": "another",
        "quoted": "\"'\\",
        "emoji": "👩\u200d🔧",
        "surrogate": "a\ud800b",
        "ends": "\n\t",
        "mixed": {"a": 1},
        "list": [1],
        "none": None,
        "flag": True,
        "number": 0.1,
    }
    fair = open_fair()
    items = [
        SourceItem("k\tk", HOSTILE, HOSTILE, (SourcePhoto("a", data=png(RED)),), metadata),
        SourceItem(
            "l\n", "", "", (SourcePhoto("b", data=png(GREEN)),), {"mixed": "text", "quoted": 1}
        ),
    ]
    ingest(ListSource(items), fair.catalog, ImageLimits())
    for engine in fair.config.engines:
        fair.index(engine)
    write(fair, tmp_path / "out")
    first, second = read_metadata(tmp_path / "out")
    safe = "a b c d e f g h i j k"
    assert (first["key"], first["name"], first["category"]) == ("k k", safe, safe)
    assert (second["key"], second["name"], second["id"]) == ("l", "", "2")
    assert first["id"] == "1"
    assert {k: v for k, v in first.items() if k not in projector.COLUMNS} == {
        safe: "[31m red",
        "id (metadata)": "99",
        "id (metadata) (metadata)": "second",
        "name (metadata)": "another",
        "quoted": "\"'\\",
        "emoji": "👩\u200d🔧",
        "surrogate": "a b",
        "ends": "",
        "flag": "True",
        "number": "0.1",
    }
    assert second["quoted"] == "1"


def test_points_are_labeled_by_name(open_fair: Opener, tmp_path: Path) -> None:
    fair = open_fair()
    fair.build(one_each(COLORS[:3]))
    write(fair, tmp_path / "out")
    assert next(iter(read_metadata(tmp_path / "out")[0])) == "name"


def test_a_ledger_made_anew_knows_no_items(open_fair: Opener, tmp_path: Path) -> None:
    fair = open_fair()
    fair.build(one_each(COLORS[:3]))
    with sqlite3.connect(fair.config.folder / "catalog.sqlite") as db:
        db.execute("DELETE FROM images")
        db.execute("DELETE FROM items")
    assert write(fair, tmp_path / "out").unreadable == 3
    rows = read_metadata(tmp_path / "out")
    assert [(row["id"], row["name"], row["photo"]) for row in rows] == [
        ("1", "", ""), ("2", "", ""), ("3", "", ""),
    ]  # fmt: skip


# -- Sprite ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4, 5, 12])
def test_every_photo_has_its_tile_in_the_order_of_the_vectors(
    open_fair: Opener, tmp_path: Path, count: int
) -> None:
    fair = open_fair("color")
    fair.build(one_each(COLORS[:count]))
    written = write(fair, tmp_path / "out")
    (one,) = read_config(tmp_path / "out")
    assert one["single_image_dim"] == [written.sprite_side] * 2 == [64, 64]
    vectors = read_vectors(tmp_path / "out", one)  # of this engine, the colors themselves
    tiles = read_tiles(tmp_path / "out")
    for tile, color in zip(tiles, vectors, strict=False):
        assert np.abs(tile - color).max() < 4
    assert all(tile.min() > 251 for tile in tiles[count:])
    assert len(tiles) - count < 2 * count**0.5 + 1


@pytest.mark.parametrize("is_tall", [False, True])
def test_photos_keep_their_shape_on_white(open_fair: Opener, tmp_path: Path, is_tall: bool) -> None:
    wide = np.zeros((20, 80, 3), np.uint8)
    wide[:, :40], wide[:, 40:] = RED, BLUE
    fair = open_fair("color")
    build(fair, {"a": [picture(wide.swapaxes(0, 1) if is_tall else wide)]})
    write(fair, tmp_path / "out")
    (tile,) = read_tiles(tmp_path / "out")
    tile = tile.swapaxes(0, 1) if is_tall else tile
    assert tile[:23].min() > 245
    assert tile[-23:].min() > 245
    assert np.abs(tile[26:38, 2:29] - RED).max() < 8
    assert np.abs(tile[26:38, 35:62] - BLUE).max() < 8


def test_a_photo_that_cannot_be_read_any_more_is_gray(open_fair: Opener, tmp_path: Path) -> None:
    fair = open_fair()
    fair.build(one_each([RED, GREEN, BLUE, (9, 9, 9)]))
    gone, changed, damaged, whole = [photo.path for photo in fair.catalog.photos()]
    gone.unlink()
    changed.write_bytes(png((1, 2, 3)))
    damaged.write_bytes(damaged.read_bytes()[:50])
    assert write(fair, tmp_path / "out").unreadable == 3
    tiles = read_tiles(tmp_path / "out")
    assert all(np.abs(tile - 128).max() < 3 for tile in tiles[:3])
    assert np.abs(tiles[3] - 9).max() < 4
    assert whole.exists()
    assert len(read_metadata(tmp_path / "out")) == 4


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 10_000, 16_384, 16_385, 99_999, 100_000])
def test_thumbnails_are_as_large_as_the_projector_allows(count: int) -> None:
    per_row, side = grid_side(count), tile_side(count)
    assert (per_row - 1) ** 2 < count <= per_row**2
    assert per_row * side <= 8192
    assert side == 64 or per_row * (side + 1) > 8192
    assert 25 <= side <= 64


def test_a_smaller_sprite_has_smaller_tiles(open_fair: Opener, tmp_path: Path) -> None:
    fair = open_fair("color")
    fair.build(one_each(COLORS))
    assert write(fair, tmp_path / "out", max_sprite_side=50).sprite_side == 12
    for tile, color in zip(read_tiles(tmp_path / "out"), COLORS, strict=False):
        assert np.abs(tile[4:8, 4:8] - color).max() < 8


# -- Which photos ----------------------------------------------------------------------------------


def test_of_too_many_photos_the_same_sample_is_taken_for_all_engines(
    open_fair: Opener, tmp_path: Path
) -> None:
    fair = open_fair("color", "mixed")
    fair.build(one_each(COLORS))
    written = write(fair, tmp_path / "out", limit=5)
    assert (written.points, written.photos) == (5, 12)
    color, mixed = (read_vectors(tmp_path / "out", one) for one in read_config(tmp_path / "out"))
    assert np.array_equal(mixed, color[:, ::-1] * np.float32([3, 1, 0.5]))
    assert len({tuple(one) for one in color.tolist()}) == 5
    for row, tile, vector in zip(
        read_metadata(tmp_path / "out"), read_tiles(tmp_path / "out"), color, strict=False
    ):
        assert COLORS[int(row["key"][1:])] == tuple(vector)
        assert np.abs(tile - vector).max() < 4
    assert len(read_metadata(tmp_path / "out")) == 5


def test_a_sample_is_chosen_by_its_seed(open_fair: Opener, tmp_path: Path) -> None:
    fair = open_fair()
    fair.build(one_each(COLORS))

    def sampled(folder: str, limit: int, seed: int) -> dict[str, bytes]:
        write(fair, tmp_path / folder, limit=limit, seed=seed)
        return tree(tmp_path / folder)

    assert sampled("a", 5, 1) == sampled("b", 5, 1)
    assert len({sampled("c", 5, seed)["metadata.tsv"] for seed in range(8)}) > 4
    for seed in range(4):
        sampled("c", 11, seed)
        assert len({row["key"] for row in read_metadata(tmp_path / "c")}) == 11
    assert sampled("d", 12, 1) == sampled("e", 100, 2)  # all of them


def test_only_photos_that_all_engines_have_are_points(open_fair: Opener, tmp_path: Path) -> None:
    fair = open_fair("color", "mixed")
    fair.offer(one_each(COLORS[:6]))
    fair.index("color")
    fair.offer({key: thing for key, thing in one_each(COLORS).items() if key >= "k03"})
    fair.index("mixed")
    written = write(fair, tmp_path / "out", "mixed", "color")
    assert (written.points, written.photos) == (3, 3)
    mixed, color = (read_vectors(tmp_path / "out", one) for one in read_config(tmp_path / "out"))
    assert color.tolist() == [list(one) for one in COLORS[3:6]]
    assert np.array_equal(mixed, color[:, ::-1] * np.float32([3, 1, 0.5]))
    assert [row["key"] for row in read_metadata(tmp_path / "out")] == ["k03", "k04", "k05"]
    assert write(fair, tmp_path / "all", "color").points == 6


def test_engines_without_a_common_photo_are_refused(open_fair: Opener, tmp_path: Path) -> None:
    fair = open_fair("color", "mixed")
    fair.offer({"a": Thing([RED])})
    fair.index("color")
    fair.offer({"b": Thing([BLUE])})
    fair.index("mixed")
    with pytest.raises(QueryError, match="color, mixed: no photo is in all of their indexes"):
        write(fair, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_random_weights_are_named_so(shop: Shop, tmp_path: Path) -> None:
    shop.use_model("drawn", random_weights=True)
    shop.build({"a": [RED], "b": [BLUE]})
    with shop.searcher() as searcher:
        written = export([searcher], tmp_path / "out")
    (one,) = read_config(tmp_path / "out")
    assert one["tensor_name"] == written.engines["color"] == "color (RANDOM weights)"
    assert one["tensor_path"].startswith("color/vectors.")


# -- Complete or absent ----------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["write_vectors", "table", "sprite", "write_config"])
def test_an_export_that_is_not_finished_is_not_there(
    open_fair: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def killed(*_: object) -> object:
        raise KeyboardInterrupt

    fair = open_fair()
    fair.build(one_each(COLORS))
    places = tmp_path / "places"
    write(fair, places / "earlier", limit=3)
    before = tree(places / "earlier")
    monkeypatch.setattr(projector, stage, killed)
    for folder in ("earlier", "new"):
        with pytest.raises(KeyboardInterrupt):
            write(fair, places / folder)
    assert [path.name for path in places.iterdir()] == ["earlier"]
    assert tree(places / "earlier") == before


def test_the_next_export_leaves_nothing_of_the_earlier_one(
    open_fair: Opener, tmp_path: Path
) -> None:
    fair = open_fair("color", "mixed")
    fair.build(one_each(COLORS))
    write(fair, tmp_path / "out")
    write(fair, tmp_path / "out", "mixed", limit=3)
    assert not (tmp_path / "out" / "color").exists()
    write(fair, tmp_path / "fresh", "mixed", limit=3)
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


# -- The command -----------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fair(open_fair: Opener) -> Fair:
    """Two engines of twelve photos."""
    made = open_fair("color", "mixed")
    made.build(one_each(COLORS))
    return made


@pytest.fixture
def settings(fair: Fair) -> Path:
    """The same as a file of settings."""
    file = fair.config.folder.parent / "settings.yaml"
    file.write_text(yaml.safe_dump(fair.config.model_dump(mode="json", exclude={"download"})))
    return file


@pytest.fixture
def run(settings: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command; return its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        given = ["imgsearch", "projector", *map(str, arguments), "--config", str(settings)]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as exit_:
            main()
        code = exit_.value.code
        return (code if isinstance(code, int) else 0), *capfd.readouterr()

    return run


def test_the_command_prints_facts(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said, talk = run(out, "--engine", "mixed", "--limit", 5, "--json")
    assert code == 0
    assert json.loads(said) == {
        "folder": str(out),
        "engines": {"mixed": "mixed"},
        "points": 5,
        "photos": 12,
        "unreadable": 0,
        "sprite_side": 64,
    }
    assert "a sample of 5 of 12 photos, drawn with seed 7" in talk
    assert [one["tensor_name"] for one in read_config(out)] == ["mixed"]
    sampled = tree(out)
    assert run(out, "-e", "mixed", "--limit", 5, "--seed", 8)[0] == 0
    assert tree(out) != sampled


def test_the_command_says_how_to_look(run: Run, fair: Fair, tmp_path: Path) -> None:
    next(fair.catalog.photos()).path.unlink()
    code, said, talk = run(tmp_path / "out")
    assert (code, said) == (0, "")
    assert "sample" not in talk
    assert "photos that can no longer be read, with gray tiles: 1" in talk
    assert f"12 points of color, mixed; see them with `tensorboard --logdir {tmp_path}" in talk


def test_errors_are_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    for arguments, message in (
        (["file"], "file: not a folder"),
        (["full"], "full: holds something else than an earlier export"),
        (["file/below"], "Not a directory"),
        (["out", "--engine", "vgg"], "unknown engine 'vgg'"),
        (["out", "--limit", "0"], "--limit: 0 photos; give 1 to 100,000"),
        (["out", "--limit", "100001"], "--limit: 100,001 photos"),
    ):
        code, said, talk = run(tmp_path / arguments[0], *arguments[1:])
        assert (code, said) == (1, ""), arguments
        assert talk.startswith("imgsearch: ")
        assert talk.count("\n") == 1, talk
        assert message in talk
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "file", "full"]


def test_the_command_loads_no_tensorflow(settings: Path, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pipeline.cli import main\ntry:\n    main()\nexcept SystemExit as end:\n"
        "    assert not end.code\nprint({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules))"
    )
    words = ["projector", str(tmp_path / "out"), "--config", str(settings)]
    command = [sys.executable, "-c", program, *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
