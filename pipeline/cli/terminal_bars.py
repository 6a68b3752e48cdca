"""Progress bars with rate and ETA, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from pipeline.cli.output import stderr, talk
from pipeline.progress import Advance
from pipeline.report.text import plain


class _Rate(TextColumn):
    def render(self, task: Task) -> Text:
        rate = f"{task.speed:,.1f}/s" if task.speed else ""
        return Text(rate, style="progress.data.speed")


class TerminalBars:
    """A bar for each task, which stays unless they are to be `brief`."""

    def __init__(self, brief: bool) -> None:
        self._brief = brief

    @contextmanager
    def task(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Show a bar, as `Progress.task` says."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            _Rate(""),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[status]}", markup=False),
        )
        with Bars(*columns, console=stderr, transient=self._brief) as bars:
            task = bars.add_task(plain(label), total=total, status="")
            yield lambda count, status="": bars.update(task, advance=count, status=plain(status))

    def note(self, text: str) -> None:
        """Print a remark above the bars."""
        talk(text)
