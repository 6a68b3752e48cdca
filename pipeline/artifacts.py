"""Files and folders that are complete or absent.

Everything is written aside, flushed to the disk, and renamed into place; a folder carries a
`manifest.json` with the size and SHA-256 of each of its files. A run killed at any instant leaves
only complete files and folders, and names that begin with a dot, which the next run deletes.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from threading import get_native_id
from typing import Any

from pipeline.errors import DamagedArtifactError
from pipeline.locks import is_locked

MANIFEST = "manifest.json"
Manifest = dict[str, Any]


def digest(content: Any) -> str:
    """Return a 16-character name for JSON-able content; the same content has the same name.

    digest({"size": 64, "seed": 7})
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def library_versions(*names: str) -> dict[str, str]:
    """Return the major.minor versions of installed libraries, without importing them."""
    return {name: ".".join(version(name).split(".")[:2]) for name in names}


def sha256_file(path: Path) -> str:
    """Hash a file in constant memory; returns 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, data: bytes, aside: Path | None = None, *, flush: bool = True) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part of it.

    It is first written in the folder `aside`, on the same file system, or beside `path`. Several
    threads may write the same file. Without `flush` it survives a kill, but maybe not a power cut.
    """
    with replacing(path, aside, flush=flush) as unfinished:
        unfinished.write_bytes(data)


@contextmanager
def replacing(path: Path, aside: Path | None = None, *, flush: bool = True) -> Iterator[Path]:
    """Yield the path of a file to write; when the block ends without an error it becomes `path`.

    Until then it is locked, so that `sweep` leaves it. An OSError names `path` if no other file.

    with replacing(Path("vectors.npy")) as unfinished: unfinished.write_bytes(data)
    """
    unfinished = (aside or path.parent) / f".{path.name}.{get_native_id()}.tmp"
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
    write_atomic(path, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")


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
        write_json(aside / MANIFEST, {**content, "files": checksums})
        if not folder.exists():
            aside.rename(folder)
            _sync(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a published folder, and check that its files have their sizes.

    Raises:
        DamagedArtifactError: the manifest is unreadable, or a file is missing or truncated.
    """
    manifest = read_json(folder / MANIFEST)
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(entry, dict) and entry.keys() >= {"bytes", "sha256"} for entry in files.values()
    ):
        raise damaged(folder / MANIFEST, "it lists no files with their checksums")
    for name, expected in files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != expected["bytes"]:
            actual = "is missing" if size is None else f"has {size} bytes"
            raise damaged(path, f"it {actual}, its manifest says {expected['bytes']} bytes")
    return manifest


def read_json(path: Path) -> Manifest:
    """Read a JSON object that this program wrote.

    Raises:
        DamagedArtifactError: the file is missing or is not a JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise damaged(path, "it is missing") from error
    except ValueError as error:
        raise damaged(path, "it is not JSON") from error
    if not isinstance(content, dict):
        raise damaged(path, "it is not a JSON object")
    return content


def checksum_problems(folder: Path) -> list[str]:
    """Describe every file of a published folder that is not what its manifest says."""
    try:
        files = read_manifest(folder)["files"]
    except DamagedArtifactError as error:
        return [str(error)]
    return [
        str(damaged(folder / name, "its content has changed"))
        for name, expected in files.items()
        if sha256_file(folder / name) != expected["sha256"]
    ]


def damaged(path: Path, what: str, remove: Path | None = None) -> DamagedArtifactError:
    """Return the error for a damaged file: what, where, and what to delete (else its folder)."""
    hint = f"delete {remove or path.parent} and run `imgsearch build`"
    return DamagedArtifactError(f"damaged: {what}", where=path, hint=hint)


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
