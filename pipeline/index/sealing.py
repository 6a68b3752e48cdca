"""Write a segment, unless it is there: `segments/<id>/`, named by what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import digest
from pipeline.embeddings.arrays import F32Matrix, Hashes, Ids
from pipeline.embeddings.segment import (
    CHECKSUMS_FILE,
    IDS_FILE,
    PHOTOS_FILE,
    Segment,
    SegmentStore,
)
from pipeline.embeddings.store import EmbeddingStore
from pipeline.index import write_index
from pipeline.index.room import check_disk, check_memory
from pipeline.index.sizes import index_size
from pipeline.integrity import is_whole, publish_compared
from pipeline.progress import Advance

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Sealer:
    """Seals segments of one engine, from the vectors of one model."""

    segments: SegmentStore
    vectors: EmbeddingStore
    description: dict[str, Any]
    """As `build.describe` returns it."""
    advance: Advance
    note: Callable[[str], object]
    """Told where there may be too little room."""

    def __call__(self, hashes: Hashes, ids: Ids, without_direction: Ids) -> Segment:
        """Seal (n, 32) photos; see `Segment` for the others.

        Raises:
            DamagedArtifactError: a vector is not what was written.
            NoRoomError: it cannot fit.
        """
        content = {
            **{name: self.description[name] for name in ("fingerprint", "dim", "index")},
            "rows": len(hashes),
            "without_direction": without_direction.tolist(),
        }
        arrays: Arrays = {
            PHOTOS_FILE: hashes,
            CHECKSUMS_FILE: self.vectors.checksums(hashes),
            IDS_FILE: ids,
        }
        checksums = [sha256_array(array) for array in arrays.values()]
        folder = self.segments.folder / digest([content, checksums])
        if not is_whole(folder):
            self._check_room(len(hashes))
            runtimes = self.vectors.runtimes(hashes)  # which the name does not depend on
            with publish_compared(folder, {**content, "runtimes": runtimes}) as aside:
                self._write(aside, content, arrays)
        return self.segments.open(folder.name)

    def _check_room(self, rows: int) -> None:
        name, index = f"{self.description['engine']}: indexing", self.description["index"]
        size = index_size(index["type"], rows, self.description["dim"], index.get("recall"))
        check_disk(name, self.segments.folder, size.disk, self.note)
        check_memory(name, self.segments.folder, size, self.note)

    def _write(self, aside: Path, content: dict[str, Any], arrays: Arrays) -> None:
        for name, array in arrays.items():
            np.save(aside / name, array, allow_pickle=False)
        photos = arrays[PHOTOS_FILE]
        kind, recall = content["index"]["type"], content["index"].get("recall")
        write_index(kind, aside, len(photos), content["dim"], self._read(photos), recall)

    def _read(self, photos: Hashes) -> Iterator[tuple[Ids, F32Matrix]]:
        for rows, vectors in self.vectors.select(photos):
            yield rows, vectors
            self.advance(len(rows))


def sha256_array(array: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of an array's values, as hexadecimal digits."""
    return hashlib.sha256(array.tobytes()).hexdigest()
