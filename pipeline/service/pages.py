"""`/`, `/browse`, `/search`, `/items/{id}`: pages that are whole as they are sent, without scripts.

What they show is what the API answers; `page/` makes HTML of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pipeline.catalog.browse import first_photos
from pipeline.catalog.conditions import Condition
from pipeline.errors import PipelineError, QueryError
from pipeline.service.answering import answer, in_search_pool
from pipeline.service.catalog_api import (
    ItemsQuery,
    catalog_content,
    item_content,
    items_content,
    known_item,
)
from pipeline.service.page import documents, filters
from pipeline.service.page.documents import Failure, Shop, ShownQuery
from pipeline.service.page.filters import Params
from pipeline.service.problems import Problem, problem_of
from pipeline.service.published import Published
from pipeline.service.queries import Asked, SearchRequest, read_request
from pipeline.service.replies import PUBLICATION_HEADER
from pipeline.service.resources import Resources

HOME_ITEMS = 12
SIMILAR_ITEMS = 12
MIN_SIDE = 1024
PARTS = 4
"""Photos are scaled down before they are sent: to a size that still shows well, and of which a
part, 1 / PARTS of its side, still has the pixels that the engines take."""
_REFUSALS = (PipelineError, Problem, ValidationError, HTTPException)
_PASSED_ON = ("item", "url", "upload", "k", "group_by", "region")
_QUERIES = {"item", "url", "upload"}
_PHOTO = ShownQuery("photo", "", "", "Looks like this photo")

Json = dict[str, Any]
Cards = list[tuple[Mapping[str, Any], str | None]]


async def home(request: Request) -> Response:
    """Answer `GET /`: the ways to give a photo, and a look at the catalog."""
    resources: Resources = request.app.state.resources
    with resources.published.current() as published:

        def render(shop: Shop) -> str:
            found = items_content(published, ItemsQuery(size=HOME_ITEMS))
            return documents.home_page(shop, _listed(found))

        return await _page(request, published, render)


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
            return documents.browse_page(shop, [], 0, params, where_error=_sentence(error))
        return documents.browse_page(shop, _listed(found), found["total"], params)

    with resources.published.current() as published:
        try:
            return await _page(request, published, render)
        except ValidationError as error:
            return await _refusal(request, published, error)


async def item(request: Request) -> Response:
    """Answer `GET /items/{id}`: an item with its photos, and what looks like it."""
    resources: Resources = request.app.state.resources
    number = request.path_params["id"]
    with resources.published.current() as published:
        try:
            content = await in_search_pool(resources, lambda: item_content(published, number))
            similar = await _similar(resources, published, number)
        except _REFUSALS as error:
            return await _refusal(request, published, error)
        photos = [photo["sha256"] for photo in content["photos"]]
        params = request.query_params.multi_items()
        return await _page(
            request,
            published,
            lambda shop: documents.item_page(shop, content["item"], photos, similar, params),
        )


async def search(request: Request) -> Response:
    """Answer `GET` and `POST /search`: what looks like a photo, or like an item."""
    resources: Resources = request.app.state.resources
    params = request.query_params.multi_items()
    names = {name for name, value in params if value}
    if request.method != "POST" and not names & _QUERIES:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/")
    shown, result, failure, where_error = _PHOTO, None, None, ""
    with resources.published.current() as published:
        try:
            with resources.admission.enter():
                where, where_error = _condition(params)
                asked = await read_request(request, _fields(params, where, published))
                try:
                    shown = await _shown(resources, published, asked, request)
                    result = None if where_error else await answer(resources, published, asked)
                    shown = _kept(shown, result, request)
                finally:
                    if asked.photo is not None:
                        asked.photo.close()
        except _REFUSALS as error:
            where_error = _fault_of_condition(published, where, error)
            failure = None if where_error else problem_of(error)
        told = None if failure is None else _failure(failure)
        return await _page(
            request,
            published,
            lambda shop: documents.search_page(
                shop, shown, params, result, failure=told, where_error=where_error
            ),
            failure or (Problem(400, "query", where_error) if where_error else None),
        )


def _condition(params: Params) -> tuple[str | None, str]:
    """Return the condition of the filters, and what is wrong with them, or ""."""
    try:
        return filters.condition(params), ""
    except QueryError as error:
        return None, _sentence(error)


def _fault_of_condition(published: Published, where: str | None, error: Exception) -> str:
    """Return what is wrong with the condition, if that is why there is no answer; or ""."""
    if where is None or not isinstance(error, QueryError):
        return ""
    try:
        Condition(published.searcher.catalog, where)
    except QueryError as fault:
        return _sentence(fault)
    return ""


def _fields(params: Params, where: str | None, published: Published) -> list[tuple[str, str]]:
    """Return the fields of the search that the page's own fields stand for."""
    given = {name: value for name, value in params if name in _PASSED_ON and value}
    given.setdefault("k", str(documents.PAGE))
    if where is not None:
        given["where"] = where
    if len(published.searcher.engines) > 1 and "group_by" not in given:
        given["fuse"] = "true"
    return list(given.items())


