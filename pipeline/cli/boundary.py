"""The boundary of the program: what is not a bug leaves it as one line and an exit code.

    0        done
    1        an error that a user can mend, in one line on stderr
    2        options that are not understood
    129, 130, 143
             stopped by SIGHUP, by Ctrl-C or by SIGTERM: 128 and the number of the signal

A bug keeps its traceback, by which it can be mended.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pipeline.cli.streams import STDOUT, standard_streams

_KEPT = "what was finished is kept, run the same command to go on"
_STOPS: dict[int, str] = {
    signal.SIGHUP: f"the terminal was closed; {_KEPT}",
    signal.SIGINT: f"interrupted; {_KEPT}",
    signal.SIGTERM: f"terminated; {_KEPT}",
}

_config_option = ""
_ending = threading.RLock()
_received: list[int] = []  # the signals that came to stop the program


class _Stopped(KeyboardInterrupt):
    """What a signal raises.

    Python notes where a plain KeyboardInterrupt leaves an `exec`, as those of dataclasses, and in
    the end kills itself by SIGINT for it, whatever the exit code.
    """


def main() -> None:
    """Run the command line, and exit."""
    with _stopping() as received:
        try:
            with standard_streams(), _second_signal_at_once(received):
                code = _run()
        except BaseException as error:
            if not (received or isinstance(error, KeyboardInterrupt)):
                _fail_unless_bug(error)
            code = 128 + signal.SIGINT
        if received and code:  # libraries turn an interruption into errors of their own
            code = 128 + received[0]
        if message := _STOPS.get(code - 128) if code > 128 else None:
            _say(message)
    sys.exit(code)


def name_config(config: Path | None) -> None:
    """Have the commands that messages name carry this `--config`, so that they run as they are."""
    global _config_option  # noqa: PLW0603
    _config_option = f" --config {shlex.quote(str(config))}" if config else ""


def is_stopping() -> bool:
    """Whether the program was told to end; what fails then may fail because of that."""
    return bool(_received)


def error_line(error: BaseException) -> str | None:
    """Say in a line what is wrong and what to do; None if this is a bug."""
    from pipeline.cli.faults import explain
    from pipeline.report.text import plain

    message = explain(error)
    if message and _config_option:
        message = re.sub(r"`imgsearch [a-z]+", rf"\g<0>{_config_option}", message)
    return message and plain(" ".join(message.split()))


def _run() -> int:
    """Run the command that was given; return its exit code."""
    try:
        from pipeline.cli.commands import app

        app()
    except SystemExit as end:
        if sys.stdout:
            sys.stdout.flush()  # here, where it can be said that it fails
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Let signals that stop the program raise KeyboardInterrupt; yield those that came.

    Everything is cleaned up then. A second signal ends the program at once, as kill -9 would.
    """
    received = _received
    received.clear()

    def stop(number: int, _frame: FrameType | None) -> None:
        if received:
            _end_at_once(number)
        received.append(number)
        raise _Stopped

    before = {}
    if threading.current_thread() is threading.main_thread():
        # What is ignored stays so: nohup, and jobs in the background.
        numbers = [number for number in _STOPS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield received
    finally:
        if not received:  # else the process ends, and a second signal may still come
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _second_signal_at_once(received: list[int]) -> Iterator[None]:
    """Let a second signal end the program also while the main thread is in a library's code.

    Python calls handlers only between its own instructions, and once for several signals that came
    before. Their numbers are written to a pipe as they come, which another thread reads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen() -> None:
        with open(reader, "rb", buffering=0) as numbers:  # noqa: PTH123 (it has no path)
            stops = (number for number in iter(lambda: numbers.read(1), b"") if number[0] in _STOPS)
            for _first, second in zip(stops, stops, strict=False):
                _end_at_once(second[0])

    threading.Thread(target=listen, name="signals", daemon=True).start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        if not received:  # else the process ends, and a second signal may still come
            signal.set_wakeup_fd(before)
            os.close(writer)


def _end_at_once(number: int) -> NoReturn:
    _ending.acquire()  # for good: the main thread and the one that listens may both come here
    os.write(2, b"imgsearch: stopped at once; the next run removes what is unfinished\n")
    os._exit(128 + number)


def _fail_unless_bug(error: BaseException) -> NoReturn:
    if isinstance(error, BrokenPipeError) and error.filename == STDOUT:
        sys.exit(1)  # as `| head` ends a program: there is nothing to say
    message = error_line(error)
    if message is None:
        raise error
    _say(message)
    sys.exit(1)


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # there is nowhere else to say that stderr takes nothing
        print(f"imgsearch: {message}", file=sys.stderr)  # noqa: T201
