"""`/api/items`, `/api/items/{id}`, `/api/catalog`: the catalog without a photo."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from pipeline.catalog.browse import find_items, first_photos, photos_of
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.records import ItemRecord
from pipeline.config import Config
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.service.answering import in_search_pool
from pipeline.service.problems import HttpProblem
from pipeline.service.published import Published
from pipeline.service.queries import ShortText, parse_fields
from pipeline.service.replies import reply
from pipeline.service.resources import Resources

PAGE_SIZE = 24


class ItemsQuery(BaseModel):
    """Which items are listed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    where: ShortText | None = Field(None, description="a condition on the catalog's columns")
    q: Annotated[str, StringConstraints(max_length=1000)] = Field(
        "", description="words that names, keys, categories or metadata contain, all of them"
    )
    page: int = Field(1, ge=1, le=2**31 - 1)
    size: int = Field(PAGE_SIZE, ge=1, le=100, description="items of a page")


async def list_items(request: Request) -> Response:
    """Answer `GET /api/items`."""
    query = parse_fields(ItemsQuery, request.query_params.multi_items())
    resources: Resources = request.app.state.resources
    with resources.published.current() as published:
        with resources.admission.enter():
            content = await in_search_pool(resources, lambda: items_content(published, query))
        return reply(published, content)


async def get_item(request: Request) -> Response:
    """Answer `GET /api/items/{id}`."""
    resources: Resources = request.app.state.resources
    item = request.path_params["id"]
    with resources.published.current() as published:
        content = await in_search_pool(resources, lambda: item_content(published, item))
        return reply(published, content)


async def get_catalog(request: Request) -> Response:
    """Answer `GET /api/catalog`."""
    resources: Resources = request.app.state.resources
    with resources.published.current() as published:
        config = resources.config
        content = await in_search_pool(resources, lambda: catalog_content(published, config))
        return reply(published, content)


def items_content(published: Published, query: ItemsQuery) -> dict[str, Any]:
    """Return a page of items; `ItemList` without its publication."""
    catalog = published.searcher.catalog
    start = (query.page - 1) * query.size
    found = find_items(catalog, query.q, query.where, start=start, limit=query.size)
    photos = first_photos(catalog, found.items)
    records = [record for item in found.items if (record := catalog.item(item))]
    return {
        "total": found.total,
        "page": query.page,
        "pages": max(1, -(-found.total // query.size)),
        "items": [record.to_dict() | {"sha256": photos.get(record.id)} for record in records],
    }


def item_content(published: Published, item: int) -> dict[str, Any]:
    """Return one item; `ItemDetail` without its publication.

    Raises:
        HttpProblem: no item has this id.
    """
    catalog = published.searcher.catalog
    record = known_item(catalog, item)
    photos = [asdict(photo) for photo in photos_of(catalog, item)]
    return {"item": record.to_dict(), "state": str(record.state), "photos": photos}


def known_item(catalog: Catalog, item: int) -> ItemRecord:
    """Return the item with this id.

    Raises:
        HttpProblem: there is none.
    """
    record = catalog.item(item)
    if record is None:
        raise HttpProblem(404, "not_found", f"no item has the id {item}", "/api/items lists all")
    return record


def catalog_content(published: Published, config: Config) -> dict[str, Any]:
    """Return what a page has to know; `CatalogBody` without its publication."""
    searcher = published.searcher
    return {
        "name": config.catalog,
        "items": published.item_count,
        "photos": searcher.catalog.photo_count(),
        "columns": [
            asdict(column)
            | {"values": [{"value": value, "items": items} for value, items in column.values]}
            for column in published.columns
        ],
        "engines": [_engine(engine) for engine in searcher.engines.values()],
        "warnings": {n: e.warning for n, e in searcher.engines.items() if e.warning},
        "limits": {
            "max_bytes": config.images.max_bytes,
            "max_pixels": config.images.max_pixels,
            "max_k": config.serve.max_k,
            "fetches_urls": config.serve.fetch_urls,
            "keeps_uploads": config.serve.keep_uploads > 0,
        },
    }


def _engine(engine: EngineSearcher) -> dict[str, Any]:
    return {
        "name": engine.name,
        "photos": engine.index.rows,
        "dim": engine.build.manifest["dim"],
        "build": engine.build.path.name,
        "fingerprint": engine.build.fingerprint,
        "input_size": list(engine.model.input_size),
        "warning": engine.warning,
    }
