"""Exports: folders at places that a user named, complete or absent, replaced as a whole.

Unlike an artifact, an export has a name that says nothing of its content, so the next one takes its
place; and what else lies there is the user's, so nothing takes the place of that.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.artifacts import MANIFEST, lock, publish, read_json
from pipeline.errors import DamagedArtifactError, QueryError


@contextmanager
def exporting(folder: Path, kind: str, content: Mapping[str, Any]) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends well it becomes `folder`.

    It takes the place of an empty folder or of an earlier export of the same kind. All work is in a
    hidden folder beside it. A kill leaves the earlier export as it was, or, in the instant between
    two renames, none at its place, where the next run puts it back. The manifest has `kind`,
    `content`, to which the block may add, and the checksums.

    Raises:
        QueryError: something else is there.
        BusyError: another process is writing the same export.
    """
    folder = folder.resolve()  # a link stays one: what it leads to is replaced
    _check(folder, kind)
    work = folder.with_name(f".{folder.name}.tmp")
    new, earlier = work / "new", work / "earlier"
    with lock(work):
        try:
            _put_back(earlier, folder)
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(earlier, ignore_errors=True)
            manifest = {**content, "kind": kind}
            with publish(new, manifest) as aside:
                yield aside
            _check(folder, kind)  # once more: writing may have taken a while
            if folder.exists():
                folder.rename(earlier)
            new.rename(folder)
        finally:
            _put_back(earlier, folder)
            shutil.rmtree(work, ignore_errors=True)


def _put_back(earlier: Path, folder: Path) -> None:
    if earlier.exists() and not folder.exists():
        earlier.rename(folder)


def _check(folder: Path, kind: str) -> None:
    """Make sure that nothing is lost when `folder` is replaced."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise QueryError(f"{folder}: not a folder; give the name of a new one")
    if folder.is_mount():
        raise QueryError(f"{folder}: a mount point cannot be replaced; name a folder in it")
    if any(folder.iterdir()) and not _is_export(folder, kind):
        raise QueryError(
            f"{folder}: holds something else than an earlier export; give an empty folder or the"
            " name of a new one"
        )


def _is_export(folder: Path, kind: str) -> bool:
    """Whether a folder holds (what is left of) an export of this kind, and nothing besides."""
    try:
        manifest = read_json(folder / MANIFEST)
    except DamagedArtifactError:
        return False
    files = manifest.get("files")
    if manifest.get("kind") != kind or not isinstance(files, dict):
        return False
    held = (path for path in folder.rglob("*") if not path.is_dir())
    return all(path.relative_to(folder).as_posix() in {*files, MANIFEST} for path in held)
