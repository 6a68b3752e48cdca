"""verify.py: every kind of damage is found, named, and mended by doing what the line says."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import publish, read_manifest, remove
from pipeline.catalog.ingest import ingest
from pipeline.embeddings.flat_file import write_flat
from pipeline.embeddings.salvage import salvage
from pipeline.embeddings.segment import Segment, row_checksums
from pipeline.errors import NotBuiltError
from pipeline.index.build import describe
from pipeline.index.builds import Build
from pipeline.index.parent import find_parent
from pipeline.maintenance.problems import Verdict
from pipeline.maintenance.verify import verify
from pipeline.sources.base import SourceItem, SourcePhoto
from tests.conftest import ENGINE, Color, ListSource, Shop, png, tree

ITEMS: dict[str, list[Color]] = {
    "a": [(10, 0, 0), (20, 0, 0)],
    "b": [(20, 0, 0)],
    **{str(n): [(n, n, n)] for n in range(6)},
}


@pytest.fixture
def built(shop: Shop) -> Shop:
    """A catalog of 8 photos, with the build of now, one of before, and the shard of a next one."""
    shop.build({"a": [(10, 0, 0)]})
    shop.build(ITEMS)
    write_shard(shop)
    assert verify(shop.config).problems == []
    return shop


def lines(shop: Shop) -> list[str]:
    """The problems, as they are told."""
    return [str(problem) for problem in verify(shop.config).problems]


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def current(shop: Shop) -> Build:
    build = shop.engine.builds.current()
    assert build is not None
    return build


def older(shop: Shop) -> Path:
    return shop.engine.builds.all()[0]


def segment(shop: Shop) -> Segment:
    return current(shop).segments[0]


def write_shard(shop: Shop) -> None:
    """Embed a photo, as a run does that is killed before it indexes."""
    vectors = shop.engine.embeddings(shop.model.fingerprint)
    vectors.write([bytes(32)], np.ones((1, 3), np.float32))


def shards(shop: Shop) -> list[Path]:
    return sorted(shop.engine.embeddings(shop.model.fingerprint).folder.glob("*.npy"))


def republish(build: Build | Segment, change: Callable[[Path], None]) -> None:
    """Make a folder of the same name whose files are other ones, with the right checksums."""
    content = {name: value for name, value in build.manifest.items() if name != "files"}
    kept = tree(build.path)
    shutil.rmtree(build.path)
    with publish(build.path, content) as aside:
        for name in kept.keys() - {"manifest.json"}:
            (aside / name).write_bytes(kept[name])
        change(aside)


def mend(shop: Shop, problems: Sequence[object]) -> None:
    """Do what the lines say: delete what they name, save what they say can be saved, and build."""
    for problem in map(str, problems):
        if "run `imgsearch repair`" in problem:
            folder = Path(problem.partition(": ")[0]).parent
            salvage(folder, shop.engine.folder / "embeddings")
            continue
        deleted = re.search(r"delete (\S+) and run `imgsearch build`$", problem)
        assert deleted or problem.endswith("; run `imgsearch build`")
        if deleted:
            remove(Path(problem.partition(": ")[0] if deleted[1] == "it" else deleted[1]))
    shop.use_model("weights")
    shop.build(ITEMS)


def test_a_clean_catalog_has_no_problem_and_everything_was_looked_at(built: Shop) -> None:
    before = tree(built.folder)
    verdict = verify(built.config)
    assert verdict == Verdict(photos=8, models=1, shards=1, segments=2, builds=2, problems=[])
    assert {k: v for k, v in tree(built.folder).items() if "sqlite" not in k} == {
        k: v for k, v in before.items() if "sqlite" not in k
    }


def test_there_is_nothing_to_verify_before_it_is_built(shop: Shop) -> None:
    shop.catalog.close()
    shutil.rmtree(shop.folder)
    with pytest.raises(NotBuiltError):
        verify(shop.config)


Target = Callable[[Shop], Path]
PHOTO: Target = lambda shop: list(shop.catalog.photos())[3].path  # noqa: E731
WEIGHTS: Target = lambda shop: shop.model.weights_file  # noqa: E731


@pytest.mark.parametrize(
    ("target", "damage"),
    [
        (PHOTO, cut),
        (PHOTO, Path.unlink),
        (WEIGHTS, flip),
        (WEIGHTS, cut),
        (WEIGHTS, Path.unlink),
        (lambda shop: shop.model.path / "manifest.json", cut),
        (lambda shop: shop.model.path / "manifest.json", Path.unlink),
        (lambda shop: shards(shop)[0], flip),
        (lambda shop: shards(shop)[0], cut),
        (lambda shop: shards(shop)[0], Path.unlink),
        (lambda shop: shards(shop)[0].with_suffix(".json"), cut),
        (lambda shop: shards(shop)[0].with_suffix(".json"), lambda path: path.write_bytes(b"[]")),
        *(
            (lambda shop, name=name: segment(shop).path / name, damage)
            for name in ("index.faiss", "ids.npy", "photos.npy", "checksums.npy", "manifest.json")
            for damage in (flip, cut, Path.unlink)
        ),
        (lambda shop: current(shop).path / "changes.npy", flip),
        (lambda shop: current(shop).path / "calibration.json", Path.unlink),
        (lambda shop: current(shop).path / "manifest.json", cut),
        (lambda shop: older(shop) / "manifest.json", flip),
        (lambda shop: older(shop) / "changes.npy", Path.unlink),
    ],
)
def test_a_damaged_file_is_named_and_doing_what_the_line_says_mends_it(
    built: Shop, target: Target, damage: Callable[[Path], object]
) -> None:
    path = target(built)
    damage(path)
    problems = lines(built)
    assert str(path) in problems[0]
    assert len(problems) == len(set(problems))
    assert all("\n" not in problem for problem in problems)
    mend(built, problems)
    for _ in range(3):
        problems = lines(built)  # of an older build that shared what was damaged
        older_ones = (str(older(built)), "/publications/")
        assert all(any(name in problem for name in older_ones) for problem in problems)
        if problems:
            mend(built, problems)
    assert not lines(built)


def test_vectors_of_a_former_model_are_checked_too(built: Shop) -> None:
    former, shard = segment(built).file, shards(built)[0]
    built.use_model("other")
    built.build(ITEMS)
    flip(former)
    flip(shard)
    found = "\n".join(lines(built))
    assert f"{former}: damaged: its content has changed" in found
    assert f"{shard}: damaged: its content has changed" in found


def test_a_changed_photo_is_told_from_a_missing_one(built: Shop) -> None:
    first, second, *_ = (photo.path for photo in built.catalog.photos())
    first.write_bytes(png((1, 1, 1)))
    second.unlink()
    assert lines(built) == [
        f"{first}: the photo has changed since it was ingested; delete it and run"
        " `imgsearch build`",
        f"{second}: the photo cannot be read: it is missing; run `imgsearch build`",
    ]


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_a_stored_photo_of_a_source_that_is_the_same_is_mended_too(
    shop: Shop, damage: Callable[[Path], object]
) -> None:
    def build() -> None:
        item = SourceItem("a", "a", "", (SourcePhoto("a.png", data=png((10, 0, 0))),))
        ingest(ListSource([item], version="1"), shop.catalog, shop.limits)
        shop.embed()
        shop.index()

    build()
    (path,) = (photo.path for photo in shop.catalog.photos())
    damage(path)
    (problem,) = lines(shop)
    assert problem.startswith(f"{path}: the photo ")
    if "delete it" in problem:
        path.unlink()
    build()
    assert verify(shop.config).problems == []


def test_every_file_of_a_photo_is_verified_and_one_of_them_is_enough(
    shop: Shop, tmp_path: Path
) -> None:
    def build() -> None:
        items = [SourceItem(file.name, "", "", (SourcePhoto(file.name, file),)) for file in files]
        ingest(ListSource(items), shop.catalog, shop.limits)
        shop.embed()
        shop.index()

    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for file in files:
        file.write_bytes(png((10, 0, 0)))
    build()
    assert verify(shop.config).photos == 3
    files[0].unlink()
    files[1].write_bytes(png((20, 0, 0)))
    assert lines(shop) == [
        f"{files[0]}: the photo cannot be read: it is missing; run `imgsearch build`",
        f"{files[1]}: the photo has changed since it was ingested; run `imgsearch build`",
    ]
    build()
    assert verify(shop.config) == Verdict(photos=2, models=1, segments=2, builds=2)
    found = shop.searcher().search(np.array([10, 0, 0], np.float32), 1).hits
    assert [(n.item.key, n.distance, n.photo) for n in found] == [("c.png", 0.0, files[2])]


def test_a_damaged_ledger_is_a_problem(built: Shop) -> None:
    built.catalog.close()
    with closing(sqlite3.connect(built.catalog.file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'images'").fetchone()
    data = bytearray(built.catalog.file.read_bytes())
    data[4096 * (page - 1) : 4096 * page] = b"\xa5" * 4096
    built.catalog.file.write_bytes(data)
    (problem,) = lines(built)
    assert problem.startswith(f"{built.catalog.file}: damaged: ")
    assert problem.endswith("; delete it and run `imgsearch build`")


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_text("0123\n"),
        lambda path: path.write_bytes(b"\xff\xfe\n"),
    ],
)
def test_a_current_that_names_no_build_is_a_problem(
    built: Shop, damage: Callable[[Path], object]
) -> None:
    damage(built.engine.folder / "CURRENT")
    problems = lines(built)
    assert problems == [f"{built.engine.folder}: no index here yet; run `imgsearch build`"]
    mend(built, problems)
    assert verify(built.config).problems == []


def test_a_newer_model_is_no_problem_for_the_build_of_the_older(built: Shop) -> None:
    built.use_model("other")
    assert verify(built.config).problems == []


def test_a_build_without_its_model_is_a_problem(built: Shop) -> None:
    shutil.rmtree(built.model.path)
    *published, problem = lines(built)
    assert published
    assert all(f"{built.model.path} is missing; delete it and run" in one for one in published)
    assert problem.startswith(f"{current(built).path}: made by model {built.model.fingerprint}, ")
    assert problem.endswith("which is missing now; run `imgsearch build`")


def test_a_build_that_is_not_of_the_catalog_of_now_is_a_problem(built: Shop) -> None:
    items = {key: ITEMS[key] for key in ITEMS if key not in ("b", "0", "1")}
    built.offer({**items, "new": [(9, 0, 9)]})
    (problem,) = lines(built)
    assert problem == (
        f"{current(built).path}: 3 photos too many and 1 too few; run `imgsearch build`"
    )
    built.embed()
    built.index()
    assert verify(built.config).problems == []


def test_a_missing_segment_is_a_problem_of_every_build_that_needs_it(built: Shop) -> None:
    shutil.rmtree(segment(built).path)
    name = segment_names(built)[0]
    assert lines(built) == [
        f"{current(built).path}: its segment {name} is missing; run `imgsearch build`"
    ]
    mend(built, lines(built))
    assert verify(built.config).problems == []


def segment_names(shop: Shop) -> list[str]:
    names: list[str] = current(shop).manifest["segments"]
    return names


def test_only_the_damaged_vectors_of_a_segment_are_embedded_again(built: Shop) -> None:
    before = {*map(bytes, current(built).photos)}
    file = segment(built).file
    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # in the last vector
    file.write_bytes(data)
    last = bytes(segment(built).hashes[-1])
    assert repair_segments(built) == before - {last}
    assert built.embed().embedded == 1
    built.index()
    assert {*map(bytes, current(built).photos)} == before
    assert verify(built.config).problems == []


def repair_segments(shop: Shop) -> set[bytes]:
    """Find the damage as a build does; return which of the photos shown still have a vector."""
    description = describe(ENGINE, shop.model, shop.config.index)
    vectors = shop.engine.embeddings(shop.model.fingerprint)
    find_parent(shop.catalog, shop.engine.builds, vectors, description)
    return vectors.photos() & {photo.sha256 for photo in shop.catalog.photos()}


def test_a_segment_of_other_vectors_is_a_problem_though_its_checksums_are_right(
    built: Shop,
) -> None:
    one = segment(built)

    def change(aside: Path) -> None:
        vectors = np.ones((one.rows, 3), np.float32)
        write_flat(aside / "index.faiss", one.rows, 3, [(np.arange(one.rows), vectors)])

    republish(one, change)
    (problem,) = lines(built)
    assert problem.startswith(
        f"{one.file}: damaged: its content has changed; run `imgsearch repair`"
    )


@pytest.mark.parametrize(("rows", "dim"), [(7, 3), (8, 4)])
def test_a_segment_of_another_size_is_a_problem_though_its_checksums_are_right(
    built: Shop, rows: int, dim: int
) -> None:
    def change(aside: Path) -> None:
        vectors = np.ones((rows, dim), np.float32)
        write_flat(aside / "index.faiss", rows, dim, [(np.arange(rows), vectors)])
        np.save(aside / "checksums.npy", row_checksums(vectors))

    republish(segment(built), change)
    assert any(str(segment(built).path) in problem for problem in lines(built))


def test_other_pairs_of_rows_and_items_are_a_problem_though_their_checksums_are_right(
    built: Shop,
) -> None:
    def change(aside: Path) -> None:
        ids = np.load(aside / "ids.npy")
        ids[0, 1] = 99
        np.save(aside / "ids.npy", ids)

    republish(segment(built), change)
    (problem,) = lines(built)
    assert "1 photos too many and 1 too few" in problem


def test_the_problems_of_several_files_are_all_told(built: Shop) -> None:
    photos = [photo.path for photo in built.catalog.photos()][:2]
    wrong = [*photos, built.model.weights_file, shards(built)[0], segment(built).file]
    for path in wrong:
        flip(path)
    problems = lines(built)
    assert all(any(str(path) in problem for problem in problems) for path in wrong)


def test_a_manifest_without_its_model_still_lets_the_others_be_checked(built: Shop) -> None:
    manifest = built.model.path / "manifest.json"
    manifest.write_bytes(b"{}")
    flip(older(built) / "changes.npy")
    problems = lines(built)
    assert any(str(manifest) in problem for problem in problems)
    assert any(str(older(built)) in problem for problem in problems)
    assert "files" in read_manifest(current(built).path)
