"""`/report` and `/audit`: pages that say how good the catalog is."""

from __future__ import annotations

import html
import re

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from pipeline.config.schema import REPORT
from pipeline.service.answering import in_search_pool
from pipeline.service.problems import HttpProblem
from pipeline.service.resources import Resources

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
_HEAD = 4096  # characters in which a page says its policy


async def report(request: Request) -> Response:
    """Answer `GET /report`: what `imgsearch report` wrote."""
    resources: Resources = request.app.state.resources
    path = resources.config.folder / REPORT
    try:
        return _document(await in_search_pool(resources, path.read_text))
    except FileNotFoundError as error:
        hint = "run `imgsearch report`"
        raise HttpProblem(404, "not_found", "there is no report yet", hint) from error


async def audit(request: Request) -> Response:
    """Answer `GET /audit`: faulty photos of the catalog."""
    resources: Resources = request.app.state.resources
    return _document(resources.audits.get(resources.published.number))


def _document(page: str) -> Response:
    """Send a page that needs no other file, under the policy that it carries itself."""
    policy = _POLICY.search(page[:_HEAD])
    headers = {"Content-Security-Policy": html.unescape(policy[1])} if policy else {}
    return HTMLResponse(page, headers={**headers, "Cache-Control": "no-cache"})
