"""Clients of an HTTP service: requests in turn or at once, and what each took."""

from __future__ import annotations

import http.client
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple


class Timed(NamedTuple):
    """One request: when it was answered, its status (0: not at all), and how long it took."""

    at: float
    status: int
    seconds: float


@dataclass(frozen=True)
class Target:
    """Where to send photos."""

    port: int
    path: str

    def clients(self, photos: Sequence[bytes], clients: int, seconds: float) -> list[Timed]:
        """Ask with these photos, over and over, by so many clients at once, for so long."""
        end, turn = time.perf_counter() + seconds, itertools.count()

        def ask() -> list[Timed]:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            answers = []
            while time.perf_counter() < end:
                body = photos[next(turn) % len(photos)]
                answers.append(timed(connection, "POST", self.path, body))
                if answers[-1].status == 503:
                    time.sleep(0.25)  # sooner than it is told: an impatient client
            connection.close()
            return answers

        with ThreadPoolExecutor(clients) as pool:
            tasks = [pool.submit(ask) for _ in range(clients)]
            return [answer for task in tasks for answer in task.result()]

    def once(self, bodies: Sequence[bytes], method: str = "POST") -> list[Timed]:
        """Ask with each of these once, in turn, on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        answers = [timed(connection, method, self.path, body) for body in bodies]
        connection.close()
        return answers


def timed(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
) -> Timed:
    """Send a request and read its answer."""
    began, status = time.perf_counter(), 0
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        response.read()
        status = response.status
    except (OSError, http.client.HTTPException):
        connection.close()
    now = time.perf_counter()
    return Timed(now, status, now - began)


class HealthChecks:
    """Asks for `/healthz` 20 times a second, within a `with` block."""

    def __init__(self, port: int) -> None:
        self._port, self._stop = port, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seconds: list[float] = []

    def __enter__(self) -> HealthChecks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._stop.wait(0.05):
            self.seconds.append(timed(connection, "GET", "/healthz", None).seconds)
        connection.close()


@contextmanager
def service(*command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `python command`, with PORT in it replaced by a free port, until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [word.replace("PORT", str(port)) for word in command]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                if timed(connection, "GET", "/healthz", None).status == 200:
                    break
                time.sleep(0.2)
            yield process, port
        finally:
            process.terminate()
            process.wait()


def memory(process: subprocess.Popen[bytes], field: str = "VmRSS") -> float:
    """Return the megabytes of a process: VmRSS now, VmHWM at its peak since `forget_peak`."""
    with open(f"/proc/{process.pid}/status") as file:  # noqa: PTH123
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) / 1000


def forget_peak(process: subprocess.Popen[bytes]) -> None:
    """Let the peak be that from now on."""
    with open(f"/proc/{process.pid}/clear_refs", "w") as file:  # noqa: PTH123
        file.write("5")
    os.sched_yield()
