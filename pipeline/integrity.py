"""Files of a published folder, read so that no answer comes from altered bytes.

`publish` notes the SHA-256 of every file in the folder's manifest, and here is where files are
compared with it. A small one is read whole and parsed from the very bytes that were compared
(`read_published`). A large one is compared once and then used in place, mapped or loaded by a
library (`check_published`, `Watch`): the system notes when a file changes (its ctime, which no
program can set), so a file that is still the one that was compared need not be read again. What it
cannot notice are bytes that change on the disk without being written: `imgsearch verify` reads all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Collection, Iterator
from io import BufferedReader
from pathlib import Path
from threading import Lock
from typing import Self

from pipeline.artifacts import (
    Manifest,
    damaged,
    open_file,
    read_file,
    read_manifest,
    read_sealed,
    sha256_file,
    write_sealed,
)
from pipeline.errors import DamagedArtifactError

CHANGED = "its content has changed"
CHECKED = "checked.json"
"""In a published folder: which of its large files were compared with their checksums, and when."""
MIN_REMEMBERED_BYTES = 2**22  # smaller files are sooner read than looked up
_SETTLED_NS = 2 * 10**9  # a file may change twice within one tick of the clock that dates it

Identity = tuple[int, ...]
"""Device, inode, size, mtime and ctime in ns: it changes whenever a file does."""


def read_published(folder: Path, manifest: Manifest, name: str) -> bytes:
    """Read a small file of a published folder whole, and compare it with the manifest.

        array = np.load(io.BytesIO(read_published(build.path, build.manifest, "ids.npy")))

    Raises:
        DamagedArtifactError: it is missing, not in the manifest, or a byte of it has changed.
        OSError: it cannot be read.
    """
    data = read_file(folder / name)
    if hashlib.sha256(data).hexdigest() != published_sha256(folder, manifest, name):
        raise damaged(folder / name, CHANGED)
    return data


def check_published(folder: Path, manifest: Manifest, name: str) -> Path:
    """Compare a large file of a published folder with the manifest; return its path.

    It is read once: that it was compared is remembered beside it, as long as it does not change.

        network.load_weights(check_published(model.path, model.manifest, "model.weights.h5"))

    Raises:
        DamagedArtifactError, OSError: as `read_published`.
    """
    with open_file(folder / name) as file:
        _WatchedFile(folder, name, published_sha256(folder, manifest, name), file)  # or it raises
    return folder / name


def published_sha256(folder: Path, manifest: Manifest, name: str) -> str:
    """Return the checksum that a manifest notes for a file.

    Raises:
        DamagedArtifactError: it does not list the file.
    """
    if name not in manifest["files"]:
        raise damaged(folder / name, "its manifest does not list it")
    return str(manifest["files"][name]["sha256"])


class Watch:
    """Files of a published folder that stay in use, as those of an index that is mapped.

    Whatever is read from them within a `with` block was not altered: if a file has changed since
    it was compared, it is compared again. It may serve several threads.

        watch = Watch(build.path, build.manifest, ["index.faiss"])
        with watch: neighbors = index.search(queries, k)

    The block, and making it, raise a DamagedArtifactError where a file is not what was written.
    """

    def __init__(self, folder: Path, manifest: Manifest, names: Collection[str]) -> None:
        with contextlib.ExitStack() as stack:
            self._files = [
                _WatchedFile(
                    folder,
                    name,
                    published_sha256(folder, manifest, name),
                    stack.enter_context(open_file(folder / name)),
                )
                for name in names
            ]
            self._opened = stack.pop_all()

    def __enter__(self) -> Self:
        for file in self._files:
            file.check()
        return self

    def __exit__(self, *_: object) -> None:
        # Also where the block failed: it may have failed because of what it read.
        self.__enter__()

    def close(self) -> None:
        """Close the files; they are not watched any more."""
        self._files = []
        self._opened.close()


class _WatchedFile:
    """One open file, whose checksum was right when it had `_identity`."""

    def __init__(self, folder: Path, name: str, sha256: str, file: BufferedReader) -> None:
        self._path, self._sha256, self._file = folder / name, sha256, file
        self._lock = Lock()
        self._identity = self._identity_now()
        is_large = self._identity[2] >= MIN_REMEMBERED_BYTES
        proof: list[str | int] = [sha256, *self._identity]
        if is_large and _remembered(folder).get(name) == proof:
            return
        self._compare()
        if is_large and time.time_ns() - self._identity[-1] > _SETTLED_NS:
            _remember(folder, name, proof)

    def check(self) -> None:
        """Compare the file again if it has changed in any way; it may have been unlinked only."""
        if self._identity_now() == self._identity:
            return
        with self._lock:
            now = self._identity_now()
            self._compare()
            self._identity = now

    def _compare(self) -> None:
        self._file.seek(0)
        if hashlib.file_digest(self._file, "sha256").hexdigest() != self._sha256:
            raise damaged(self._path, CHANGED)

    def _identity_now(self) -> Identity:
        status = os.fstat(self._file.fileno())
        times = (status.st_mtime_ns, status.st_ctime_ns)
        return (status.st_dev, status.st_ino, status.st_size, *times)


def _remembered(folder: Path) -> Manifest:
    """File name → its checksum and its identity when that was compared."""
    try:
        return read_sealed(folder / CHECKED)
    except (DamagedArtifactError, OSError):
        return {}  # the files are compared again


def _remember(folder: Path, name: str, proof: list[str | int]) -> None:
    with contextlib.suppress(OSError):  # where nothing may be written they are compared each time
        write_sealed(folder / CHECKED, {**_remembered(folder), name: proof})


def read_current(file: Path) -> str | None:
    """Return the name of a folder that a `CURRENT` file holds; None if it holds none, or is absent.

    Raises:
        DamagedArtifactError: it is something else than a file.
        OSError: it cannot be read.
    """
    if not os.path.lexists(file):
        return None
    text = read_file(file, remove=file).decode(errors="replace").strip()
    return text if re.fullmatch("[0-9a-f]+", text) else None


def damaged_files(folder: Path) -> Iterator[DamagedArtifactError | OSError]:
    """Yield an error for every file of a published folder that is damaged or cannot be read.

    All of them are read, whatever is remembered.
    """
    try:
        manifest = read_manifest(folder)
    except (DamagedArtifactError, OSError) as error:
        yield error
        return
    for name in manifest["files"]:
        try:
            if sha256_file(folder / name) != published_sha256(folder, manifest, name):
                yield damaged(folder / name, CHANGED)
        except (DamagedArtifactError, OSError) as error:
            yield error
