"""Who asks, behind proxies too, and how often each may."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.service.problems import HttpProblem

Network = IPv4Network | IPv6Network

MAX_CLIENTS = 10_000  # whose requests are counted; of more, those seen last
IPV6_PREFIX = 64  # bits that one customer is given; the rest they choose
UNCOUNTED = ("/healthz", "/readyz", "/metrics", "/static/")
PHOTOS = "/photos/"
PHOTO_COST = 0.05  # of a request: a page shows dozens


def client_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """Return the address of who asks: the last one that no trusted proxy has.

    Of `X-Forwarded-For`, only what trusted proxies wrote is believed: it is read from the right.
    """
    client = (scope.get("client") or ("unknown",))[0]
    forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
    while forwarded and is_within(client, trusted):
        previous = _address(forwarded.pop().strip())
        if previous is None:
            break
        client = str(previous)
    return client


def is_within(client: str, networks: Sequence[Network]) -> bool:
    """Whether a client's address is one of these networks'."""
    address = _address(client)
    return address is not None and any(address in network for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


class RateLimit:
    """A token bucket for each client: so many requests a second, and a burst after a pause.

    RateLimit(per_second=10, burst=60).take("192.0.2.1")   # 0.0: it may
    """

    def __init__(
        self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float = 1.0) -> float:
        """Count a request; return 0.0, or the seconds after which it may be made."""
        now = self._clock()
        name = _customer(client)
        tokens, then = self._buckets.pop(name, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        is_allowed = tokens >= cost
        self._buckets[name] = (tokens - cost if is_allowed else tokens, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if is_allowed else (cost - tokens) / self._per_second


def _customer(client: str) -> str:
    address = _address(client)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_PREFIX), strict=False))
    return client


class RateGuard:
    """Sends away clients that ask too often, before their request is read: 429."""

    def __init__(self, app: ASGIApp, limit: RateLimit) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI has it."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path.startswith(UNCOUNTED):
            await self._app(scope, receive, send)
            return
        cost = PHOTO_COST if path.startswith(PHOTOS) else 1.0
        wait = self._limit.take(scope["state"]["client"], cost)
        if wait:
            headers = {"Retry-After": str(math.ceil(wait))}
            message = "this address asks too often"
            problem = HttpProblem(429, "rate", message, "wait a moment, then try again", headers)
            await problem.response(scope)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class ClientGuard:
    """Notes who asks, for what comes after it: `scope["state"]["client"]`.

    Of a trusted proxy also whether it is asked by HTTPS.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self._app, self._trusted = app, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI has it."""
        if scope["type"] == "http":
            scope.setdefault("state", {})["client"] = client_of(scope, self._trusted)
            if is_within((scope.get("client") or ("",))[0], self._trusted):
                forwarded = Headers(scope=scope).get("x-forwarded-proto", "")
                scope["scheme"] = "https" if forwarded == "https" else scope["scheme"]
        await self._app(scope, receive, send)
