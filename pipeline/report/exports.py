"""Export folders at paths that a user names: complete or absent, replaced as a whole.

An export replaces an earlier one at the same path, and nothing else: other files are the user's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.artifacts import MANIFEST, publish, read_json
from pipeline.errors import DamagedArtifactError, QueryError
from pipeline.locks import lock


@contextmanager
def exporting(folder: Path, kind: str, content: Mapping[str, Any]) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends well it becomes `folder`.

        with exporting(Path("projector"), "projector", {"photos": 42}) as aside:
            (aside / "metadata.tsv").write_text(…)

    It replaces an empty folder or an earlier export of the same kind. All work is done in a hidden
    folder beside it. A kill leaves the earlier export as it was; between two renames it leaves none
    at its path, and the next run puts it back. The manifest has `kind`, `content` and checksums.

    Raises:
        QueryError: something else is there.
        BusyError: another process is writing the same export.
    """
    folder = folder.resolve()  # a link stays: what it leads to is replaced
    _check(folder, kind)
    work = folder.with_name(f".{folder.name}.tmp")
    new, earlier = work / "new", work / "earlier"
    with lock(work):
        try:
            _put_back(earlier, folder)
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(earlier, ignore_errors=True)
            with publish(new, {**content, "kind": kind}) as aside:
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
        raise QueryError("not a folder", where=folder, hint="give the name of a new one")
    if folder.is_mount():
        hint = "name a folder in it"
        raise QueryError("a mount point cannot be replaced", where=folder, hint=hint)
    if any(folder.iterdir()) and not _is_export(folder, kind):
        hint = "give an empty folder or the name of a new one"
        raise QueryError("holds something else than an earlier export", where=folder, hint=hint)


def _is_export(folder: Path, kind: str) -> bool:
    """Whether a folder holds an export of this kind, or what is left of one, and nothing else."""
    try:
        manifest = read_json(folder / MANIFEST)
    except DamagedArtifactError:
        return False
    files = manifest.get("files")
    if manifest.get("kind") != kind or not isinstance(files, dict):
        return False
    held = (path for path in folder.rglob("*") if not path.is_dir())
    return all(path.relative_to(folder).as_posix() in {*files, MANIFEST} for path in held)
