"""What every request goes through first: time to send it, and headers that keep browsers safe."""

from __future__ import annotations

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.service.problems import Problem

# Photos that are searched with are shown by blob: addresses before they are sent.
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)


class BodyGuard:
    """Gives a request so many seconds to arrive; closes what is answered before it has."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._seconds
        names = {name for name, _ in scope["headers"]}
        is_whole = not names & {b"content-length", b"transfer-encoding"}

        async def timed_receive() -> Message:
            nonlocal is_whole
            if is_whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                said = f"the request took more than {self._seconds:g} seconds to arrive"
                raise Problem(408, "timeout", said, "send a smaller photo") from None
            is_whole = not message.get("more_body", False)
            return message

        async def closing_send(message: Message) -> None:
            if message["type"] == "http.response.start" and not is_whole:
                MutableHeaders(scope=message)["Connection"] = "close"  # the rest is not read
            await send(message)

        await self._app(scope, timed_receive, closing_send)


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
