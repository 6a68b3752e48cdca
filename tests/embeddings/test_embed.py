"""embed.py: every photo gets its vector once, however often a run was stopped."""

from __future__ import annotations

import errno
import hashlib
import itertools
import math
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline import images
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import ingest
from pipeline.embeddings import store as embeddings
from pipeline.embeddings.embed import EmbedReport, embed
from pipeline.embeddings.shards import Embedder
from pipeline.embeddings.store import EmbeddingStore, Shard
from pipeline.errors import WeightsError
from pipeline.images import ImageLimits, U8Image
from pipeline.sources.base import SourceItem, SourcePhoto
from tests.conftest import Color, ColorModel, ListSource, Shop, png, tree

COLORS: list[Color] = [(n, 255 - n, 7 * n % 256) for n in range(11)]
BY_PHOTO = {hashlib.sha256(png(color)).digest(): color for color in COLORS}


class DyingModel(ColorModel):
    """Encodes some batches, and then the process dies."""

    lives = 0

    def encode(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if len(self.batches) == self.lives:
            raise KeyboardInterrupt
        return super().encode(pixels)


def offer(shop: Shop, count: int = len(COLORS)) -> None:
    shop.offer({str(n): [color] for n, color in enumerate(COLORS[:count])})


def run(
    shop: Shop,
    store: EmbeddingStore,
    model: ColorModel | None = None,
    batch_size: int = 3,
    shard_size: int = 4,
    decoders: int = 2,
    decoded: Mapping[bytes, U8Image] | None = None,
) -> EmbedReport:
    made = Embedder(model or ColorModel(), store, shop.limits, batch_size, decoders, decoded)
    return embed("color", lambda: nullcontext(made), shop.catalog, store, shard_size=shard_size)


def photos_of(shard: Shard) -> list[bytes]:
    return [photo.tobytes() for photo in shard.hashes]


def vectors(store: EmbeddingStore) -> dict[bytes, Color]:
    """Every photo's vector, as a color."""
    pairs = [
        (photo, tuple(int(number) for number in row[:3]))
        for shard in store.shards()
        for photo, row in zip(photos_of(shard), shard.vectors(), strict=True)
    ]
    assert len({photo for photo, _ in pairs}) == len(pairs), "a photo was embedded twice"
    return dict(pairs)  # type: ignore[arg-type]


def in_order(shop: Shop, store: EmbeddingStore) -> list[Shard]:
    """The shards, in the order of their photos in the catalog."""
    photos = [photo.sha256 for photo in shop.catalog.photos()]
    return sorted(store.shards(), key=lambda shard: photos.index(photos_of(shard)[0]))


def breaks(shop: Shop, number: int, how: str = "gone") -> None:
    """Make a photo unreadable after it was ingested."""
    path = list(shop.catalog.photos())[number].path
    if how == "gone":
        path.unlink()
    elif how == "changed":
        path.write_bytes(png((1, 2, 3)))
    else:
        path.unlink()
        path.mkdir()


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "vectors")


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 11, 100])
@pytest.mark.parametrize("shard_size", [1, 3, 4, 11, 100])
def test_every_photo_gets_its_vector_in_full_shards(
    shop: Shop, store: EmbeddingStore, batch_size: int, shard_size: int
) -> None:
    offer(shop)
    model = ColorModel(dim=5)
    report = run(shop, store, model, batch_size, shard_size)
    assert report == EmbedReport(already=0, embedded=11, failed=0)
    assert vectors(store) == BY_PHOTO
    photos = [photo.sha256 for photo in shop.catalog.photos()]
    shards = in_order(shop, store)
    assert [photo for shard in shards for photo in photos_of(shard)] == photos
    whole, rest = divmod(11, shard_size)
    sizes = [shard_size] * whole + [rest] * bool(rest)
    assert [shard.vectors().shape for shard in shards] == [(n, 5) for n in sizes]
    assert sum(model.batches) == 11
    assert max(model.batches) <= batch_size
    assert len(model.batches) == sum(math.ceil(size / batch_size) for size in sizes)


