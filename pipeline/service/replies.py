"""Answers as they are sent: JSON that names the publication it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from pipeline.service.published import Published

PUBLICATION_HEADER = "Publication"


def reply(published: Published, content: Mapping[str, Any]) -> Response:
    """Send content as JSON; the publication is named in the body and in a header."""
    return Response(
        to_json({"publication": published.number, **content}),
        media_type="application/json",
        headers={PUBLICATION_HEADER: str(published.number), "Cache-Control": "no-cache"},
    )


def to_json(content: Any) -> bytes:
    """Encode JSON as the service sends it."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
