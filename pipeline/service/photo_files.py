"""`/photos/{sha256}?w=`: photos of the catalog."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from pipeline.service.answering import in_search_pool
from pipeline.service.problems import HttpProblem
from pipeline.service.queries import parse_fields
from pipeline.service.resources import Resources
from pipeline.service.thumbnails import WIDTHS


class PhotoQuery(BaseModel):
    """In which size a photo is sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    w: int = Field(
        WIDTHS[-1],
        ge=1,
        le=WIDTHS[-1],
        description="pixels of the longer side, rounded up to one of a few sizes",
    )


async def get_photo(request: Request) -> Response:
    """Answer `GET /photos/{sha256}`."""
    resources: Resources = request.app.state.resources
    name = request.path_params["sha256"]
    width = _width(request)
    sha256 = _parse_sha256(name)
    with resources.published.current() as published:
        catalog = published.searcher.catalog
        path = await in_search_pool(resources, lambda: catalog.photo_path(sha256))
    if path is None:
        raise HttpProblem(404, "not_found", f"the catalog has no photo {name}")
    tag = f'"{name}-{width}"'
    headers = {"ETag": tag, "Cache-Control": resources.photo_caching}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    try:
        data = await resources.thumbnails.get(tag, path, width, sha256)
    except FileNotFoundError as error:
        raise HttpProblem(404, "not_found", "the photo's file is no longer there") from error
    return Response(data, media_type="image/jpeg", headers=headers)


async def get_upload(request: Request) -> Response:
    """Answer `GET /uploads/{name}`: a photo that was searched with, where those are kept."""
    resources: Resources = request.app.state.resources
    name = request.path_params["name"]
    width = _width(request)

    def read() -> bytes:
        return resources.uploads.read(name)

    data = await resources.thumbnails.make(read, width)
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(data, media_type="image/jpeg", headers=headers)


def _width(request: Request) -> int:
    """The size to send: what the address asks for, rounded up to one of a few."""
    wanted = parse_fields(PhotoQuery, request.query_params.multi_items()).w
    return next(width for width in WIDTHS if width >= wanted)


def _parse_sha256(name: str) -> bytes:
    try:
        sha256 = bytes.fromhex(name)
    except ValueError:
        sha256 = b""
    if len(sha256) != 32 or sha256.hex() != name:
        raise HttpProblem(404, "not_found", "a photo's name is a SHA-256 in hexadecimal")
    return sha256
