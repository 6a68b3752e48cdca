"""Sizes are compared with the files of indexes that are really written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from pipeline.embeddings.arrays import to_hashes
from pipeline.embeddings.segment import Segment, SegmentStore
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import NoRoomError
from pipeline.index import room
from pipeline.index.sealing import Sealer
from pipeline.index.sizes import index_size

DIM, ROWS = 128, 3000


def sealer(folder: Path, index: dict[str, object], notes: list[str]) -> tuple[Sealer, list[bytes]]:
    random = np.random.default_rng(0)
    photos = sorted(random.bytes(32) for _ in range(ROWS))
    segments = SegmentStore(folder / "segments")
    store = EmbeddingStore(folder / "embeddings", segments)
    places = random.standard_normal((ROWS, 6)) @ random.standard_normal((6, DIM))
    store.write(photos, places.astype(np.float32))
    description = {"engine": "e", "fingerprint": "f", "dim": DIM, "index": index}
    return Sealer(segments, store, description, lambda *_: None, notes.append), photos


def seal(seal_: Sealer, photos: Iterable[bytes]) -> Segment:
    ids = np.column_stack([np.arange(ROWS), np.arange(ROWS)])
    return seal_(to_hashes(b"".join(photos)), ids, np.empty(0, np.int64))


@pytest.mark.parametrize("index", [{"type": "flat"}, {"type": "pruned"}], ids=["flat", "pruned"])
def test_bytes_are_those_of_the_files(tmp_path: Path, index: dict[str, object]) -> None:
    segment = seal(*sealer(tmp_path, index, []))
    length = None
    if index["type"] == "pruned":
        length = len(json.loads((segment.path / "bounds.json").read_bytes())["offset"])

    size = index_size(str(index["type"]), ROWS, DIM, code_length=length)

    files = {path.name: path.stat().st_size for path in segment.path.iterdir()}
    assert size.disk == pytest.approx(sum(files.values()), rel=0.005)
    if length:
        codes = files["codes.faiss"] + files["basis.npy"]
        assert size.codes == pytest.approx(codes, rel=0.005)
        assert size.memory < size.vectors


def test_few_or_short_vectors_have_no_codes() -> None:
    assert index_size("pruned", 2047, 1280).codes == 0
    assert index_size("pruned", 10**6, 16).codes == 0
    assert index_size("pruned", 10**6, 1280).codes > 0


def test_a_promise_takes_more_clusters() -> None:
    exact, promised = (index_size("pruned", 10**6, 1280, recall) for recall in (None, 0.99))

    assert promised.clusters == 2000
    assert exact.codes < promised.codes < 1.05 * exact.codes


def test_what_cannot_fit_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_disk", lambda *_, **__: 4 * ROWS * DIM)

    with pytest.raises(NoRoomError, match=r"e: indexing writes 1\.7 MB or more, and 1\.5 MB"):
        seal(*sealer(tmp_path, {"type": "flat"}, []))
    assert not os.path.lexists(tmp_path / "segments")


def test_what_may_not_fit_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_disk", lambda *_, **__: 1_750_000)
    notes: list[str] = []

    assert seal(*sealer(tmp_path, {"type": "flat"}, notes)).rows == ROWS
    assert [note[:13] for note in notes] == ["e: indexing w"]


def test_memory_that_cannot_hold_the_codes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = index_size("pruned", 10**7, 1280)
    monkeypatch.setattr(room, "total_memory", lambda: size.building - 1)
    monkeypatch.setattr(room, "available_memory", lambda: size.building)

    with pytest.raises(NoRoomError, match="of memory or more"):
        room.check_memory("e", tmp_path, size, print)
    monkeypatch.setattr(room, "total_memory", lambda: 3 * size.building)
    notes: list[str] = []
    room.check_memory("e", tmp_path, size, notes.append)
    assert len(notes) == 1


def test_room_is_asked_for_where_a_folder_will_be(tmp_path: Path) -> None:
    assert room.free_disk(tmp_path / "not" / "yet") == pytest.approx(
        shutil.disk_usage(tmp_path).free, rel=0.1
    )
    assert (room.available_memory() or 0) <= (room.total_memory() or 0)
