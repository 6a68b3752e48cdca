"""`/openapi.json`: the API, described by the models that read requests and check answers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pipeline.service.catalog_api import ItemsQuery
from pipeline.service.photo_files import PhotoQuery
from pipeline.service.queries import SearchOptions, SearchRequest
from pipeline.service.schemas import (
    CatalogBody,
    ItemDetail,
    ItemList,
    ProblemBody,
    ReadyBody,
    SearchBody,
)

_BODIES = (CatalogBody, ItemDetail, ItemList, ProblemBody, ReadyBody, SearchBody)
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_ID = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
_PHOTO = {"type": "string", "format": "binary", "description": "an encoded photo"}


@cache
def describe() -> dict[str, Any]:
    """Return the OpenAPI document."""
    models: list[tuple[type[BaseModel], Any]] = [(body, "serialization") for body in _BODIES]
    models.append((SearchRequest, "validation"))
    _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")
    schemas = definitions["$defs"]
    schemas["SearchRequest"]["oneOf"] = _ways_to_ask()
    return {
        "openapi": "3.1.0",
        "info": {"title": "imgsearch", "version": version("imgsearch")},
        "paths": _paths(),
        "components": {"schemas": schemas},
    }


def _ways_to_ask() -> list[dict[str, Any]]:
    """One of the queries, or words without any of them."""
    names, null = ("url", "item", "upload", "vector"), {"type": "null"}
    ways: list[dict[str, Any]] = [
        {"required": [name], "properties": {name: {"not": null}, "look": {"const": False}}}
        for name in names
    ]
    text = {"type": "string", "pattern": r"\S"}
    return [
        *ways,
        {"required": ["text"], "properties": {"text": text, **dict.fromkeys(names, null)}},
    ]


def _paths() -> dict[str, Any]:
    item = [_in_path("id", _ID)]
    return {
        "/api/search": {"get": _get_search(), "post": _post_search()},
        "/api/items": {"get": _get("Items of the catalog.", ItemList, _query(ItemsQuery))},
        "/api/items/{id}": {"get": _get("One item.", ItemDetail, item, 404)},
        "/api/items/{id}/similar": {
            "get": _get("What looks like an item.", SearchBody, item + _query(SearchOptions), 404)
        },
        "/api/catalog": {"get": _get("The catalog as a whole.", CatalogBody, [])},
        "/photos/{sha256}": {"get": _get_photo()},
        "/readyz": {"get": _get("Whether searches are answered.", ReadyBody, [])},
    }


def _get_search() -> dict[str, Any]:
    parameters = [field for field in _query(SearchRequest) if field["name"] != "vector"]
    problems = (404, 413, 415, 422, 502, 504)
    described = _get("What looks like an item, or a photo by URL.", SearchBody, parameters)
    return {**described, "responses": _responses(SearchBody, *problems)}


def _post_search() -> dict[str, Any]:
    form = {
        "type": "object",
        "properties": {"photo": _PHOTO},
        "required": ["photo"],
        "additionalProperties": False,
    }
    return {
        "summary": "What looks like a photo, an item or a vector.",
        "description": "Options of a search with a photo stand in the address.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _ref(SearchRequest)},
                "application/octet-stream": {"schema": _PHOTO},
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": _responses(SearchBody, 404, 408, 413, 415, 422, 502, 504),
    }


def _get(
    summary: str, body: type[BaseModel], parameters: list[dict[str, Any]], *problems: int
) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": parameters,
        "responses": _responses(body, *problems),
    }


def _get_photo() -> dict[str, Any]:
    described = _get(
        "A photo of the catalog.",
        ProblemBody,
        [_in_path("sha256", _SHA256), *_query(PhotoQuery)],
        404,
        415,
        422,
    )
    described["responses"]["200"]["content"] = {"image/jpeg": {"schema": _PHOTO}}
    described["responses"]["304"] = {"description": "as the ETag that was sent says"}
    return described


def _responses(body: type[BaseModel], *problems: int) -> dict[str, Any]:
    responses: dict[str, Any] = {
        "200": {"description": "OK", "content": {"application/json": {"schema": _ref(body)}}}
    }
    for status in sorted({400, 401, 429, 503, *problems}):
        responses[str(status)] = {
            "description": "why it is refused",
            "content": {"application/json": {"schema": _ref(ProblemBody)}},
        }
    return responses


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of a model as parameters of an address; lists with commas."""
    schema = model.model_json_schema()
    return [
        {"name": name, "in": "query", "explode": False, "schema": _without_null(field)}
        for name, field in schema["properties"].items()
    ]


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What an address can say: it has no null, it leaves out."""
    kept = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            kept |= option
    return kept


def _in_path(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": dict(schema)}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
