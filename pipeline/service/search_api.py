"""`/api/search` and `/api/items/{id}/similar`: what looks like this."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from pipeline.errors import QueryError
from pipeline.service.answering import answer, in_search_pool
from pipeline.service.catalog_api import known_item
from pipeline.service.queries import (
    SearchInput,
    SearchOptions,
    SearchRequest,
    parse_fields,
    read_request,
)
from pipeline.service.replies import reply
from pipeline.service.resources import Resources


async def search(request: Request) -> Response:
    """Answer `POST /api/search`, and `GET` for what an address can say."""
    resources: Resources = request.app.state.resources
    with resources.admission.enter():
        given = await read_request(request)
        try:
            return await _reply(resources, given)
        finally:
            if given.photo is not None:
                given.photo.close()


async def similar(request: Request) -> Response:
    """Answer `GET /api/items/{id}/similar`."""
    resources: Resources = request.app.state.resources
    item = request.path_params["id"]
    options = parse_fields(SearchOptions, request.query_params.multi_items())
    given = SearchInput(SearchRequest(**options.model_dump(), item=item))
    with resources.admission.enter(), resources.published.current() as published:
        try:
            return reply(published, await answer(resources, published, given))
        except QueryError:  # perhaps because there is no such item: 404
            catalog = published.searcher.catalog
            await in_search_pool(resources, lambda: known_item(catalog, item))
            raise


async def _reply(resources: Resources, given: SearchInput) -> Response:
    with resources.published.current() as published:
        return reply(published, await answer(resources, published, given))
