"""`/search`: the page of an answer."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import replace
from typing import Any, BinaryIO

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pipeline import images
from pipeline.catalog.browse import first_photos
from pipeline.catalog.conditions import Condition
from pipeline.errors import QueryError
from pipeline.service.answering import answer, in_search_pool
from pipeline.service.catalog_api import known_item
from pipeline.service.decoding import read_all
from pipeline.service.page import documents, filters
from pipeline.service.page.content import ShownQuery
from pipeline.service.page.filters import Params
from pipeline.service.page_replies import REFUSALS, send_page, sentence
from pipeline.service.problems import HttpProblem, problem_of
from pipeline.service.published import Published
from pipeline.service.queries import SearchInput, SearchOptions, read_request
from pipeline.service.resources import Resources

_QUERIES = {"item", "url", "upload"}
_PASSED_ON = (*_QUERIES, "text", "like", "unlike", "k", "group_by", "collapse", "region")
_HAS_PHOTO = "x-photo-at-hand"  # a header by which the page's script says that it shows the photo
_COPY, _COPY_QUALITY = "fit 480", 80
_PHOTO = ShownQuery("photo", "", "", "Looks like this photo")

Json = dict[str, Any]


async def search(request: Request) -> Response:
    """Answer `GET` and `POST /search`: what looks like a photo, or like an item."""
    resources: Resources = request.app.state.resources
    params = request.query_params.multi_items()
    names = {name for name, value in params if value}
    if request.method != "POST" and not names & {*_QUERIES, "text"}:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/")
    where, where_error = _condition(params)
    shown, result, failure = _PHOTO, None, None
    with resources.published.current() as published:
        try:
            with resources.admission.enter():
                given = await read_request(
                    request, _fields(params, where, published, request.method)
                )
                given, url = await _fetched(resources, given)
                try:
                    shown = await _shown(resources, published, given, request, url)
                    result = None if where_error else await answer(resources, published, given)
                    shown = _kept(shown, result, request)
                finally:
                    if given.photo is not None:
                        given.photo.close()
        except REFUSALS as error:
            where_error = _fault_of_condition(published, where, error)
            failure = None if where_error else problem_of(error)
        told = None if failure is None else failure.failure
        return await send_page(
            request,
            published,
            lambda shop: documents.search_page(
                shop, shown, params, result, failure=told, where_error=where_error
            ),
            failure or (HttpProblem(400, "query", where_error) if where_error else None),
        )


def _condition(params: Params) -> tuple[str | None, str]:
    """Return the condition of the filters, and what is wrong with them, or ""."""
    try:
        return filters.condition(params), ""
    except QueryError as error:
        return None, sentence(error)


def _fault_of_condition(published: Published, where: str | None, error: Exception) -> str:
    """Return what is wrong with the condition, if that is why there is no answer; or ""."""
    if where is None or not isinstance(error, QueryError):
        return ""
    try:
        Condition(published.searcher.catalog, where)
    except QueryError as fault:
        return sentence(fault)
    return ""


def _fields(
    params: Params, where: str | None, published: Published, method: str
) -> list[tuple[str, str]]:
    """Return the fields of the search that the page's own fields stand for."""
    given = {name: value for name, value in params if name in _PASSED_ON and value}
    given.setdefault("k", str(documents.PAGE))
    if where is not None:
        given["where"] = where
    if len(published.searcher.engines) > 1 and "group_by" not in given:
        given["fuse"] = "true"
    if "text" in given and method != "POST" and not _QUERIES & given.keys():
        given["look"] = "true"
    return list(given.items())


async def _fetched(resources: Resources, given: SearchInput) -> tuple[SearchInput, str]:
    """Fetch the photo of a URL, which the page shows; return the URL, or ""."""
    if given.photo is not None or given.request.url is None:
        return given, ""
    url = given.request.url
    options = given.request.model_dump(exclude={"url", "item", "upload", "vector", "look"})
    return SearchInput(
        SearchOptions(**options), io.BytesIO(await resources.fetcher.fetch(url))
    ), url


async def _shown(
    resources: Resources, published: Published, given: SearchInput, request: Request, url: str
) -> ShownQuery:
    """Return how the page shows what is searched with."""
    if (photo := given.photo) is not None:
        picture = None if _HAS_PHOTO in request.headers else await _picture(resources, photo)
        if url:
            return ShownQuery("url", url, url, _PHOTO.title, picture=picture)
        photo.seek(0)
        key = await in_search_pool(resources, lambda: _sha256(photo))
        return ShownQuery("photo", key, "", _PHOTO.title, picture=picture, uploaded=True)
    if (name := given.request.upload) is not None:
        return ShownQuery("photo", name, "", _PHOTO.title, uploaded=True)
    if given.request.item is None:
        return ShownQuery("", given.request.text or "", "", "What has these words")
    number, base = given.request.item, request.scope.get("root_path", "")
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


async def _picture(resources: Resources, photo: BinaryIO) -> str:
    """Return a small copy of a photo that the browser has no address of, as a data: address."""

    def copy(data: bytes) -> bytes:
        return images.encode_jpeg(images.decode(data, limits), _COPY, _COPY_QUALITY)

    limits = resources.limits
    data = await resources.decoder.run(lambda: read_all(photo, limits), limits, copy)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


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
