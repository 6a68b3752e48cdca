"""The process: sockets, signals, and what is printed as it starts."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

MAX_HEADER_BYTES = 16 * 1024
KEEP_ALIVE_SECONDS = 30
_STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Address:
    """Where a service listens; of TLS, the files of the certificate and its key."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None

    @property
    def url(self) -> str:
        """The address for a browser."""
        scheme = "https" if self.certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}/"


class Server(uvicorn.Server):
    """Ends by itself when it is told to stop: a first signal lets requests finish, a second not."""

    def __init__(self, app: ASGIApp, address: Address, grace: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=address.host,
                port=address.port,
                ssl_certfile=address.certificate,
                ssl_keyfile=address.key,
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(grace)),
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals that stop a program, and do not raise them again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _STOPS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at once, when it is the second time."""
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
