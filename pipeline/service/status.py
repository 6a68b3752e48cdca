"""`/healthz`, `/readyz`, `/metrics`, `/openapi.json`: what machines ask about the service."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pipeline.service.metrics import CONTENT_TYPE_LATEST
from pipeline.service.openapi import describe
from pipeline.service.replies import reply
from pipeline.service.resources import Resources


async def healthz(_: Request) -> Response:
    """Say that the process runs, whatever else is busy."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Say that searches are answered, and from which publication; or why they are not, by a 503."""
    resources: Resources = request.app.state.resources
    await resources.readiness.ensure()
    with resources.published.current() as published:
        return reply(published, {"ready": True})


async def metrics(request: Request) -> Response:
    """Tell Prometheus what was counted."""
    resources: Resources = request.app.state.resources
    resources.metrics.searches.set(resources.admission.inside)
    return Response(resources.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


async def openapi(_: Request) -> Response:
    """Describe the API for machines."""
    return JSONResponse(describe())
