"""Files and folders that are complete or absent.

Everything is written aside, flushed to the disk, and renamed into place; a folder carries a
`manifest.json` with the size and SHA-256 of each of its files. A run killed at any instant leaves
only complete files and folders, and names that begin with a dot, which the next run deletes.

A manifest, and what else is sealed, carries a checksum of itself; `integrity` compares the files
of a folder with its manifest when they are read.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from pipeline.errors import DamagedArtifactError
from pipeline.locks import is_locked

MANIFEST = "manifest.json"
Manifest = dict[str, Any]
_SEAL = "checksum"
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What the system answers where this process may read only."""


def digest(content: Any) -> str:
    """Return a 16-character name for JSON-able content; the same content has the same name.

    digest({"size": 64, "seed": 7})
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def library_versions(*names: str) -> dict[str, str]:
    """Return the major.minor versions of installed libraries, without importing them."""
    from importlib.metadata import version  # it imports much

    return {name: ".".join(version(name).split(".")[:2]) for name in names}


def sha256_file(path: Path, remove: Path | None = None) -> str:
    """Hash a file in constant memory; returns 64 hexadecimal digits; raises as `open_file`."""
    with open_file(path, remove) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_file(path: Path, remove: Path | None = None) -> BufferedReader:
    """Open a file for reading; unlike `open` it does not wait for the other end of a FIFO.

    `remove` is what to delete if it is damaged, else its folder.

    Raises:
        DamagedArtifactError: it is missing, or something else than a file.
        OSError: it cannot be read, which says nothing of its content.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise damaged(path, "it is missing", remove) from error
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP):  # a socket, or links that go in circles
            raise damaged(path, "it is not a file", remove) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise damaged(path, "it is not a file", remove)
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, remove: Path | None = None) -> bytes:
    """Read a file whole; raises as `open_file` does."""
    with open_file(path, remove) as file:
        return file.read()


def write_atomic(path: Path, data: bytes, aside: Path | None = None, *, flush: bool = True) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part of it.

    It is first written in the folder `aside`, on the same file system, or beside `path`. Threads,
    and machines that share the folder, may write the same file at once. Without `flush` it survives
    a kill, but maybe not a power cut.
    """
    with replacing(path, aside, flush=flush) as unfinished:
        unfinished.write_bytes(data)


@contextmanager
def replacing(path: Path, aside: Path | None = None, *, flush: bool = True) -> Iterator[Path]:
    """Yield the path of a file to write; when the block ends without an error it becomes `path`.

    Until then it is locked, so that `sweep` leaves it. An OSError names `path` if no other file.

    with replacing(Path("vectors.npy")) as unfinished: unfinished.write_bytes(data)
    """
    unique = os.urandom(6).hex()  # over all machines that share the folder
    unfinished = (aside or path.parent) / f".{path.name}.{unique}.tmp"
    try:
        with unfinished.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield unfinished
            if flush:
                _sync(unfinished)
            unfinished.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(unfinished)):
            error.filename, error.filename2 = str(path), None
        unfinished.unlink(missing_ok=True)
        raise
    if flush:
        _sync(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, with a stable order of keys."""
    write_atomic(path, _json_bytes(content))


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, with the SHA-256 of all else in it as its `checksum`."""
    plain = json.loads(json.dumps(dict(content)))  # as it will be read: keys are texts
    write_json(path, {**plain, _SEAL: hashlib.sha256(_json_bytes(plain)).hexdigest()})


def read_sealed(path: Path, remove: Path | None = None) -> Manifest:
    """Read what `write_sealed` wrote, without its checksum: `read_sealed(folder / MANIFEST)`.

    `remove` is what to delete if it is damaged, else its folder.

    Raises:
        DamagedArtifactError: the file is missing, or a byte of it is not what was written.
        OSError: it cannot be read.
    """
    data = read_file(path, remove)
    content = parse_json(path, data, remove)
    seal = hashlib.sha256(_json_bytes({k: v for k, v in content.items() if k != _SEAL}))
    # Compared as bytes: a parser passes over what stands between the values.
    if content.pop(_SEAL, None) != seal.hexdigest() or data != _json_bytes(
        {**content, _SEAL: seal.hexdigest()}
    ):
        raise damaged(path, "its content has changed", remove)
    return content


def _json_bytes(content: Any) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


@contextmanager
def publish(folder: Path, content: Mapping[str, Any]) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends it becomes `folder`, with a manifest.

    `content` goes into the manifest beside the checksums. The block may add to it. If `folder`
    exists already, it is kept: names come from content, so it contains the same.

        with publish(folder / digest(settings), settings) as aside: model.save(aside / "model")
    """
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        checksums = {}
        for path in sorted(path for path in aside.rglob("*") if path.is_file()):
            _sync(path)
            entry = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
            checksums[path.relative_to(aside).as_posix()] = entry
        write_sealed(aside / MANIFEST, {**content, "files": checksums})
        if not folder.exists():
            aside.rename(folder)
            _sync(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a published folder; its other files are checked when they are read.

    Raises:
        DamagedArtifactError: the manifest is missing, or not what was written.
    """
    manifest = read_sealed(folder / MANIFEST)
    if not isinstance(manifest.get("files"), dict):
        raise damaged(folder / MANIFEST, "it lists no files with their checksums")
    return manifest


def read_json(path: Path) -> Manifest:
    """Read a JSON object that this program wrote.

    Raises:
        DamagedArtifactError: the file is missing or is not a JSON object.
        OSError: it cannot be read.
    """
    return parse_json(path, read_file(path))


def parse_json(path: Path, data: bytes, remove: Path | None = None) -> Manifest:
    """Parse the JSON object that was read from a file.

    Raises:
        DamagedArtifactError: it is none.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise damaged(path, "it is not JSON", remove) from error
    if not isinstance(content, dict):
        raise damaged(path, "it is not a JSON object", remove)
    return content


def damaged(path: Path, what: str, remove: Path | None = None) -> DamagedArtifactError:
    """Return the error for a damaged file: what, where, and what to delete (else its folder)."""
    return DamagedArtifactError(f"damaged: {what}", where=path, remove=remove or path.parent)


def remove(path: Path) -> None:
    """Delete a folder with all in it, or a file, or whatever else is there, if anything is.

    A folder is renamed first: where deleting ends halfway, no half of it is taken for a whole one.
    """
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f".{path.name}.removed.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(path.rename(aside))
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path, name: str = "") -> None:
    """Delete what killed runs left unfinished in `folder`, not in its subfolders.

    With `name`, only what was to become that file. What another process is writing stays.
    """
    pattern = f".{glob.escape(name)}.*.tmp" if name else ".*.tmp"
    for path in folder.glob(pattern):
        if is_locked(path / ".lock" if path.is_dir() else path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