async def _shown(
    resources: Resources, published: Published, asked: Asked, request: Request
) -> ShownQuery:
    """Return how the page shows what is searched with."""
    if (photo := asked.photo) is not None:
        photo.seek(0)
        key = await in_search_pool(resources, lambda: _sha256(photo))
        return ShownQuery("photo", key, "", _PHOTO.title, uploaded=True)
    if (url := asked.request.url) is not None:
        return ShownQuery("url", url, url, _PHOTO.title)
    if (name := asked.request.upload) is not None:
        return ShownQuery("photo", name, "", _PHOTO.title, uploaded=True)
    number, base = asked.request.item or 0, request.scope.get("root_path", "")
    catalog = published.searcher.catalog
    record = await in_search_pool(resources, lambda: known_item(catalog, number))
    first = await in_search_pool(resources, lambda: first_photos(catalog, [number]))
    photo_url = f"{base}/photos/{first[number]}" if number in first else ""
    return ShownQuery(
        "item",
        str(number),
        record.name or record.key,
        "Similar to this",
        picture=photo_url and f"{photo_url}?w=640",
        full=photo_url,
        item=number,
    )


def _kept(shown: ShownQuery, result: Json | None, request: Request) -> ShownQuery:
    """Return the same with the address of the photo, where the service has kept it."""
    if not (result and "upload" in result):
        return shown
    picture = f"{request.scope.get('root_path', '')}/uploads/{result['upload']}"
    return replace(shown, picture=picture, uploaded=False)


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


async def _similar(resources: Resources, published: Published, number: int) -> Cards:
    """Return what looks most like an item; nothing if it is in no index."""
    fuse = len(published.searcher.engines) > 1
    asked = Asked(SearchRequest(item=number, k=SIMILAR_ITEMS, fuse=fuse))
    try:
        with resources.admission.enter():
            found = await answer(resources, published, asked)
    except (QueryError, Problem):
        return []
    hits = found["fused"] if fuse else next(iter(found["engines"].values()))["hits"]
    return [(hit["item"], hit["sha256"]) for hit in hits]


def _listed(found: Json) -> Cards:
    return [(record, record["sha256"]) for record in found["items"]]


async def _refusal(request: Request, published: Published, error: Exception) -> Response:
    problem = problem_of(error)
    return await _page(
        request, published, lambda shop: documents.error_page(shop, _failure(problem)), problem
    )


def _failure(problem: Problem) -> Failure:
    return Failure(problem.status, problem.message, problem.hint)


def _sentence(error: PipelineError) -> str:
    return "; ".join(part for part in (error.message, error.hint) if part)


async def _page(
    request: Request,
    published: Published,
    render: Callable[[Shop], str],
    problem: Problem | None = None,
) -> Response:
    resources: Resources = request.app.state.resources
    base = request.scope.get("root_path", "")
    html = await in_search_pool(resources, lambda: render(_shop(resources, published, base)))
    headers = {PUBLICATION_HEADER: str(published.number), "Cache-Control": "no-cache"}
    headers |= problem.headers if problem else {}
    return HTMLResponse(html, problem.status if problem else 200, headers)


def _shop(resources: Resources, published: Published, base: str) -> Shop:
    content = catalog_content(published, resources.config)
    sides: Sequence[int] = [side for engine in content["engines"] for side in engine["input_size"]]
    return Shop(
        content["name"],
        content["items"],
        [engine["name"] for engine in content["engines"]],
        content["columns"],
        side=max(MIN_SIDE, PARTS * max(sides)),
        keep_uploads=resources.config.serve.keep_uploads,
        max_k=content["limits"]["max_k"],
        publication=str(published.number),
        base=base,
    )
