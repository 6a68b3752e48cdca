"""A photo of a source → its row in the ledger, by reading and decoding it unless it is known."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import images
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.photos import MISSING, PHOTOS_FAULT, UNREADABLE
from pipeline.catalog.records import in_range
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.sources.base import SourcePhoto


@dataclass(frozen=True)
class Inspector:
    """Describes photos; used on several threads at once."""

    catalog: Catalog
    limits: ImageLimits

    def inspect(self, photo: SourcePhoto, record: ImageRecord | None) -> ImageRecord:
        """Read and decode one photo, unless the ledger's record is of this very file."""
        try:
            if photo.data is not None:
                record = self._describe(photo.uri, photo.data)  # what is acceptable is stored
                stored = self.catalog.store_photo(photo.data, Path(photo.uri).suffix)
                return replace(record, path=stored)
            if photo.path is not None:
                return self._read(photo.uri, photo.path.absolute(), record)
        except RejectedImage as rejected:
            return ImageRecord(photo.uri, State.REJECTED, rejected.reason)
        return record if record and was_tried(record) else ImageRecord(photo.uri, State.PENDING)

    def _read(self, uri: str, path: Path, record: ImageRecord | None) -> ImageRecord:
        """Describe a file of the user's, which stays where it is."""
        try:
            str(path).encode()  # on Linux a file name may be any bytes
            status = path.stat()
            if record and is_same_file(record, path, status):
                return record
            data = images.read_bytes(path, self.limits)
        except UnicodeEncodeError:
            return ImageRecord(uri, State.FAILED, "file name is not UTF-8")
        except FileNotFoundError:
            return ImageRecord(uri, State.FAILED, MISSING)
        except OSError as error:
            if error.errno not in PHOTOS_FAULT:
                raise  # a bad disk stops the run
            return ImageRecord(uri, State.FAILED, f"{UNREADABLE}: {error.strerror}")
        mtime_ns, ctime_ns = file_times(status)
        photo = self._describe(uri, data)
        return replace(photo, path=str(path), mtime_ns=mtime_ns, ctime_ns=ctime_ns)

    def _describe(self, uri: str, data: bytes) -> ImageRecord:
        """Decode the bytes; a RejectedImage says why they are no acceptable photo."""
        image = images.decode(data, self.limits)
        photo = ImageRecord(uri, State.AVAILABLE, width=image.width, height=image.height)
        return replace(photo, size=len(data), sha256=hashlib.sha256(data).digest())


def was_tried(record: ImageRecord) -> bool:
    """Whether the download of a photo at a URL has ended, while its item was offered."""
    return record.tried_at is not None and record.state is not State.REMOVED


def is_known(photo: SourcePhoto, record: ImageRecord) -> bool:
    """Whether inspecting a photo would give this record again, as far as shows without reading."""
    if photo.uri != record.uri or photo.data is not None:
        return False
    if photo.path is None:
        return was_tried(record) or record == ImageRecord(photo.uri, State.PENDING)
    try:
        path = photo.path.absolute()
        return is_same_file(record, path, path.stat())
    except OSError:
        return False  # inspecting it tells why


def is_same_file(record: ImageRecord, path: Path, status: os.stat_result) -> bool:
    """Whether a record of an available photo is of this very file, unchanged."""
    recorded = (record.state, record.path, record.size, (record.mtime_ns, record.ctime_ns))
    return recorded == (State.AVAILABLE, str(path), status.st_size, file_times(status))


def file_times(status: os.stat_result) -> tuple[int, int]:
    """When the content changed, and when the file did: the first can be set to that of another."""
    return in_range(status.st_mtime_ns), in_range(status.st_ctime_ns)
