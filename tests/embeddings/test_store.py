"""Shards are whole or absent, and hold what was put in."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.embeddings import store as embeddings
from pipeline.embeddings.arrays import to_hashes
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import DamagedArtifactError
from tests.conftest import tree

PHOTOS = [hashlib.sha256(bytes([n, 18])).digest() for n in range(6)]  # shards are in order
FIRST, SECOND, THIRD = (
    hashlib.sha256(b"".join(PHOTOS[start:end])).hexdigest()[:16]
    for start, end in ((0, 4), (4, 5), (5, 6))
)
VECTORS = np.random.default_rng(1).standard_normal((6, 5)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """Two shards, of the first four photos and of the next."""
    made = EmbeddingStore(tmp_path / "fingerprint")
    made.write(PHOTOS[:4], VECTORS[:4], "colors 1")
    made.write(PHOTOS[4:5], VECTORS[4:5])
    return made


def test_a_store_that_was_never_written_is_empty(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "none")
    assert store.photos() == set()
    assert list(store.shards()) == []
    assert not store.folder.exists()


def test_vectors_are_read_back_exactly_and_in_order(store: EmbeddingStore) -> None:
    again = EmbeddingStore(store.folder)
    first, second = again.shards()
    assert first.hashes.tobytes() == b"".join(PHOTOS[:4])
    assert second.hashes.tobytes() == PHOTOS[4]
    np.testing.assert_array_equal(first.vectors(), VECTORS[:4])
    np.testing.assert_array_equal(second.vectors(), VECTORS[4:5])
    assert again.photos() == set(PHOTOS[:5])


def test_the_files_can_be_read_without_this_program(store: EmbeddingStore) -> None:
    names = sorted(path.name for path in store.folder.iterdir())
    assert names == [f"{FIRST}.json", f"{FIRST}.npy", f"{SECOND}.json", f"{SECOND}.npy"]
    np.testing.assert_array_equal(np.load(store.folder / f"{FIRST}.npy"), VECTORS[:4])
    marker = json.loads((store.folder / f"{FIRST}.json").read_bytes())
    data = (store.folder / f"{FIRST}.npy").read_bytes()
    del marker["checksum"]
    assert marker == {
        "photos": "".join(photo.hex() for photo in PHOTOS[:4]),
        "rows": "".join(hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in VECTORS[:4]),
        "sha256": hashlib.sha256(data).hexdigest(),
        "runtime": "colors 1",
    }


def test_any_layout_in_memory_becomes_the_same_bytes(tmp_path: Path) -> None:
    layouts = (VECTORS, np.asfortranarray(VECTORS), VECTORS.astype(np.float64), VECTORS[::-1][::-1])
    files = [
        EmbeddingStore(tmp_path / str(number)).write(PHOTOS, vectors).file.read_bytes()
        for number, vectors in enumerate(layouts)
    ]
    assert len(set(files)) == 1


def test_vectors_are_selected_by_their_photos(store: EmbeddingStore) -> None:
    asked = to_hashes(b"".join(PHOTOS[n] for n in (4, 1, 5, 3)))  # PHOTOS[5] has no vector
    (first_rows, first_vectors), (second_rows, second_vectors) = store.select(asked)
    assert first_rows.tolist() == [1, 3]
    np.testing.assert_array_equal(first_vectors, VECTORS[[1, 3]])
    assert second_rows.tolist() == [0]
    np.testing.assert_array_equal(second_vectors, VECTORS[[4]])
    assert list(store.select(to_hashes(PHOTOS[5]))) == []
    assert store.present(asked).tolist() == [True, True, False, True]


def test_vectors_are_gathered_in_the_order_asked_for(store: EmbeddingStore, tmp_path: Path) -> None:
    asked = [4, 1, 5, 3]  # PHOTOS[5] has no vector
    hashes = np.frombuffer(b"".join(PHOTOS[n] for n in asked), np.uint8).reshape(-1, 32)
    expected = VECTORS[asked]
    expected[2] = 0
    np.testing.assert_array_equal(store.gather(hashes), expected)
    np.testing.assert_array_equal(store.gather(hashes[2:3]), np.zeros((1, 5)))
    assert EmbeddingStore(tmp_path / "none").gather(hashes).shape == (0, 0)


@pytest.mark.parametrize("step", ["write_atomic", "write_sealed"])
def test_a_shard_whose_writing_was_killed_does_not_exist(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embeddings, step, die)
        with pytest.raises(KeyboardInterrupt):
            store.write(PHOTOS[5:], VECTORS[5:])
    assert store.photos() == set(PHOTOS[:5])
    shard = store.write(PHOTOS[5:], VECTORS[5:])
    assert shard.file.name == f"{THIRD}.npy"
    np.testing.assert_array_equal(shard.vectors(), VECTORS[5:])


def test_a_shard_is_the_same_file_whoever_writes_it_and_when(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    before = tree(store.folder)
    store.write(PHOTOS[4:5], VECTORS[4:5])
    assert tree(store.folder) == before
    other = EmbeddingStore(tmp_path / "other")
    other.write(PHOTOS[4:5], VECTORS[4:5])
    other.write(PHOTOS[:4], VECTORS[:4], "colors 1")
    assert tree(other.folder) == before
    (store.folder / f"{FIRST}.json").unlink()
    assert store.photos() == {PHOTOS[4]}
    store.write(PHOTOS[:4], VECTORS[:4], "colors 1")
    assert tree(store.folder) == before


def test_every_flipped_bit_of_a_shard_is_noticed(store: EmbeddingStore) -> None:
    shard = next(store.shards())
    data = shard.file.read_bytes()
    for bit in range(0, 8 * len(data), 5):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        shard.file.write_bytes(flipped)
        with pytest.raises(DamagedArtifactError, match="its content has changed"):
            shard.vectors()


def test_the_checksum_is_of_the_vectors_whatever_their_shards(tmp_path: Path) -> None:
    photos = to_hashes(b"".join(PHOTOS))
    parts = {"one": [0, 6], "two": [0, 2, 6], "all": range(7)}
    stores = []
    for name, bounds in parts.items():
        store = EmbeddingStore(tmp_path / name)
        for start, end in itertools.pairwise(bounds):
            store.write(PHOTOS[start:end], VECTORS[start:end])
        stores.append(store)
    assert len({store.checksums(photos).tobytes() for store in stores}) == 1
    other = EmbeddingStore(tmp_path / "other")
    changed = VECTORS.copy()
    changed[3, 2] += 1
    other.write(PHOTOS, changed)
    is_same = (other.checksums(photos) == stores[0].checksums(photos)).all(axis=1)
    assert is_same.tolist() == [True, True, True, False, True, True]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        truncate,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"no array"),
        lambda file: np.save(file, VECTORS[:3]),
        lambda file: np.save(file, VECTORS[:4].astype(np.float64)),
        lambda file: np.save(file, VECTORS[0, :4]),
        lambda file: np.save(file, np.array([{}] * 4), allow_pickle=True),
    ],
    ids=[
        "missing",
        "cut",
        "empty",
        "no array",
        "fewer rows",
        "another type",
        "another shape",
        "a pickle",
    ],
)
def test_vectors_that_are_not_what_was_written_are_refused(
    store: EmbeddingStore, damage: Callable[[Path], object]
) -> None:
    shard = next(store.shards())
    damage(shard.file)
    mend = f"delete {shard.file.with_suffix('.json')} and run"
    with pytest.raises(DamagedArtifactError, match=f"{shard.file}: damaged: .*{mend}"):
        shard.vectors()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"photos": ["x"], "sha256": ""}', b'{"photos": 1}']
)
def test_a_marker_that_cannot_be_read_is_refused(store: EmbeddingStore, content: bytes) -> None:
    marker = store.folder / f"{SECOND}.json"
    marker.write_bytes(content)
    with pytest.raises(DamagedArtifactError, match=f"{marker}: damaged: .* delete {marker} and"):
        store.photos()
