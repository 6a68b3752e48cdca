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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import damaged, read_sealed, remove, write_sealed
from pipeline.duplicates.hamming import Rows
from pipeline.duplicates.links import link
from pipeline.duplicates.signature import DIGEST_BYTES, METHOD, THUMBNAIL_BYTES, WINDOWS, Signatures
from pipeline.duplicates.signature import empty as no_signatures

SEAL = "signatures.json"
_BLOCK = 4096  # thumbnails that are compared with their checksums at a time
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
    checksums: npt.NDArray[np.uint32]
    """(n,): the CRC-32 of each thumbnail."""
    path: Path | None = None
    """Where they are kept, if they are."""

    def with_new(self, new: Signatures) -> KnownPhotos:
        """Return these and new photos, which hang together with none yet; in memory."""
        rows = len(self.label) + len(new.codes)
        return KnownPhotos(
            Signatures.join([self.signatures, new]),
            np.append(self.label, np.arange(len(self.label), rows)),
            0,
            np.append(self.checksums, _checksums(new)),
            self.path,
        )

    def take(self, rows: Rows) -> Signatures:
        """Return the signatures of some rows.

        Raises:
            DamagedArtifactError: a thumbnail is not what was written.
        """
        taken = self.signatures.take(rows)
        if self.path is not None and (_checksums(taken) != self.checksums[rows]).any():
            raise damaged(self.path / _THUMBNAILS, "its content has changed")
        return taken

    def check(self) -> None:
        """Compare all thumbnails with their checksums; raises as `take`."""
        rows = np.arange(len(self.label))
        for start in range(0, len(rows), _BLOCK):
            self.take(rows[start : start + _BLOCK])


def none_known() -> KnownPhotos:
    """Return what is known before the first photo."""
    none = no_signatures()
    return KnownPhotos(none, np.empty(0, np.int64), 0, _checksums(none))


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
        return KnownPhotos(signatures, label, seal["generation"], photos["crc32"], self.folder)

    def extend(self, known: KnownPhotos, new: Signatures) -> KnownPhotos:
        """Append the signatures of new photos, which do not count yet; return those of all."""
        rows = len(known.label)
        if not rows:
            remove(self.folder)  # what others have open stays what it was
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / _THUMBNAILS, rows * THUMBNAIL_BYTES, new.thumbnails.tobytes())
        _write(self.folder / _PHOTOS, rows * PHOTO.itemsize, _records(new).tobytes())
        none = no_signatures().thumbnails
        small = replace(known, signatures=known.signatures._replace(thumbnails=none))
        both = small.with_new(new._replace(thumbnails=none))
        thumbnails = self._thumbnails(len(both.label))
        return replace(
            both,
            signatures=both.signatures._replace(thumbnails=thumbnails),
            checksums=np.append(known.checksums, _checksums(new)),
            path=self.folder,
        )

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
    records["crc32"] = _checksums(new)
    return records


def _checksums(signatures: Signatures) -> npt.NDArray[np.uint32]:
    """(n,): the CRC-32 of each thumbnail."""
    return np.array([zlib.crc32(one.tobytes()) for one in signatures.thumbnails], np.uint32)


def _write(path: Path, start: int, data: bytes) -> None:
    """Write at a place of a file, cutting off what is behind it, and flush it to the disk."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(start)
        file.seek(start)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
