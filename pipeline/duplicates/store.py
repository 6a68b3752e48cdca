"""What is known of near-duplicates, on disk: `duplicates/`, to which new photos are appended.

    photos.bin        a `PHOTO` of each photo: its hashes
    thumbnails.bin    1,536 bytes of each photo
    links.bin         two int64 for each link: rows of near-duplicates
    signatures.json   how many rows count, and their checksums; written last

It belongs to the contents of photos, as vectors do: a photo that no item shows any more stays, and
harms nothing. A run that was killed leaves bytes behind the rows that count; the next overwrites
them.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged, read_sealed, write_sealed
from pipeline.duplicates.hamming import Rows
from pipeline.duplicates.links import link
from pipeline.duplicates.signature import DIGEST_BYTES, METHOD, THUMBNAIL_BYTES, WINDOWS, Signatures
from pipeline.duplicates.signature import empty as no_signatures

SEAL = "signatures.json"
_PHOTOS, _THUMBNAILS, _LINKS = "photos.bin", "thumbnails.bin", "links.bin"
PHOTO = np.dtype(
    [
        ("photo", np.uint8, 32),
        ("pixels", np.uint8, DIGEST_BYTES),
        ("aspect", np.float32),
        ("codes", np.uint64, len(WINDOWS)),
        ("crc32", np.uint32),  # of the thumbnail
    ]
)


@dataclass(frozen=True)
class KnownPhotos:
    """The photos that have been compared with each other."""

    signatures: Signatures
    label: Rows
    """(n,): rows that hang together by near-duplicates have the same one."""
    generation: int
    """The state of the ledger whose photos are all among them; 0 if there is none."""
    path: Path | None = None
    checksums: npt.NDArray[np.uint32] | None = None

    def take(self, rows: Rows) -> Signatures:
        """Return the signatures of some rows.

        Raises:
            DamagedArtifactError: a thumbnail is not what was written.
        """
        taken = self.signatures.take(rows)
        if self.checksums is not None and self.path is not None:
            wanted = self.checksums[rows].tolist()
            if [zlib.crc32(one.tobytes()) for one in taken.thumbnails] != wanted:
                raise damaged(self.path / _THUMBNAILS, "its content has changed")
        return taken


def none_known() -> KnownPhotos:
    """Return what is known before the first photo."""
    return KnownPhotos(no_signatures(), np.empty(0, np.int64), 0)


class DuplicateStore:
    """The near-duplicates of a catalog: `DuplicateStore(config.folder / "duplicates").read()`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> KnownPhotos | None:
        """Return what is known; None if nothing is, or by another method than this one.

        Raises:
            DamagedArtifactError: it is not what was written.
        """
        if not os.path.lexists(self.folder / SEAL):
            return None
        seal = read_sealed(self.folder / SEAL)
        if seal.get("method") != METHOD:
            return None
        photos, links = self._read(_PHOTOS, PHOTO, seal), self._read(_LINKS, _PAIR, seal)
        rows = len(photos)
        label = np.arange(rows)
        if len(links):
            link(label, *links["rows"].T)
        thumbnails = self._thumbnails(rows)
        signatures = Signatures(
            photos["photo"], photos["pixels"], photos["aspect"], photos["codes"], thumbnails
        )
        return KnownPhotos(signatures, label, seal["generation"], self.folder, photos["crc32"])

    def extend(self, known: KnownPhotos, new: Signatures) -> Signatures:
        """Append the signatures of new photos, which do not count yet; return those of all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = len(known.label)
        _write(self.folder / _THUMBNAILS, rows * THUMBNAIL_BYTES, new.thumbnails.tobytes())
        _write(self.folder / _PHOTOS, rows * PHOTO.itemsize, _records(new).tobytes())
        small = [p._replace(thumbnails=no_signatures().thumbnails) for p in (known.signatures, new)]
        thumbnails = self._thumbnails(rows + len(new.codes))
        return Signatures.join(small)._replace(thumbnails=thumbnails)

    def seal(self, rows: int, links: Rows, generation: int) -> None:
        """Let rows count that were appended, and their links; all in one step."""
        before = (
            read_sealed(self.folder / SEAL) if self._is_current() else {_PHOTOS: [], _LINKS: []}
        )
        linked = sum(part["rows"] for part in before[_LINKS])
        _write(self.folder / _LINKS, linked * _PAIR.itemsize, links.tobytes())
        parts = {
            _PHOTOS: before[_PHOTOS] + self._part(_PHOTOS, PHOTO, before[_PHOTOS], rows),
            _LINKS: before[_LINKS] + self._part(_LINKS, _PAIR, before[_LINKS], linked + len(links)),
        }
        write_sealed(self.folder / SEAL, {"method": METHOD, "generation": generation, **parts})

    def _is_current(self) -> bool:
        path = self.folder / SEAL
        return os.path.lexists(path) and read_sealed(path).get("method") == METHOD

    def _part(self, name: str, dtype: np.dtype[Any], before: list[Any], rows: int) -> list[Any]:
        """What to note of the rows that were appended to a file; nothing of none."""
        start = sum(part["rows"] for part in before)
        if rows == start:
            return []
        with (self.folder / name).open("rb") as file:
            file.seek(start * dtype.itemsize)
            data = file.read((rows - start) * dtype.itemsize)
        return [{"rows": rows - start, "sha256": hashlib.sha256(data).hexdigest()}]

    def _read(self, name: str, dtype: np.dtype[Any], seal: dict[str, Any]) -> npt.NDArray[np.void]:
        """Read the rows of a file that count, and compare them with what was noted."""
        parts, path = seal[name], self.folder / name
        data = path.read_bytes() if path.is_file() else b""
        start = 0
        for part in parts:
            end = start + part["rows"] * dtype.itemsize
            if hashlib.sha256(memoryview(data)[start:end]).hexdigest() != part["sha256"]:
                raise damaged(path, "its content has changed")
            start = end
        return np.frombuffer(data, dtype, count=start // dtype.itemsize)

    def _thumbnails(self, rows: int) -> npt.NDArray[np.uint8]:
        path = self.folder / _THUMBNAILS
        if not rows:
            return np.empty((0, THUMBNAIL_BYTES), np.uint8)
        if not path.is_file() or path.stat().st_size < rows * THUMBNAIL_BYTES:
            raise damaged(path, "it is cut short or missing")
        return np.memmap(path, np.uint8, "r", shape=(rows, THUMBNAIL_BYTES))


_PAIR = np.dtype([("rows", np.int64, 2)])


def _records(new: Signatures) -> npt.NDArray[np.void]:
    records = np.zeros(len(new.codes), PHOTO)
    for name, values in zip(("photo", "pixels", "aspect", "codes"), new[:-1], strict=True):
        records[name] = values
    records["crc32"] = [zlib.crc32(one.tobytes()) for one in new.thumbnails]
    return records


def _write(path: Path, start: int, data: bytes) -> None:
    """Write at a place of a file, cutting off what is behind it, and flush it to the disk."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(start)
        file.seek(start)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
