"""Progress: bars with rate and ETA on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from pipeline.cli.output import stderr, talk
from pipeline.progress import Advance, Progress
from pipeline.report.text import plain

_PLAIN_EVERY = 5.0  # seconds between lines where there is no terminal


def console_progress() -> Progress:
    """Bars with rate and ETA on a terminal; a plain line now and then elsewhere."""
    return _Terminal() if stderr.is_terminal else _Plain()


class _Rate(TextColumn):
    def render(self, task: Task) -> Text:
        rate = f"{task.speed:,.1f}/s" if task.speed else ""
        return Text(rate, style="progress.data.speed")


class _Terminal:
    @contextmanager
    def task(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            _Rate(""),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[status]}", markup=False),
        )
        with Bars(*columns, console=stderr) as bars:
            task = bars.add_task(plain(label), total=total, status="")
            yield lambda count, status="": bars.update(task, advance=count, status=plain(status))

    def note(self, text: str) -> None:
        talk(text)


class _Plain:
    @contextmanager
    def task(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        started = printed_at = time.monotonic()
        done = printed = 0
        last_status = ""

        def print_state() -> None:
            nonlocal printed, printed_at
            printed, printed_at = done, time.monotonic()
            seconds = max(printed_at - started, 1e-9)
            rate = done / seconds
            of = f"{done:,}" if total is None else f"{min(done, total):,}/{total:,}"
            eta = (
                f", {(total - done) / rate:,.0f} s left" if total and done < total and rate else ""
            )
            line = f"{label}: {of} {unit}, {rate:,.1f}/s, {seconds:,.0f} s so far{eta}"
            talk(f"{line}; {last_status}" if last_status else line)

        def advance(count: int, status: str = "") -> None:
            nonlocal done, last_status
            done, last_status = done + count, status
            if time.monotonic() - printed_at >= _PLAIN_EVERY:
                print_state()

        yield advance
        if done != printed:
            print_state()

    def note(self, text: str) -> None:
        talk(text)
