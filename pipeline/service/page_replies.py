"""Pages as they are sent, and refusals as pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from pipeline.errors import PipelineError
from pipeline.service.answering import in_search_pool
from pipeline.service.catalog_api import catalog_content
from pipeline.service.page import documents
from pipeline.service.page.content import Shop
from pipeline.service.problems import HttpProblem, problem_of
from pipeline.service.published import Published
from pipeline.service.replies import PUBLICATION_HEADER
from pipeline.service.resources import Resources

REFUSALS = (PipelineError, HttpProblem, ValidationError, HTTPException)
"""What a page says, instead of what was asked for."""
MIN_SIDE = 1024
PARTS = 4
"""Photos are scaled down before they are sent: to a size that still shows well, and of which a
part, 1 / PARTS of its side, still has the pixels that the engines take."""


async def send_page(
    request: Request,
    published: Published,
    render: Callable[[Shop], str],
    problem: HttpProblem | None = None,
) -> Response:
    """Send the page that `render` makes, with the status of a problem if it tells of one."""
    resources: Resources = request.app.state.resources
    base = request.scope.get("root_path", "")
    html = await in_search_pool(resources, lambda: render(_shop(resources, published, base)))
    headers = {PUBLICATION_HEADER: str(published.number), "Cache-Control": "no-cache"}
    headers |= problem.headers if problem else {}
    return HTMLResponse(html, problem.status if problem else 200, headers)


async def send_refusal(request: Request, published: Published, error: Exception) -> Response:
    """Send a page that says why there is no other."""
    problem = problem_of(error)
    return await send_page(
        request, published, lambda shop: documents.error_page(shop, problem.failure), problem
    )


def sentence(error: PipelineError) -> str:
    """Return what is wrong and what to do about it, as one sentence."""
    return "; ".join(part for part in (error.message, error.hint) if part)


def _shop(resources: Resources, published: Published, base: str) -> Shop:
    config = resources.config
    content = catalog_content(published, config)
    sides: Sequence[int] = [side for engine in content["engines"] for side in engine["input_size"]]
    return Shop(
        content["name"],
        content["items"],
        [engine["name"] for engine in content["engines"]],
        content["columns"],
        side=max(MIN_SIDE, PARTS * max(sides)),
        keep_uploads=config.serve.keep_uploads,
        collapses=config.search.collapse if config.finds_duplicates else None,
        max_k=content["limits"]["max_k"],
        publication=str(published.number),
        base=base,
    )
