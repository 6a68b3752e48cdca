"""`/`, `/search`, `/items/{id}`: the page, complete as it is sent: it works without scripts.

Its templates and files lie in `page/`. Every template gets `catalog` (as `/api/catalog` has it),
`query` (what was asked: the fields of the form), `result` (as `/api/search` has it, or None),
`items` (as `/api/items` has it, or None), `item` (as `/api/items/{id}` has it, or None) and
`problem` (code, message and hint, or None).
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from pipeline.errors import PipelineError
from pipeline.service.answering import answer, in_search_pool
from pipeline.service.catalog_api import (
    ItemsQuery,
    catalog_content,
    item_content,
    items_content,
)
from pipeline.service.problems import Problem, problem_of
from pipeline.service.published import Published
from pipeline.service.queries import Asked, SearchRequest, parse_fields, read_request
from pipeline.service.replies import PUBLICATION_HEADER
from pipeline.service.resources import Resources

SHOWN = 24  # hits of a page, unless it asks for another number
_TEMPLATES = Environment(
    loader=PackageLoader("pipeline.service", "page"),
    autoescape=True,  # names of products come from anywhere
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


async def index(request: Request) -> Response:
    """Answer `GET /`: the form, and the catalog to browse; `POST /`, which sends the form."""
    if request.method == "POST":
        return await search(request)
    resources: Resources = request.app.state.resources
    with resources.published.current() as published:
        fields = request.query_params.multi_items()
        try:
            query = parse_fields(ItemsQuery, fields)
            items = await in_search_pool(resources, lambda: items_content(published, query))
        except (PipelineError, Problem, ValidationError) as error:
            return await _page(request, published, query=dict(fields), problem=error)
        return await _page(request, published, query=query.model_dump(), items=items)


async def search(request: Request) -> Response:
    """Answer `POST /` and `GET /search`: the hits for what the form asked."""
    resources: Resources = request.app.state.resources
    with resources.published.current() as published:
        try:
            with resources.admission.enter():
                asked = await _read(request)
                result = await _answer(resources, published, asked)
        except (PipelineError, Problem, ValidationError, HTTPException) as error:
            return await _page(request, published, query=dict(request.query_params), problem=error)
        query = asked.options.model_dump(mode="json")
        return await _page(request, published, query=query, result=result)


async def item(request: Request) -> Response:
    """Answer `GET /items/{id}`: an item with its photos, and what looks like it."""
    resources: Resources = request.app.state.resources
    number = request.path_params["id"]
    with resources.published.current() as published:
        try:
            content = await in_search_pool(resources, lambda: item_content(published, number))
        except Problem as error:
            return await _page(request, published, problem=error)
        result = problem = None
        try:
            asked = Asked(SearchRequest(item=number, k=SHOWN))
            result = await answer(resources, published, asked)
        except PipelineError as error:  # it is in the catalog, and in no index
            problem = error
        return await _page(
            request, published, "item.html.jinja", item=content, result=result, problem=problem
        )


async def _read(request: Request) -> Asked:
    asked = await read_request(request)
    if "k" in asked.options.model_fields_set:
        return asked
    return asked._replace(options=asked.options.model_copy(update={"k": SHOWN}))


async def _answer(resources: Resources, published: Published, asked: Asked) -> dict[str, Any]:
    try:
        return await answer(resources, published, asked)
    finally:
        if asked.photo is not None:
            asked.photo.close()


async def _page(
    request: Request,
    published: Published,
    template: str = "index.html.jinja",
    *,
    problem: Exception | None = None,
    query: dict[str, Any] | None = None,
    **content: Any,
) -> Response:
    resources: Resources = request.app.state.resources
    told = None if problem is None else problem_of(problem)
    shown = {"result": None, "items": None, "item": None, **content}

    def render() -> str:
        catalog = {"publication": published.name, **catalog_content(published, resources.config)}
        return _TEMPLATES.get_template(template).render(
            catalog=catalog,
            query=query or {},
            problem=told and {"code": told.code, "message": told.message, "hint": told.hint},
            **shown,
        )

    html = await in_search_pool(resources, render)
    headers = {PUBLICATION_HEADER: published.name, "Cache-Control": "no-cache"}
    headers |= told.headers if told else {}
    return HTMLResponse(html, told.status if told else 200, headers)
