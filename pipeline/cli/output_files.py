"""Files that commands write where the user says: checked before any work is done for them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts import READ_ONLY
from pipeline.errors import QueryError

if TYPE_CHECKING:
    from pipeline.config import Config


def check_output(
    option: str,
    file: Path,
    suffixes: Sequence[str],
    config: Config,
    queries: Iterable[Path] = (),
) -> None:
    """Make sure that a file can be written there, and that nothing is lost by it.

        check_output("--grid", Path("grid.png"), [".png"], config, photos)

    It may replace an earlier file, but none of `queries`. What a killed run left of it is removed.

    Raises:
        QueryError: another suffix, a folder, in a folder that does not exist, or among what is
            read or built.
        OSError: its folder cannot be written to.
    """
    from pipeline.artifacts import sweep

    where = f"{option} {file}"
    if not (file.suffix.lower() in suffixes and file.absolute().parent.is_dir()):
        message = f"give a name that ends in {' or '.join(suffixes)}, in a folder that exists"
        raise QueryError(message, where=where)
    if file.is_dir():
        raise QueryError("a folder", where=where, hint="give the name of a file")
    check_apart(option, file, config)
    if file.resolve() in {query.resolve() for query in queries}:
        raise QueryError("it is searched with", where=where, hint="give another name")
    check_writable(file.parent)
    sweep(file.parent, file.name)


def check_writable(folder: Path, option: str = "") -> None:
    """Make sure that files can be written to a folder, or to the nearest one above that exists.

    Raises:
        QueryError: it can only be read, and `option` names another.
        OSError: they cannot.
    """
    here = folder.absolute()
    while not here.exists() and here != here.parent:
        here = here.parent
    try:
        tempfile.TemporaryFile(dir=here).close()  # nameless, and gone again
    except OSError as error:
        if not option or error.errno not in READ_ONLY:
            raise
        hint = f"name another place with {option}"
        raise QueryError("this folder can only be read", where=here, hint=hint) from error


def check_apart(option: str, path: Path, config: Config) -> None:
    """Make sure that a file or folder is not among what the catalog's source or builds hold.

    Raises:
        QueryError: it is.
    """
    from pipeline.config import FolderSettings, TableSettings, expand

    taken = {config.folder: "the catalog's folder"}
    if isinstance(config.source, FolderSettings | TableSettings):
        is_folder = isinstance(config.source, FolderSettings)
        taken[expand(config.source.path)] = (
            f"the {'photos' if is_folder else 'table'} of the source"
        )
    given = path.resolve()
    for place, what in taken.items():
        if given.is_relative_to(place.resolve()):
            hint = "give a path outside of it"
            raise QueryError(f"among {what}, {place}", where=f"{option} {path}", hint=hint)
