"""Progress: bars with rate and ETA on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.cli.output import stderr, talk
from pipeline.progress import Advance, Progress

_PLAIN_EVERY = 5.0  # seconds between lines where there is no terminal


def console_progress(*, brief: bool = False) -> Progress:
    """Bars with rate and ETA on a terminal; a plain line now and then elsewhere.

    With `brief`, no bar stays, and what ends within seconds leaves no line.
    """
    if not stderr.is_terminal:
        return _Plain(brief)
    from pipeline.cli.terminal_bars import TerminalBars

    return TerminalBars(brief)


class _Plain:
    def __init__(self, brief: bool) -> None:
        self._brief = brief

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
        if done != printed and (printed or not self._brief):
            print_state()

    def note(self, text: str) -> None:
        talk(text)
