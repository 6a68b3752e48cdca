"""The process: sockets, signals, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.errors import ConfigError
from pipeline.service.guards import DRAIN_SECONDS
from pipeline.service.problems import HttpProblem

MAX_HEADER_BYTES = 16 * 1024
HEADER_SECONDS = 10.0  # in which the headers of a request must have come
KEEP_ALIVE_SECONDS = 30
ACCEPT_SECONDS = 0.02  # in which what is being accepted has become a connection
FIRST_REQUEST_SECONDS = 0.2  # in which it must come when the service is told to stop
MAX_CONNECTIONS = 1000
MAPPED_BYTES = 1 << 20  # what is larger is mapped, and unmapped when it is freed
_M_MMAP_THRESHOLD = -3  # of malloc.h
_STOPS = (signal.SIGINT, signal.SIGTERM)
_ANY = ("0.0.0.0", "::", "")  # noqa: S104  that it is public is checked where it is chosen


@dataclass(frozen=True)
class Address:
    """Where a service listens; of TLS, the files of the certificate and its key."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach it."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    def url(self, port: int, *, from_others: bool = False) -> str:
        """The address for a browser, here or on another device of this network."""
        host = "127.0.0.1" if self.host in _ANY else self.host
        if from_others and self.host in _ANY:
            host = own_address() or host
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"

    def listen(self) -> socket.socket:
        """Open its socket.

        Raises:
            ConfigError: it cannot be had, or the certificate and the key are none.
        """
        self._check_tls()
        try:
            family, _, _, _, where = socket.getaddrinfo(
                self.host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            return socket.create_server(where[:2], family=family, backlog=MAX_CONNECTIONS)
        except OSError as error:
            is_of_system = (error.errno or 0) > 0  # else of the name
            what = os.strerror(error.errno or 0) if is_of_system else str(error.strerror)
            hint = "choose another --host or --port"
            raise ConfigError(what, where=f"{self.host}:{self.port}", hint=hint) from error

    def _check_tls(self) -> None:
        if self.certificate is None:
            return
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except OSError as error:  # ssl's own errors among them
            hint = "give a certificate and its key, without a password, in PEM"
            raise ConfigError(str(error), where=self.certificate, hint=hint) from error


def own_address() -> str | None:
    """Return this machine's address in its network; None if it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address, by the way out
        except OSError:
            return None
        return str(probe.getsockname()[0])


def return_memory() -> None:
    """Have glibc give the memory of large photos back when they are done with.

    After the first one it would keep such memory, for each thread that decodes on its own.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)


class Protocol(H11Protocol):
    """A connection, which is closed if a request's headers do not come in time."""

    _timer: asyncio.TimerHandle | None = None
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._send_at_once()
        self._timer = self.loop.call_later(HEADER_SECONDS, transport.abort)

    def _send_at_once(self) -> None:
        """Not wait for the client to confirm an answer's headers before its body is sent: 40 ms.

        asyncio switches that off only for sockets that were made by the name of TCP.
        """
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request's headers; who sends some ends uvicorn's own waiting."""
        if self._is_refused:  # read all the same, or TCP would throw the answer away
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End when what is asked is answered; who has just connected may be about to ask."""
        if self.cycle is None:
            self.loop.call_later(FIRST_REQUEST_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every error is answered, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = HttpProblem(400, "bad_request", "this is no HTTP request").as_json()
            headers = [*response.raw_headers, (b"connection", b"close")]
            head = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._is_refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(DRAIN_SECONDS, self.transport.close)


def _waiting_at(listener: socket.socket) -> Iterator[socket.socket]:
    """Accept the connections that wait already."""
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


class Server(uvicorn.Server):
    """Ends by itself when it is told to stop: a first signal lets requests finish, a second not."""

    def __init__(self, app: ASGIApp, address: Address, grace: float) -> None:
        options: dict[str, Any] = {}
        if address.certificate:
            options = {"ssl_certfile": address.certificate, "ssl_keyfile": address.key}
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(grace)),
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                **options,
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take who has connected already, then end: closing a listener resets them."""
        loop = asyncio.get_running_loop()
        for listener in sockets or ():
            loop.remove_reader(listener)
        await asyncio.sleep(ACCEPT_SECONDS)
        coming = [
            loop.create_task(loop.connect_accepted_socket(self._protocol, one, ssl=self.config.ssl))
            for listener in sockets or ()
            for one in _waiting_at(listener)
        ]
        for server in self.servers:
            server.close()
        if coming:
            await asyncio.wait(coming, timeout=FIRST_REQUEST_SECONDS)
        await super().shutdown(sockets)

    def _protocol(self) -> Protocol:
        return Protocol(self.config, self.server_state, self.lifespan.state)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at once, when it is the second time."""
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
