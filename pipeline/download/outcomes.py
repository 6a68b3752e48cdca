"""What became of a photo, and the reasons that get counted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a photo was not fetched, as the ledger shows it; a refusal by status is `HTTP 404`."""

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
# What is not HTTP may be the surplus of an earlier answer on the same connection.
_PASSING = _HOSTS_FAULT - {Reason.TOTAL_TIMEOUT} | {Reason.INVALID_RESPONSE}
FOUND = {200, 203}  # the statuses of what was asked for; 203: a proxy has changed it
_PASSING_STATUSES = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Fetched:
    """The photo's bytes, whatever they are."""

    data: bytes
    status: int
    attempts: int
    seconds: float


@dataclass(frozen=True)
class Failed:
    """No bytes; `rejected` if that is the photo's fault and not the network's."""

    reason: str
    status: int | None
    attempts: int
    seconds: float
    rejected: bool = False


Outcome = Fetched | Failed


@dataclass(eq=False)
class Failure(Exception):
    """What ends one attempt at a photo; `pause` is how long the host wants to be left alone."""

    reason: str
    status: int | None = None
    rejected: bool = False
    pause: float | None = None

    @property
    def may_pass(self) -> bool:
        """Whether another attempt may do better."""
        return self.reason in _PASSING or self.status in _PASSING_STATUSES

    @property
    def is_hosts_fault(self) -> bool:
        """Whether it says something about the host, and not only about this photo."""
        return (
            self.reason in _HOSTS_FAULT
            or self.status == 429
            or (self.status is not None and self.status >= 500)
        )

    def outcome(self, attempts: int = 0, seconds: float = 0.0) -> Failed:
        """The failure as what became of the photo."""
        return Failed(str(self.reason), self.status, attempts, seconds, self.rejected)
