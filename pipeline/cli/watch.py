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
from pipeline.report.text import counted

if TYPE_CHECKING:
    from pipeline.stages import BuildReport

_NICENESS = 10  # of the watch: queries come first


@app.command(epilog="Example: imgsearch watch --config shop.yaml --set watch.quiet=10")
def watch(config: ConfigFile = None, set_: Overrides = None, as_json: AsJson = False) -> None:
    """Keep a catalog published while its photos or its table change, until Ctrl-C or SIGTERM."""
    from pipeline.watch.events import hints
    from pipeline.watch.loop import Watch, run
    from pipeline.watch.target import CatalogTarget

    settings = load_config(config, set_)
    target = CatalogTarget.of(settings, console_progress(brief=True))
    os.nice(max(0, _NICENESS - os.nice(0)))
    files, hint = target.files, Event()
    with ExitStack() as listening:
        if settings.watch.use_events:
            listening.enter_context(hints(files.root, hint, talk, has_tree=files.has_tree))
        talk(f"watching {files.path}; Ctrl-C ends it")
        run(Watch(settings.watch, target, _Console(as_json)), hint)


class _Console:
    """Says a line for each publication on stdout, and what goes wrong on stderr."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._builds: dict[str, str] = {}

    def built(self, report: BuildReport, seconds: float) -> None:
        builds = {n: e.build.path.name for n, e in report.engines.items() if e.build}
        if builds == self._builds:
            return
        self._builds = builds
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        if self._as_json:
            print_json({"time": time, "seconds": round(seconds, 3), **report.to_dict()})
        else:
            print_line(f"{time} {published_line(report)} in {seconds:,.1f} s")
        sys.stdout.flush()  # whoever reads a pipe or a file is to know at once

    def failure(self, error: Exception) -> str:
        line = None if is_stopping() else error_line(error)
        if line is None:
            raise error
        return f"{line}; this is tried again"

    def note(self, text: str) -> None:
        talk(text)


def published_line(report: BuildReport) -> str:
    """Say what a build published: `vgg16: 3 photos embedded, 18,325 in its index`."""
    return "; ".join(
        f"{name}: {counted(done.embedding.embedded if done.embedding else 0, 'photo')} embedded,"
        f" {done.build.manifest['rows']:,} in its index"
        for name, done in report.engines.items()
        if done.build
    )
