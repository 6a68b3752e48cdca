"""Errors → JSON `{code, message, hint}` with the right status."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping

from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Scope

from pipeline.errors import (
    BusyError,
    DamagedArtifactError,
    NotBuiltError,
    PipelineError,
    QueryError,
    RejectedImage,
    StaleIndexError,
    VectorDatabaseError,
)
from pipeline.images import Reject
from pipeline.service.page.content import ShownFailure
from pipeline.service.page.documents import bare_page

_LOG = logging.getLogger("pipeline.service")
_OF_STATUS = {
    400: ("bad_request", "the request is not understood", "see /openapi.json"),
    404: ("not_found", "there is nothing at this address", "see /openapi.json"),
    405: ("method", "this address does not take that method", "see /openapi.json"),
}
_OF_REJECTS: dict[str, int] = {
    Reject.TOO_MANY_BYTES: 413,
    Reject.NOT_AN_IMAGE: 415,
    Reject.UNSUPPORTED_FORMAT: 415,
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}
_FOR_PROGRAMS = ("/api/", "/openapi.json")
_UNAVAILABLE = (
    BusyError,
    DamagedArtifactError,
    NotBuiltError,
    StaleIndexError,
    VectorDatabaseError,
)


class HttpProblem(Exception):
    """Why a request is refused: what is answered instead.

    raise HttpProblem(404, "not_found", "no item has the id 7", hint="see /api/items")
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.headers = dict(headers or {})

    def response(self, scope: Scope) -> Response:
        """Return it as a page, where a browser asks for one, or as JSON."""
        wants_page = "text/html" in Headers(scope=scope).get("accept", "")
        if not wants_page or scope["path"].startswith(_FOR_PROGRAMS):
            return self.as_json()
        page = bare_page(self.failure, scope.get("root_path", ""))
        return HTMLResponse(page, self.status, self.headers)

    @property
    def failure(self) -> ShownFailure:
        """The same as pages show it."""
        return ShownFailure(self.status, self.message, self.hint)

    def as_json(self) -> JSONResponse:
        """Return it as JSON."""
        content = {"code": self.code, "message": self.message, "hint": self.hint}
        return JSONResponse(content, self.status, headers=self.headers)


def problem_of(error: Exception) -> HttpProblem:
    """Return what to answer for an error of the pipeline, of a request, or a bug."""
    if isinstance(error, HttpProblem):
        return error
    if isinstance(error, PipelineError):
        return _of_pipeline(error)
    if isinstance(error, ValidationError):
        return HttpProblem(400, "invalid", _first(error), "see /openapi.json")
    if isinstance(error, HTTPException):
        code, message, hint = _OF_STATUS.get(error.status_code, ("http", error.detail, ""))
        return HttpProblem(error.status_code, code, message, hint, error.headers)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return HttpProblem(503, "storage", os.strerror(error.errno or 0), "try again later")
    return HttpProblem(500, "internal", "the service failed; its log says how", "try again")


def _of_pipeline(error: PipelineError) -> HttpProblem:
    if isinstance(error, RejectedImage):
        status = _OF_REJECTS.get(error.reason, 422)
        return HttpProblem(
            status, error.code, f"not an acceptable photo: {error.message}", error.hint
        )
    if isinstance(error, QueryError):
        return HttpProblem(400, error.code, error.message, error.hint)
    status = 503 if isinstance(error, _UNAVAILABLE) else 500
    _LOG.warning("%s", error)  # where, and what to do: for whoever runs the service
    return HttpProblem(status, error.code, error.message, "the service's log says what to do")


async def respond(request: Request, error: Exception) -> Response:
    """Answer with a problem; what Starlette calls for an exception."""
    return problem_of(error).response(request.scope)


async def gone(_request: Request, _error: Exception) -> Response:
    """Answer a client that has gone, which is to say the log."""
    return Response(status_code=499)


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    # Of a field that may be of several types, pydantic names the type too: "tuple[…]".
    where = ".".join(str(part) for part in fault["loc"] if "[" not in str(part))
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
