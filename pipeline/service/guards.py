"""What every request goes through first: limits of its body, headers that keep browsers safe."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.service.clients import Network, is_within
from pipeline.service.problems import HttpProblem

DRAINED_BYTES = 64 * 1024  # of a request that is too large; of another one, all of it
DRAIN_SECONDS = 2.0
# Photos that are searched with are shown by blob: addresses before they are sent.
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)


class BodyGuard:
    """Gives a request so many bytes, and seconds to arrive; closes what is answered before it has.

    Starlette's own limit of bytes answers without closing, so that the rest would still be read.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app, self._max_bytes, self._seconds = app, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, send, self._max_bytes, self._seconds)
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            # What is in front of the service may have taken the other one for the body's end.
            said = "a body has a length or comes in chunks, not both"
            problem = HttpProblem(400, "bad_request", said)
            await problem.response(scope)(scope, receive, body.send)
            return
        announced = headers.get("content-length", "0")
        body.is_whole = announced == "0" and "transfer-encoding" not in headers
        if announced.isdecimal() and int(announced) > self._max_bytes:
            body.drained_bytes = DRAINED_BYTES
            await _too_large(self._max_bytes).response(scope)(scope, receive, body.send)
        else:
            await self._app(scope, body.receive, body.send)


class _Body:
    """How much of one request has arrived."""

    def __init__(self, receive: Receive, send: Send, max_bytes: int, seconds: float) -> None:
        self._receive, self._send = receive, send
        self._max_bytes, self._seconds = max_bytes, seconds
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._bytes = 0
        self.is_whole = False
        self.drained_bytes = max_bytes
        self._is_early = False

    async def receive(self) -> Message:
        if self.is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            said = f"the request took more than {self._seconds:g} seconds to arrive"
            raise HttpProblem(408, "timeout", said, "send a smaller photo") from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._max_bytes:
            self.drained_bytes = DRAINED_BYTES
            raise _too_large(self._max_bytes)
        self.is_whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._is_early = not self.is_whole
            if self._is_early:
                MutableHeaders(scope=message)["Connection"] = "close"  # the rest is not read
        elif self._is_early and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body"}
        await self._send(message)

    async def _drain(self) -> None:
        """Read what the client is still sending, up to a limit, before the connection is closed.

        Closed with bytes unread, TCP would throw away the answer that it has not read yet.
        """
        left = self.drained_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while left > 0 and not self.is_whole:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self.is_whole = not message.get("more_body", False)


async def read_body(request: Request, max_bytes: int, what: str) -> bytes:
    """Read the body of a request that holds something small: `read_body(request, 4096, "form")`.

    Raises:
        HttpProblem: it is larger.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise HttpProblem(413, "too_large", f"the {what} has more than {max_bytes} bytes")
    return bytes(body)


def _too_large(max_bytes: int) -> HttpProblem:
    said = f"the request has more than {max_bytes} bytes"
    return HttpProblem(413, "too_large", said, "send a smaller photo")


class HostGuard:
    """Answers what is asked of this machine by its own name or an address.

    A site that a browser has open may let its own name stand for this machine, and would then read
    what is meant for nobody else. What a trusted proxy passes on may be called anything.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[Network]) -> None:
        self._app, self._proxies = app, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI has it."""
        if scope["type"] != "http" or self._is_meant(scope):
            await self._app(scope, receive, send)
            return
        said = "this service answers to this machine's own name only"
        hint = "open it at 127.0.0.1; of a proxy, set serve.trusted_proxies"
        await HttpProblem(421, "host", said, hint).response(scope)(scope, receive, send)

    def _is_meant(self, scope: Scope) -> bool:
        if is_within((scope.get("client") or ("",))[0], self._proxies):
            return True
        name = Headers(scope=scope).get("host", "").lower()
        name = name.partition("]")[0].strip("[") if name.startswith("[") else name.partition(":")[0]
        return name == "localhost" or name.endswith(".localhost") or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class SecurityHeaders:
    """Adds the headers that tell a browser what it may do with an answer."""

    def __init__(self, app: ASGIApp, resource_policy: str) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": PAGE_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": resource_policy,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI has it."""

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, guarded_send)
