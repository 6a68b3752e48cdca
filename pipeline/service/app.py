"""The application: its routes, and what every request goes through."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.service import (
    catalog_api,
    documents,
    page_search,
    pages,
    photo_files,
    search_api,
    status,
)
from pipeline.service.access import AccessLog
from pipeline.service.clients import ClientGuard, RateGuard, RateLimit
from pipeline.service.guards import BodyGuard, HostGuard, SecurityHeaders
from pipeline.service.metrics import Metrics
from pipeline.service.page.render import STATIC
from pipeline.service.problems import HttpProblem, gone, respond
from pipeline.service.published import PublishedState
from pipeline.service.replies import PUBLICATION_HEADER
from pipeline.service.resources import Resources
from pipeline.service.tokens import TokenGuard, login

FORM_BYTES = 64 * 1024  # of a request beside its photo
REFRESH_SECONDS = 1.0
PAGE_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_REFUSALS = (HttpProblem, PipelineError, ValidationError, HTTPException, Exception)
_LOG = logging.getLogger("pipeline.service")


class _ItemId(Convertor[int]):
    """An item's id in an address; more digits than one has are no address of this service."""

    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("item", _ItemId())


def create_app(config: Config, published: PublishedState, *, local: bool = False) -> Starlette:
    """Return the application for a published state, which it closes at its end.

    `local`: only this machine can reach it, so it asks for no token but for the name of this one.

    uvicorn.run(create_app(config, PublishedState(config)))
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.resources = Resources.open(config, published, metrics)
        refreshing = asyncio.create_task(_refresh_forever(published, metrics))
        try:
            yield
        finally:
            refreshing.cancel()
            app.state.resources.close()

    app = Starlette(
        routes=_routes(),
        lifespan=lifespan,
        middleware=_middleware(config, metrics, local),
        exception_handlers={**dict.fromkeys(_REFUSALS, respond), ClientDisconnect: gone},
    )
    app.router.redirect_slashes = False  # it would redirect to what the client calls this host
    return app


def _middleware(config: Config, metrics: Metrics, local: bool) -> list[Middleware]:
    """What every request goes through, the first one first."""
    settings, max_bytes = config.serve, config.images.max_bytes + FORM_BYTES
    origins = settings.cors_origins
    layers = [
        Middleware(ClientGuard, trusted=settings.trusted_proxies),
        Middleware(AccessLog, metrics=metrics, style=settings.access_log),
        Middleware(SecurityHeaders, resource_policy="cross-origin" if origins else "same-origin"),
        Middleware(BodyGuard, max_bytes=max_bytes, seconds=settings.body_timeout),
    ]
    if local and not settings.token_hashes:
        layers.append(Middleware(HostGuard, proxies=settings.trusted_proxies))
    if origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type"],
                expose_headers=[PUBLICATION_HEADER, "Retry-After"],
            )
        )
    if settings.requests_per_second is not None:
        limit = RateLimit(settings.requests_per_second, settings.burst)
        layers.append(Middleware(RateGuard, limit=limit))
    if settings.token_hashes:
        layers.append(Middleware(TokenGuard, hashes=settings.token_hashes))
    return layers


def _routes() -> list[Route]:
    return [
        Route("/", pages.home, methods=["GET"]),
        Route("/browse", pages.browse, methods=["GET"]),
        Route("/search", page_search.search, methods=["GET", "POST"]),
        Route("/items/{id:item}", pages.item, methods=["GET"]),
        Route("/static/{name}", static, methods=["GET"]),
        Route("/api/search", search_api.search, methods=["GET", "POST"]),
        Route("/api/items", catalog_api.list_items, methods=["GET"]),
        Route("/api/items/{id:item}", catalog_api.get_item, methods=["GET"]),
        Route("/api/items/{id:item}/similar", search_api.similar, methods=["GET"]),
        Route("/api/catalog", catalog_api.get_catalog, methods=["GET"]),
        Route("/photos/{sha256}", photo_files.get_photo, methods=["GET"]),
        Route("/uploads/{name}", photo_files.get_upload, methods=["GET"]),
        Route("/report", documents.report, methods=["GET"]),
        Route("/audit", documents.audit, methods=["GET"]),
        Route("/login", login, methods=["GET", "POST"]),
        Route("/healthz", status.healthz, methods=["GET"]),
        Route("/readyz", status.readyz, methods=["GET"]),
        Route("/metrics", status.metrics, methods=["GET"]),
        Route("/openapi.json", status.openapi, methods=["GET"]),
    ]


async def static(request: Request) -> Response:
    """Answer `GET /static/{name}`: the files of the page that are not templates."""
    path = STATIC / request.path_params["name"]
    if path.parent != STATIC or path.suffix not in PAGE_TYPES or not path.is_file():
        raise HTTPException(404)
    data = path.read_bytes()
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=PAGE_TYPES[path.suffix], headers=headers)


async def _refresh_forever(published: PublishedState, metrics: Metrics) -> None:
    """Look for a newer publication each second; one that cannot be opened is tried again."""
    failed = ""
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        try:
            if await asyncio.to_thread(published.refresh):
                metrics.publications.inc()
                _LOG.info("publication %d answers now", published.number)
            failed = ""
        except (PipelineError, OSError) as error:
            if str(error) != failed:
                failed = str(error)
                _LOG.warning("what was published cannot be opened: %s", failed)
