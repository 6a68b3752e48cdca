"""The command line's frame: the application and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.boundary import name_config

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


def load_config(config: Path | None, overrides: list[str] | None) -> Config:
    """Read the settings that a command was given, or those of the current folder."""
    from pipeline.config import load_config, split_overrides

    name_config(config)
    return load_config(
        config, [change for text in overrides or () for change in split_overrides(text)]
    )
