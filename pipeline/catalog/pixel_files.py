"""Decoded photos in files: training reads them in every epoch, and embedding once more.

They can always be made again, so they are kept only until the photos are embedded.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import digest, library_versions, read_sealed, write_sealed
from pipeline.catalog.catalog import Photo
from pipeline.catalog.photos import Prepared
from pipeline.errors import DamagedArtifactError, RejectedImage
from pipeline.images import U8Image

U8Photos = npt.NDArray[np.uint8]


class PixelFile:
    """Prepared photos of one size: `<part>.pixels` has the rows, `<part>.json` what they are.

    The latter has the SHA-256 of each row's photo, and the CRC-32 of its pixels. It is written
    last; without it the file does not exist.
    """

    def __init__(self, folder: Path, part: str, size: tuple[int, int]) -> None:
        self.rows_file = folder / f"{part}.pixels"
        self.photos_file = folder / f"{part}.json"
        self.size = size

    @classmethod
    def of(cls, photos_file: Path) -> PixelFile:
        """Open the pixel file whose `<part>.json` this is; raises as `read_sealed` does."""
        height, width = read_sealed(photos_file)["size"]
        return cls(photos_file.parent, photos_file.stem, (height, width))

    def is_complete(self) -> bool:
        """Whether `fill` ran to its end, and all that it wrote reached the disk."""
        if not (self.photos_file.is_file() and self.rows_file.is_file()):
            return False
        try:
            rows = len(self.checksums)
        except DamagedArtifactError:
            return False
        return self.rows_file.stat().st_size == rows * self.size[0] * self.size[1] * 3

    def is_intact(self) -> bool:
        """Whether it is complete, and each row has the pixels that were written; all are read."""
        return self.is_complete() and all(
            zlib.crc32(pixels.data) == checksum
            for pixels, checksum in zip(self.pixels, self.checksums, strict=True)
        )

    def fill(self, prepared: Iterable[Prepared]) -> list[tuple[Photo, RejectedImage]]:
        """Write the rows of all photos that have pixels; return the rejected ones and why."""
        self.rows_file.parent.mkdir(parents=True, exist_ok=True)
        photos: list[str] = []
        checksums: list[int] = []
        rejected: list[tuple[Photo, RejectedImage]] = []
        with self.rows_file.open("wb") as file:
            for photo, pixels in prepared:
                if isinstance(pixels, RejectedImage):
                    rejected.append((photo, pixels))
                else:
                    file.write(pixels.data)
                    photos.append(photo.sha256.hex())
                    checksums.append(zlib.crc32(pixels.data))
            file.flush()
            os.fsync(file.fileno())
        content = {"size": self.size, "photos": photos, "crc32": checksums}
        write_sealed(self.photos_file, content)
        return rejected

    @property
    def photos(self) -> U8Photos:
        """(n, 32) uint8: SHA-256 of each row's photo."""
        hashes = bytes.fromhex("".join(read_sealed(self.photos_file)["photos"]))
        return np.frombuffer(hashes, np.uint8).reshape(-1, 32)

    @property
    def checksums(self) -> list[int]:
        """The CRC-32 of each row's pixels."""
        return list(read_sealed(self.photos_file)["crc32"])

    @property
    def pixels(self) -> U8Photos:
        """(n, height, width, 3) uint8, mapped from the disk."""
        shape = (len(self.photos), *self.size, 3)
        if not shape[0]:
            return np.empty(shape, np.uint8)
        return np.memmap(self.rows_file, np.uint8, "r", shape=shape)


class PixelFolder(Mapping[bytes, U8Image]):
    """The pixel files of one way of preparing photos, by the SHA-256 of a photo.

    A photo whose pixels are no longer those that were written is not found: it is decoded anew.
    """

    def __init__(self, parent: Path, size: tuple[int, int], resize: str) -> None:
        name = digest([size, resize, library_versions("pillow")["pillow"]])
        self.folder = parent / f".{name}.pixels"
        self.size = size
        self._opened: list[BinaryIO] = []

    @cached_property
    def _rows(self) -> dict[bytes, tuple[BinaryIO, int, int]]:
        """SHA-256 of a photo → its pixel file, its row there, and the CRC-32 of that."""
        rows: dict[bytes, tuple[BinaryIO, int, int]] = {}
        for part in sorted(path.stem for path in self.folder.glob("*.json")):
            file = PixelFile(self.folder, part, self.size)
            if not file.is_complete():
                continue
            opened = file.rows_file.open("rb", buffering=0)
            self._opened.append(opened)
            index = zip(file.photos, file.checksums, strict=True)
            rows |= {photo.tobytes(): (opened, n, crc) for n, (photo, crc) in enumerate(index)}
        return rows

    def adopt(self, work: Path) -> None:
        """Move the pixel files of a folder here, and delete all else in it."""
        for path in work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        self.remove()
        work.rename(self.folder)

    def close(self) -> None:
        """Close the files; they are opened again when they are needed."""
        for file in self._opened:
            file.close()
        self._opened.clear()
        self.__dict__.pop("_rows", None)

    def remove(self) -> None:
        """Close the files and delete them."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __getitem__(self, photo: bytes) -> U8Image:
        file, row, checksum = self._rows[photo]
        size = self.size[0] * self.size[1] * 3
        # Read, not mapped: the pages of a map would count as this process's memory.
        data = os.pread(file.fileno(), size, row * size)
        if zlib.crc32(data) != checksum:
            raise KeyError(photo)
        return np.frombuffer(data, np.uint8).reshape(*self.size, 3)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._rows)
