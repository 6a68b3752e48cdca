"""embed.py: every photo gets its vector once, however often a run was stopped."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.embed import EmbedReport, embed
from pipeline.store import embeddings
from pipeline.store.embeddings import EmbeddingStore
from tests.conftest import Colour, ColourModel, Shop, png, tree

COLOURS: list[Colour] = [(n, 255 - n, 7 * n % 256) for n in range(11)]
BY_PHOTO = {hashlib.sha256(png(colour)).digest(): colour for colour in COLOURS}


class DyingModel(ColourModel):
    """Encodes some batches, and then the process dies."""

    lives = 0

    def encode(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if len(self.batches) == self.lives:
            raise KeyboardInterrupt
        return super().encode(pixels)


def offer(shop: Shop, count: int = len(COLOURS)) -> None:
    shop.offer({str(n): [colour] for n, colour in enumerate(COLOURS[:count])})


def run(
    shop: Shop,
    store: EmbeddingStore,
    model: ColourModel | None = None,
    batch_size: int = 3,
    shard_size: int = 4,
    decoders: int = 2,
) -> EmbedReport:
    return embed(
        model or ColourModel(),
        shop.catalogue,
        store,
        shop.limits,
        batch_size=batch_size,
        shard_size=shard_size,
        decoders=decoders,
    )


def vectors(store: EmbeddingStore) -> dict[bytes, Colour]:
    """Every photo's vector, as a colour."""
    pairs = [
        (photo, tuple(int(number) for number in row[:3]))
        for shard in store.shards()
        for photo, row in zip(shard.photos, shard.vectors(), strict=True)
    ]
    assert len({photo for photo, _ in pairs}) == len(pairs), "a photo was embedded twice"
    return dict(pairs)  # type: ignore[arg-type]


def breaks(shop: Shop, number: int, how: str = "gone") -> None:
    """Make a photo unreadable after it was ingested."""
    path = list(shop.catalogue.photos())[number].path
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
    model = ColourModel(dim=5)
    report = run(shop, store, model, batch_size, shard_size)
    assert report == EmbedReport(already=0, embedded=11, failed=0)
    assert vectors(store) == BY_PHOTO
    photos = [photo.sha256 for photo in shop.catalogue.photos()]
    assert [photo for shard in store.shards() for photo in shard.photos] == photos
    whole, rest = divmod(11, shard_size)
    sizes = [shard_size] * whole + [rest] * bool(rest)
    assert [shard.vectors().shape for shard in store.shards()] == [(n, 5) for n in sizes]
    assert sum(model.batches) == 11
    assert max(model.batches) <= batch_size
    assert len(model.batches) == sum(math.ceil(size / batch_size) for size in sizes)


def test_a_photo_that_many_items_show_is_embedded_once(shop: Shop, store: EmbeddingStore) -> None:
    shop.offer({"a": COLOURS[:2], "b": COLOURS[1:3], "c": COLOURS[:1], "d": []})
    model = ColourModel()
    assert run(shop, store, model) == EmbedReport(0, 3, 0)
    assert sum(model.batches) == 3


def test_nothing_is_encoded_when_nothing_is_missing(shop: Shop, store: EmbeddingStore) -> None:
    offer(shop)
    run(shop, store)
    before, model = tree(store.folder), ColourModel()
    assert run(shop, store, model) == EmbedReport(already=11, embedded=0, failed=0)
    assert model.batches == []
    assert tree(store.folder) == before


def test_only_what_is_new_is_embedded(shop: Shop, store: EmbeddingStore) -> None:
    offer(shop, 6)
    run(shop, store)
    before, model = tree(store.folder), ColourModel()
    offer(shop)
    assert run(shop, store, model) == EmbedReport(already=6, embedded=5, failed=0)
    assert sum(model.batches) == 5
    assert vectors(store) == BY_PHOTO
    assert before.items() <= tree(store.folder).items()


def test_an_empty_catalogue_has_nothing_to_embed(shop: Shop, store: EmbeddingStore) -> None:
    assert run(shop, store) == EmbedReport(0, 0, 0)
    assert not store.folder.exists()


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
    again = ColourModel()
    assert run(shop, store, again) == EmbedReport(already=done, embedded=11 - done, failed=0)
    assert sum(again.batches) == 11 - done
    assert tree(store.folder) == tree(undisturbed.folder)


@pytest.mark.parametrize("step", ["write_atomic", "write_json"])
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
    write = getattr(embeddings, step)

    def die(path: Path, content: object) -> None:
        if path.stem == f"{shard:05d}":
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(embeddings, step, die)
        with pytest.raises(KeyboardInterrupt):
            run(shop, store)
    assert run(shop, store) == EmbedReport(already=4 * shard, embedded=11 - 4 * shard, failed=0)
    assert tree(store.folder) == tree(undisturbed.folder)


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
    broken = list(shop.catalogue.photos())[2].sha256
    breaks(shop, 2, how)
    assert run(shop, store) == EmbedReport(already=0, embedded=10, failed=1)
    assert vectors(store) == {p: colour for p, colour in BY_PHOTO.items() if p != broken}
    assert shop.catalogue.counts() == {"available": {"": 10}, "failed": {reason: 1}}
    assert run(shop, store) == EmbedReport(already=10, embedded=0, failed=0)


def test_a_photo_that_was_mended_is_embedded_after_the_next_ingest(
    shop: Shop, store: EmbeddingStore
) -> None:
    offer(shop)
    breaks(shop, 2)
    run(shop, store)
    offer(shop)
    assert run(shop, store) == EmbedReport(already=10, embedded=1, failed=0)
    assert vectors(store) == BY_PHOTO
    assert shop.catalogue.counts() == {"available": {"": 11}}


@pytest.mark.parametrize("broken", [[0], [10], [0, 1, 2, 3], [2, 3, 4], range(11)])
def test_whatever_fails_the_others_get_their_vectors(
    shop: Shop, store: EmbeddingStore, broken: list[int]
) -> None:
    offer(shop)
    photos = [photo.sha256 for photo in shop.catalogue.photos()]
    for number in sorted(broken, reverse=True):
        breaks(shop, number)
    report = run(shop, store)
    assert report == EmbedReport(0, 11 - len(broken), len(broken))
    good = [photo for number, photo in enumerate(photos) if number not in broken]
    assert vectors(store) == {photo: BY_PHOTO[photo] for photo in good}
    assert all(len(shard.photos) for shard in store.shards())
    assert list(shop.catalogue.showings()) == [(p, photos.index(p) + 1) for p in good]


def test_a_broken_photo_fails_every_item_that_shows_it(shop: Shop, store: EmbeddingStore) -> None:
    shop.offer({"a": COLOURS[:1], "b": COLOURS[:2], "c": COLOURS[:1]})
    breaks(shop, 0)
    assert run(shop, store) == EmbedReport(0, 1, 1)
    assert shop.catalogue.counts() == {"available": {"": 1}, "failed": {"photo missing": 2}}
