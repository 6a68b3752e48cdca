"""The outcome of a photo, and the reasons that are counted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a photo was not fetched, as the ledger shows it; an error status reads `HTTP 404`."""

    NOT_A_URL = "not a URL"
    NOT_HTTP = "not an http or https URL"
    FORBIDDEN_ADDRESS = "forbidden address"
    NAME_NOT_FOUND = "name not found"
    CONNECTION_REFUSED = "connection refused"
    CONNECTION_FAILED = "connection failed"
    CONNECTION_LOST = "connection lost"
    TLS_FAILURE = "TLS failure"
    CONNECT_TIMEOUT = "connect timeout"
    READ_TIMEOUT = "read timeout"
    TOTAL_TIMEOUT = "total timeout"
    INVALID_RESPONSE = "invalid response"
    HEADERS_TOO_LARGE = "response headers too large"
    UNKNOWN_ENCODING = "unknown content encoding"
    BROKEN_ENCODING = "broken content encoding"
    TOO_MANY_REDIRECTS = "too many redirects"
    REDIRECT_NOWHERE = "redirect without a place to go"
    DISALLOWED = "disallowed by robots.txt"
    ROBOTS_UNAVAILABLE = "robots.txt unavailable"
    HOST_NOT_ANSWERING = "host not answering"
    ASKED_TO_WAIT = "host asked us to wait"


_HOSTS_FAULT = {
    Reason.NAME_NOT_FOUND,
    Reason.CONNECTION_REFUSED,
    Reason.CONNECTION_FAILED,
    Reason.CONNECTION_LOST,
    Reason.TLS_FAILURE,
    Reason.CONNECT_TIMEOUT,
    Reason.READ_TIMEOUT,
    Reason.TOTAL_TIMEOUT,
}
# What is not HTTP may be the rest of an earlier response on the same connection.
_TEMPORARY = _HOSTS_FAULT - {Reason.TOTAL_TIMEOUT} | {Reason.INVALID_RESPONSE}
SUCCESS = {200, 203}  # statuses of a response with the photo; 203: a proxy has changed it
_TEMPORARY_STATUSES = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Fetched:
    """The bytes that came; they need not be those of a photo."""

    data: bytes
    status: int
    attempts: int
    seconds: float


@dataclass(frozen=True)
class Failed:
    """No bytes; `rejected` if the photo is the cause, and not the network."""

    reason: str
    status: int | None
    attempts: int
    seconds: float
    rejected: bool = False


Outcome = Fetched | Failed


@dataclass(eq=False)
class Failure(Exception):
    """The end of one attempt; `pause`: seconds for which the host wants no further request."""

    reason: str
    status: int | None = None
    rejected: bool = False
    pause: float | None = None

    @property
    def is_temporary(self) -> bool:
        """Whether another attempt may succeed."""
        return self.reason in _TEMPORARY or self.status in _TEMPORARY_STATUSES

    @property
    def is_hosts_fault(self) -> bool:
        """Whether the host as a whole is the cause, and not only this photo."""
        return self.reason in _HOSTS_FAULT or self.status == 429 or (self.status or 0) >= 500

    def outcome(self, attempts: int = 0, seconds: float = 0.0) -> Failed:
        """Return the outcome of a photo whose last attempt failed so."""
        return Failed(str(self.reason), self.status, attempts, seconds, self.rejected)