def test_a_photo_that_many_items_show_is_embedded_once(shop: Shop, store: EmbeddingStore) -> None:
    shop.offer({"a": COLORS[:2], "b": COLORS[1:3], "c": COLORS[:1], "d": []})
    model = ColorModel()
    assert run(shop, store, model) == EmbedReport(0, 3, 0)
    assert sum(model.batches) == 3


def test_nothing_is_encoded_when_nothing_is_missing(shop: Shop, store: EmbeddingStore) -> None:
    offer(shop)
    run(shop, store)
    before, model = tree(store.folder), ColorModel()
    assert run(shop, store, model) == EmbedReport(already=11, embedded=0, failed=0)
    assert model.batches == []
    assert tree(store.folder) == before


def test_only_what_is_new_is_embedded(shop: Shop, store: EmbeddingStore) -> None:
    offer(shop, 6)
    run(shop, store)
    before, model = tree(store.folder), ColorModel()
    offer(shop)
    assert run(shop, store, model) == EmbedReport(already=6, embedded=5, failed=0)
    assert sum(model.batches) == 5
    assert vectors(store) == BY_PHOTO
    assert before.items() <= tree(store.folder).items()


def test_an_empty_catalog_has_nothing_to_embed(shop: Shop, store: EmbeddingStore) -> None:
    assert run(shop, store) == EmbedReport(0, 0, 0)
    assert not store.folder.exists()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_vectors_that_are_not_finite_stop_the_run_and_are_not_kept(
    shop: Shop, store: EmbeddingStore, number: float
) -> None:
    class Broken(ColorModel):
        def encode(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            encoded = super().encode(pixels)
            encoded[encoded[:, 0] == COLORS[6][0], 1] = number
            return encoded

    offer(shop)
    with pytest.raises(WeightsError, match="color: its network gives numbers that are not finite"):
        run(shop, store, Broken())
    assert len(store.photos()) == 4
    assert np.isfinite(next(store.shards()).vectors()).all()


# -- Photos that are decoded already ---------------------------------------------------------------


def test_photos_that_are_decoded_already_are_not_read(shop: Shop, store: EmbeddingStore) -> None:
    offer(shop)
    photos = list(shop.catalog.photos())
    decoded = {p.sha256: np.full((4, 4, 3), BY_PHOTO[p.sha256], np.uint8) for p in photos[:7]}
    for photo in photos[:7]:
        photo.path.unlink()
    assert run(shop, store, decoded=decoded) == EmbedReport(already=0, embedded=11, failed=0)
    assert vectors(store) == BY_PHOTO
    assert [photo for shard in in_order(shop, store) for photo in photos_of(shard)] == [
        photo.sha256 for photo in photos
    ]


@pytest.mark.parametrize("known", [[], [0], [3, 4, 10], range(11)])
def test_decoded_photos_do_not_change_a_byte(shop: Shop, tmp_path: Path, known: list[int]) -> None:
    offer(shop)
    photos = [photo.sha256 for photo in shop.catalog.photos()]
    decoded = {photos[n]: np.full((4, 4, 3), BY_PHOTO[photos[n]], np.uint8) for n in known}
    plain, helped = EmbeddingStore(tmp_path / "plain"), EmbeddingStore(tmp_path / "helped")
    run(shop, plain)
    run(shop, helped, decoded=decoded)
    assert tree(helped.folder) == tree(plain.folder)


# -- Runs that end early ---------------------------------------------------------------------------


@pytest.mark.parametrize("lives", range(5))
def test_a_run_killed_while_encoding_ends_with_the_same_bytes(
    shop: Shop, store: EmbeddingStore, tmp_path: Path, lives: int
) -> None:
    offer(shop)
    undisturbed = EmbeddingStore(tmp_path / "undisturbed")
    run(shop, undisturbed)
    model = DyingModel()
    model.lives = lives
    with pytest.raises(KeyboardInterrupt):
        run(shop, store, model)
    done = len(store.photos())
    assert done == 4 * (lives // 2)
    again = ColorModel()
    assert run(shop, store, again) == EmbedReport(already=done, embedded=11 - done, failed=0)
    assert sum(again.batches) == 11 - done
    assert tree(store.folder) == tree(undisturbed.folder)


@pytest.mark.parametrize("step", ["write_atomic", "write_sealed"])
@pytest.mark.parametrize("shard", [0, 1, 2])
def test_a_run_killed_while_writing_ends_with_the_same_bytes(
    shop: Shop,
    store: EmbeddingStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    shard: int,
) -> None:
    offer(shop)
    undisturbed = EmbeddingStore(tmp_path / "undisturbed")
    run(shop, undisturbed)
    write, suffix = getattr(embeddings, step), {"write_atomic": ".npy", "write_sealed": ".json"}

    def die(path: Path, content: object) -> None:
        if len(list(store.folder.glob(f"*{suffix[step]}"))) == shard:
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(embeddings, step, die)
        with pytest.raises(KeyboardInterrupt):
            run(shop, store)
    assert run(shop, store) == EmbedReport(already=4 * shard, embedded=11 - 4 * shard, failed=0)
    assert tree(store.folder) == tree(undisturbed.folder)


@pytest.mark.parametrize(("where", "method"), [(EmbeddingStore, "write"), (Catalog, "fail_photos")])
def test_a_run_killed_beside_a_broken_photo_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: type, method: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    folders = []
    for name in ("undisturbed", "killed"):
        shop = Shop(tmp_path / name)
        offer(shop)
        breaks(shop, 2)
        store = EmbeddingStore(tmp_path / name / "vectors")
        if name == "killed":
            with monkeypatch.context() as patch:
                patch.setattr(where, method, die)
                with pytest.raises(KeyboardInterrupt):
                    run(shop, store)
        run(shop, store)
        shop.catalog.close()
        folders.append(tree(store.folder))
    assert folders[0] == folders[1]


@pytest.mark.parametrize("lost", itertools.product([False, True], repeat=3))
@pytest.mark.parametrize("broken", [[], [2], [2, 7, 10]])
def test_whichever_shards_are_there_the_others_are_made_as_ever(
    shop: Shop, store: EmbeddingStore, lost: tuple[bool, ...], broken: list[int]
) -> None:
    """As it is when machines finish them in any order, and the run that asked for them dies."""
    offer(shop)
    files = [photo.path for photo in shop.catalog.photos()]
    contents = [file.read_bytes() for file in files]
    for number in broken:
        files[number].unlink()
    run(shop, store)
    undisturbed, shards = tree(store.folder), in_order(shop, store)
    for number in broken:  # the run died before it told the ledger
        files[number].write_bytes(contents[number])
    offer(shop)
    for number in broken:
        files[number].unlink()
    for shard, is_lost in zip(shards, lost, strict=True):
        if is_lost:
            shard.file.with_suffix(".json").unlink()
    model, rows = ColorModel(), [len(s.hashes) for s, x in zip(shards, lost, strict=True) if x]
    report = run(shop, store, model)
    assert tree(store.folder) == undisturbed
    assert sum(model.batches) == report.embedded == sum(rows), "no shard was made twice"


def test_neither_batches_nor_threads_change_a_byte(shop: Shop, tmp_path: Path) -> None:
    offer(shop)
    folders = []
    for number, (batch_size, decoders) in enumerate([(1, 1), (2, 4), (7, 2), (64, 3)]):
        store = EmbeddingStore(tmp_path / str(number))
        run(shop, store, batch_size=batch_size, decoders=decoders)
        folders.append(tree(store.folder))
    assert all(folder == folders[0] for folder in folders)


# -- Photos that cannot be read any more -----------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("gone", "photo missing"),
        ("changed", "photo changed since it was ingested"),
        ("a folder", "not an image"),
    ],
)
def test_a_photo_that_cannot_be_read_any_more_is_counted_and_marked(
    shop: Shop, store: EmbeddingStore, how: str, reason: str
) -> None:
    offer(shop)
    broken = list(shop.catalog.photos())[2].sha256
    breaks(shop, 2, how)
    assert run(shop, store) == EmbedReport(already=0, embedded=10, failed=1)
    assert vectors(store) == {p: color for p, color in BY_PHOTO.items() if p != broken}
    assert shop.catalog.counts() == {"available": {"": 10}, "failed": {reason: 1}}
    assert run(shop, store) == EmbedReport(already=10, embedded=0, failed=0)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOMEM, errno.ESTALE])
