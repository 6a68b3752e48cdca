"""The command that keeps a catalog published while its source changes."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING

from pipeline.cli.app import app, load_config
from pipeline.cli.boundary import error_line, is_stopping
from pipeline.cli.options import AsJson, ConfigFile, Overrides
from pipeline.cli.output import print_json, print_line, talk
from pipeline.cli.progress_bars import console_progress
from pipeline.cli.publications import changes_text
from pipeline.report.text import counted

if TYPE_CHECKING:
    from pipeline.publish.publication import Publication
    from pipeline.stages import BuildReport

_NICENESS = 10  # of the watch: queries come first


@app.command(epilog="Example: imgsearch watch --config shop.yaml --set watch.quiet=10")
def watch(config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False) -> None:
    """Keep a catalog published while its photos or its table change, until Ctrl-C or SIGTERM."""
    from pipeline.watch.events import hints
    from pipeline.watch.loop import Watcher, run
    from pipeline.watch.target import CatalogTarget

    settings = load_config(config, set_)
    target = CatalogTarget.of(settings, console_progress(brief=True))
    os.nice(max(0, _NICENESS - os.nice(0)))
    files, hint = target.files, Event()
    with ExitStack() as listening:
        if settings.watch.use_events:
            listening.enter_context(hints(files.root, hint, talk, has_tree=files.has_tree))
        talk(f"watching {files.path}; Ctrl-C ends it")
        run(Watcher(settings.watch, target, _Console(as_json)), hint)


class _Console:
    """Says a line for each publication on stdout, and what goes wrong on stderr."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def built(self, report: BuildReport, seconds: float) -> None:
        """Say what a build published, if anything."""
        if not (report.publication and report.publication.is_new):
            return
        publication = report.publication.publication
        if self._as_json:
            print_json(publication.to_dict() | {"seconds": round(seconds, 3)})
        else:
            print_line(_line(publication, seconds))
        sys.stdout.flush()  # who reads a pipe or a file is to know at once

    def failure(self, error: Exception) -> str:
        """Return the line of an error that a user can mend; raise any other again."""
        line = None if is_stopping() else error_line(error)
        if line is None:
            raise error
        return f"{line}; it will be tried again"

    def note(self, text: str) -> None:
        """Say a line on stderr."""
        talk(text)


def _line(publication: Publication, seconds: float) -> str:
    """Say `2027-01-31T12:00:07+01:00 publication 12: 3 added, 1 changed; 4.1 s`."""
    time = datetime.fromisoformat(publication.time).astimezone().isoformat()
    changes = changes_text(publication.changes)
    if publication.changes is None:
        changes = counted(max(engine.items for engine in publication.engines.values()), "item")
    return f"{time} publication {publication.number}: {changes or 'same items'}; {seconds:,.1f} s"
