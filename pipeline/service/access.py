"""A line, and a count, for every request."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.service.metrics import Metrics

LOG = logging.getLogger("pipeline.service.access")
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "other"  # the route of an address that there is not, and methods that anyone makes up


class AccessLog:
    """Logs each request and counts it.

    The query of an address is not logged: it may hold a token, and says what people look for.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, style: Literal["lines", "json", "none"]
    ) -> None:
        self._app, self._metrics, self._style = app, metrics, style

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status, size = 500, 0

        async def counting_send(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counting_send)
        finally:
            self._note(scope, status, size, time.monotonic() - began)

    def _note(self, scope: Scope, status: int, size: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", OTHER)
        method = scope["method"] if scope["method"] in METHODS else OTHER
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if self._style == "none":
            return
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": scope.get("state", {}).get("client", "unknown"),
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "bytes": size,
            "ms": round(1000 * seconds, 1),
        }
        LOG.info("%s", json.dumps(entry) if self._style == "json" else _line(entry))


def _line(entry: dict[str, Any]) -> str:
    path = json.dumps(entry["path"])  # whatever it holds, one line of ASCII
    return (
        f"{entry['time']} {entry['client']} {entry['method']} {path} {entry['status']}"
        f" {entry['bytes']} bytes {entry['ms']} ms"
    )
