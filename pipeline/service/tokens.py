"""Who may ask: bearer tokens, of which only hashes are stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.service.guards import read_body
from pipeline.service.problems import HttpProblem

COOKIE = "imgsearch-token"
COOKIE_SECONDS = 30 * 24 * 3600
LOGIN = "/login"
_OPEN = ("/healthz", "/readyz", "/static/", LOGIN)
_MAX_FORM_BYTES = 4096
_LOGIN_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="/static/page.css">
<title>A token is needed</title></head>
<body><main><form class="message" method="post" action="/login">
<h1>A token is needed</h1>
<p><label for="token">The token that this service was given</label></p>
<p><input id="token" name="token" type="password" autocomplete="current-password" required></p>
<p><button class="button primary">Open</button></p>
</form></main></body></html>
"""


def new_token() -> str:
    """Draw a token that nobody guesses: 43 characters, for addresses and headers."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return what is stored of a token. It is random and long: a plain SHA-256 cannot be undone."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def is_known(token: str, hashes: Collection[str]) -> bool:
    """Whether a token is one of those with these hashes, in a time that tells nothing of them."""
    hashed = hash_token(token)
    matches = [hmac.compare_digest(hashed, known) for known in hashes]  # all: no early end
    return any(matches)


class TokenGuard:
    """Lets in who shows a token, in `Authorization: Bearer` or in the cookie of `/login`."""

    def __init__(self, app: ASGIApp, hashes: Collection[str]) -> None:
        self._app, self._hashes = app, frozenset(hashes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI has it."""
        is_open = scope["type"] != "http" or scope["path"].startswith(_OPEN)
        if is_open or is_known(_token_of(Headers(scope=scope)), self._hashes):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        response: Response
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            response = HTMLResponse(_LOGIN_PAGE, 401)
        else:
            hint = "send `Authorization: Bearer TOKEN`, or open /login"
            response = HttpProblem(401, "token", "a token is needed", hint).response(scope)
        response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)


async def login(request: Request) -> Response:
    """Answer `/login`: take a token, from a form or the address of a QR code, into a cookie."""
    hashes = request.app.state.resources.config.serve.token_hashes
    if request.method == "POST":
        form = await read_body(request, _MAX_FORM_BYTES, "form")
        token = dict(parse_qsl(form.decode("ascii", "replace"))).get("token", "")
    else:
        token = request.query_params.get("token", "")
    if not is_known(token, hashes):
        return HTMLResponse(_LOGIN_PAGE, 401 if token else 200)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        COOKIE,
        token,
        COOKIE_SECONDS,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


def _token_of(headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
