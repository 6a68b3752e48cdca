"""`/`, `/browse`, `/items/{id}`: pages that are whole as they are sent, without scripts.

What they show is what the API answers; `page/` makes HTML of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from pipeline.errors import QueryError
from pipeline.service.answering import answer, in_search_pool
from pipeline.service.catalog_api import ItemsQuery, item_content, items_content
from pipeline.service.page import documents, filters
from pipeline.service.page.content import Shop
from pipeline.service.page_replies import REFUSALS, send_page, send_refusal, sentence
from pipeline.service.problems import HttpProblem
from pipeline.service.published import Published
from pipeline.service.queries import SearchInput, SearchRequest
from pipeline.service.resources import Resources

HOME_ITEMS = 12
SIMILAR_ITEMS = 12

Cards = list[tuple[Mapping[str, Any], str | None]]


async def home(request: Request) -> Response:
    """Answer `GET /`: the ways to give a photo, and a look at the catalog."""
    resources: Resources = request.app.state.resources
    with resources.published.current() as published:

        def render(shop: Shop) -> str:
            found = items_content(published, ItemsQuery(size=HOME_ITEMS))
            return documents.home_page(shop, _listed(found))

        return await send_page(request, published, render)


async def browse(request: Request) -> Response:
    """Answer `GET /browse`: the catalog, or what has some words and meets some filters."""
    resources: Resources = request.app.state.resources
    params = request.query_params.multi_items()

    def render(shop: Shop) -> str:
        page, words = documents.page_number(params), dict(params).get("q", "")
        try:
            query = ItemsQuery(where=filters.condition(params), q=words, page=page)
            found = items_content(published, query)
        except QueryError as error:
            return documents.browse_page(shop, [], 0, params, where_error=sentence(error))
        return documents.browse_page(shop, _listed(found), found["total"], params)

    with resources.published.current() as published:
        try:
            with resources.admission.enter():
                return await send_page(request, published, render)
        except REFUSALS as error:
            return await send_refusal(request, published, error)


async def item(request: Request) -> Response:
    """Answer `GET /items/{id}`: an item with its photos, and what looks like it."""
    resources: Resources = request.app.state.resources
    number = request.path_params["id"]
    with resources.published.current() as published:
        try:
            content = await in_search_pool(resources, lambda: item_content(published, number))
            similar = await _similar(resources, published, number)
        except REFUSALS as error:
            return await send_refusal(request, published, error)
        photos = [photo["sha256"] for photo in content["photos"]]
        params = request.query_params.multi_items()
        return await send_page(
            request,
            published,
            lambda shop: documents.item_page(shop, content["item"], photos, similar, params),
        )


async def _similar(resources: Resources, published: Published, number: int) -> Cards:
    """Return what looks most like an item; nothing if it is in no index."""
    fuse = len(published.searcher.engines) > 1
    given = SearchInput(SearchRequest(item=number, k=SIMILAR_ITEMS, fuse=fuse))
    try:
        with resources.admission.enter():
            found = await answer(resources, published, given)
    except (QueryError, HttpProblem):
        return []
    hits = found["fused"] if fuse else next(iter(found["engines"].values()))["hits"]
    return [(hit["item"], hit["sha256"]) for hit in hits]


def _listed(found: Mapping[str, Any]) -> Cards:
    return [(record, record["sha256"]) for record in found["items"]]
