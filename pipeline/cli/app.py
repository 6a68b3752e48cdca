"""The command line's frame: the application, its settings, errors as one line."""

from __future__ import annotations

import errno
import re
import shlex
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import PipelineError, QueryError

if TYPE_CHECKING:
    from pipeline.config import Config

app = typer.Typer(
    help="Image search for product catalogs: photos in, exact indexes out, queries answered.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"imgsearch {version('imgsearch')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options of the program itself, which act on their own."""


def main() -> None:
    """Run the command line; a user's error becomes one line and a non-zero exit."""
    try:
        app()
    except PipelineError as error:
        _fail(str(error))
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # Typer's own answer to Ctrl-C
            message = "interrupted; what was finished is kept, run the same command to go on"
            _fail(message, _INTERRUPTED)
        raise
    except sqlite3.DatabaseError as error:
        _fail(f"the catalog cannot be read or written: {error}; see `imgsearch verify`")
    except OSError as error:
        if error.errno not in _USERS_ERRNO:
            raise
        where = error.filename or "the disk that holds the indexes"
        _fail(f"{where}: {error.strerror}; nothing is half-written, mend it and run this again")


_INTERRUPTED = 130
_USERS_ERRNO = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
)


_given_config: Path | None = None


def _fail(message: str, code: int = 1) -> None:
    from pipeline.report.text import plain

    if _given_config:  # so that the commands that it names can be run as they stand
        option = f"--config {shlex.quote(str(_given_config))}"
        message = re.sub(r"`imgsearch [a-z]+", rf"\g<0> {option}", message)
    print(f"imgsearch: {plain(' '.join(message.split()))}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


def load_config(config: Path | None, overrides: list[str] | None) -> Config:
    """Read the settings that a command was given, or those of the current folder."""
    from pipeline.config import load_config, split_overrides

    global _given_config  # noqa: PLW0603
    _given_config = config
    return load_config(
        config, [change for text in overrides or () for change in split_overrides(text)]
    )


def check_file(option: str, file: Path, suffix: str) -> None:
    """Make sure, before the work, that a file with this suffix can be written there.

    Raises:
        QueryError: another suffix, a folder, or in a folder that does not exist.
    """
    where = f"{option} {file}"
    if not (file.suffix.lower() == suffix and file.absolute().parent.is_dir()):
        message = f"give a name that ends in {suffix}, in a folder that exists"
        raise QueryError(message, where=where)
    if file.is_dir():
        raise QueryError("a folder", where=where, hint="give the name of a file")
