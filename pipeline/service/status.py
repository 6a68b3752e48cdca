"""`/healthz`, `/readyz`: whether it runs, whether it answers."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipeline.service.replies import reply
from pipeline.service.resources import Resources


async def healthz(_: Request) -> Response:
    """Say that the process runs, whatever else is busy."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Say that searches are answered, and from which publication."""
    resources: Resources = request.app.state.resources
    with resources.published.current() as published:
        return reply(published, {"ready": True})