def test_a_bad_disk_stops_the_run_and_no_photo_is_blamed(
    shop: Shop, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    offer(shop)
    bad = list(shop.catalog.photos())[9].path
    read = images.read_bytes

    def fail(path: Path, limits: ImageLimits) -> bytes:
        if path == bad:
            raise OSError(number, os.strerror(number), str(path))
        return read(path, limits)

    with monkeypatch.context() as patch:
        patch.setattr(images, "read_bytes", fail)
        with pytest.raises(OSError, match=os.strerror(number)):
            run(shop, store, batch_size=2, shard_size=4)
    assert shop.catalog.counts() == {"available": {"": 11}}
    assert len(store.photos()) in (4, 8), "the shards before it are kept"
    report = run(shop, store, batch_size=2, shard_size=4)
    assert (report.already + report.embedded, report.failed) == (11, 0)
    assert vectors(store) == BY_PHOTO


def test_a_photo_that_was_mended_is_embedded_after_the_next_ingest(
    shop: Shop, store: EmbeddingStore
) -> None:
    offer(shop)
    breaks(shop, 2)
    run(shop, store)
    offer(shop)
    assert run(shop, store) == EmbedReport(already=10, embedded=1, failed=0)
    assert vectors(store) == BY_PHOTO
    assert shop.catalog.counts() == {"available": {"": 11}}


@pytest.mark.parametrize("broken", [[0], [10], [0, 1, 2, 3], [2, 3, 4], range(11)])
def test_whatever_fails_the_others_get_their_vectors(
    shop: Shop, store: EmbeddingStore, broken: list[int]
) -> None:
    offer(shop)
    photos = [photo.sha256 for photo in shop.catalog.photos()]
    for number in sorted(broken, reverse=True):
        breaks(shop, number)
    report = run(shop, store)
    assert report == EmbedReport(0, 11 - len(broken), len(broken))
    good = [photo for number, photo in enumerate(photos) if number not in broken]
    assert vectors(store) == {photo: BY_PHOTO[photo] for photo in good}
    assert all(len(shard.hashes) for shard in store.shards())
    assert list(shop.catalog.photo_item_pairs()) == [(p, photos.index(p) + 1) for p in good]


def test_a_broken_photo_fails_every_item_that_shows_it(shop: Shop, store: EmbeddingStore) -> None:
    shop.offer({"a": COLORS[:1], "b": COLORS[:2], "c": COLORS[:1]})
    breaks(shop, 0)
    assert run(shop, store) == EmbedReport(0, 1, 1)
    assert shop.catalog.counts() == {"available": {"": 1}, "failed": {"photo missing": 2}}


@pytest.mark.parametrize("lost", [[0], [1], [0, 1], [0, 2], [0, 1, 2]])
def test_another_file_of_the_same_content_is_read_instead_of_a_lost_one(
    shop: Shop, store: EmbeddingStore, tmp_path: Path, lost: list[int]
) -> None:
    files = [tmp_path / f"{n}.png" for n in range(3)]
    items = [SourceItem(file.name, "", "", (SourcePhoto(file.name, file),)) for file in files]
    for file in files:
        file.write_bytes(png(COLORS[0]))
    ingest(ListSource(items), shop.catalog, shop.limits)
    for number in lost:
        files[number].unlink()
    found = int(len(lost) < 3)
    assert run(shop, store) == EmbedReport(already=0, embedded=found, failed=1 - found)
    assert list(vectors(store).values()) == COLORS[:found]
    # A lost file is noticed when it is the one that is read; `verify` looks at all of them.
    noticed = [n for n in lost if all(earlier in lost for earlier in range(n))]
    available = 3 - len(noticed)
    assert sum(shop.catalog.counts().get("available", {}).values()) == available
    assert sum(shop.catalog.counts().get("failed", {}).values()) == len(noticed)
    assert run(shop, store) == EmbedReport(already=found, embedded=0, failed=0)
