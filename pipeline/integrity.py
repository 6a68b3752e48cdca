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
from collections.abc import Collection, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from threading import Lock
from typing import Any, Self

from pipeline.artifacts import (
    MANIFEST,
    Manifest,
    damaged,
    open_file,
    publish,
    read_file,
    read_manifest,
    remove,
    sha256_file,
    write_sealed,
)
from pipeline.compared import (
    MIN_REMEMBERED_BYTES,
    note_compared,
    note_written,
    settled_status,
    was_compared,
)
from pipeline.errors import DamagedArtifactError

CHANGED = "its content has changed"


def read_published(folder: Path, manifest: Manifest, name: str) -> bytes:
    """Read a small file of a published folder whole, and compare it with the manifest.

        array = np.load(io.BytesIO(read_published(build.path, build.manifest, "changes.npy")))

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
        _WatchedFile(folder / name, published_sha256(folder, manifest, name), file)  # or it raises
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

        watch = Watch(segment.path, segment.manifest, ["index.faiss"])
        with watch: neighbors = index.search(queries, k)

    The block, and making it, raise a DamagedArtifactError where a file is not what was written.
    """

    def __init__(self, folder: Path, manifest: Manifest, names: Collection[str]) -> None:
        with contextlib.ExitStack() as stack:
            self._files = [
                _WatchedFile(
                    folder / name,
                    published_sha256(folder, manifest, name),
                    stack.enter_context(open_file(folder / name)),
                )
                for name in names
            ]
            self._opened = stack.pop_all()

    def __enter__(self) -> Self:
        # Before, too: reading a map whose file was cut short ends the process.
        for file in self._files:
            if os.fstat(file.descriptor).st_ctime_ns != file.ctime_ns:
                file.compare_again()
        return self

    def __exit__(self, *_: object) -> None:
        # Also where the block failed: it may have failed because of what it read.
        self.__enter__()

    def close(self) -> None:
        """Close the files; they are not watched any more."""
        self._files = []
        self._opened.close()


class _WatchedFile:
    """One open file, whose checksum was right when its inode last changed at `ctime_ns`."""

    def __init__(self, path: Path, sha256: str, file: BufferedReader) -> None:
        self._path, self._sha256, self._file = path, sha256, file
        self._lock = Lock()
        self.descriptor = file.fileno()
        status = os.fstat(self.descriptor)
        self.ctime_ns = status.st_ctime_ns
        if not was_compared(path, sha256, status):
            self._compare()
            note_compared(path, sha256, status)

    def compare_again(self) -> None:
        """Compare the file, which has changed in some way: it may have been unlinked only."""
        with self._lock:
            ctime_ns = os.fstat(self.descriptor).st_ctime_ns
            self._compare()
            self.ctime_ns = ctime_ns

    def _compare(self) -> None:
        self._file.seek(0)
        if hashlib.file_digest(self._file, "sha256").hexdigest() != self._sha256:
            raise damaged(self._path, CHANGED)


@contextlib.contextmanager
def publish_compared(folder: Path, content: Mapping[str, Any]) -> Iterator[Path]:
    """Like `artifacts.publish`, which compares all files: of large ones that is remembered.

    So whoever opens them next need not read them whole.
    """
    with publish(folder, content) as aside:
        yield aside
        large = [path for path in aside.iterdir() if path.stat().st_size >= MIN_REMEMBERED_BYTES]
        statuses = {path.name: _settled_file(path) for path in large}
    manifest = read_manifest(folder)
    for name, status in statuses.items():
        note_written(folder / name, published_sha256(folder, manifest, name), status)


def _settled_file(path: Path) -> os.stat_result:
    with open_file(path) as file:
        return settled_status(file.fileno())


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


def damaged_files(folder: Path) -> Iterator[tuple[Path, DamagedArtifactError | OSError]]:
    """Yield every file of a published folder that is damaged or cannot be read, and its error.

    All of them are read, whatever is remembered.
    """
    try:
        manifest = read_manifest(folder)
    except (DamagedArtifactError, OSError) as error:
        yield folder / MANIFEST, error
        return
    for name in manifest["files"]:
        try:
            if sha256_file(folder / name) != published_sha256(folder, manifest, name):
                raise damaged(folder / name, CHANGED)
        except (DamagedArtifactError, OSError) as error:
            yield folder / name, error


def is_whole(folder: Path) -> bool:
    """Whether a published folder is there; a damaged one is removed, to be made again.

    Large files that were compared before and have not changed since are not read again.

    Raises:
        OSError: it cannot be read.
    """
    if not os.path.lexists(folder):
        return False
    try:
        check_folder(folder)
    except DamagedArtifactError:
        remove(folder)
        return False
    return True


def check_folder(folder: Path) -> None:
    """Compare all files of a published folder with its manifest, as `check_published` does.

    Raises:
        DamagedArtifactError, OSError: as `read_published`.
    """
    manifest = read_manifest(folder)
    for name in manifest["files"]:
        check_published(folder, manifest, name)


def drop_file(path: Path) -> None:
    """Delete a file of a published folder that is as good without it, and take it off the list.

    Raises:
        DamagedArtifactError: the manifest is not what was written.
    """
    manifest = read_manifest(path.parent)
    files = {name: entry for name, entry in manifest["files"].items() if name != path.name}
    write_sealed(path.parent / MANIFEST, {**manifest, "files": files})
    remove(path)
