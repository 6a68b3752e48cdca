"""What a server allows crawlers to request: robots.txt (RFC 9309) and its `Crawl-delay`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from protego import Protego
from yarl import URL

from pipeline.download.outcomes import SUCCESS, Fetched, Outcome, Reason

MAX_BYTES = 500_000  # the rest of a longer file is ignored, as the RFC allows
MAX_DELAY = 30.0  # seconds; some hosts ask for minutes, and mean search engines that never end


@dataclass(frozen=True)
class Rules:
    """What may be requested from one host."""

    agent: str = ""
    parsed: Protego | None = None
    deny_reason: str | None = None  # why nothing may be requested
    delay: float = 0.0  # minimum of seconds between two requests

    def refusal(self, url: URL) -> str | None:
        """Return why this URL may not be requested; None if it may."""
        try:
            allowed = self.parsed is None or self.parsed.can_fetch(str(url), self.agent)
        except Exception:  # a bug of the parser: in doubt, do not request it
            allowed = False
        return None if allowed else Reason.DISALLOWED


ALLOW_ALL = Rules()


def read_rules(outcome: Outcome, user_agent: str, moved: bool) -> Rules:
    """Turn the outcome of requesting robots.txt into rules; `moved` if it ended at another host.

    If the host has no such file, everything is allowed. If that cannot be determined, nothing is.
    """
    if isinstance(outcome, Fetched):
        agent = re.split(r"[/\s]", user_agent, maxsplit=1)[0]
        try:
            parsed = Protego.parse(outcome.data.decode("utf-8-sig", "replace"))
            delay = parsed.crawl_delay(agent) or 0.0
        except Exception:  # a bug of the parser must not end the run of the other hosts
            return Rules(deny_reason=Reason.ROBOTS_UNAVAILABLE)
        return Rules(agent, parsed, delay=max(0.0, min(MAX_DELAY, delay)))
    if outcome.status is None and not moved:  # no response: requests for photos would fail too
        return Rules(deny_reason=outcome.reason)
    if outcome.status is not None and 200 <= outcome.status < 500 and outcome.status not in SUCCESS:
        return ALLOW_ALL
    return Rules(deny_reason=Reason.ROBOTS_UNAVAILABLE)
