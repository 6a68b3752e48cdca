"""What a server asks of crawlers: robots.txt, as RFC 9309 has it, and its `Crawl-delay`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from protego import Protego
from yarl import URL

from pipeline.download.outcomes import FOUND, Fetched, Outcome, Reason

MOST_BYTES = 500_000  # what comes after is not read, as the RFC allows
# Some ask for minutes, and mean search engines that never end.
_MOST_DELAY = 30.0


@dataclass(frozen=True)
class Rules:
    """What may be asked of one host; `nothing` is why nothing may.

    `delay` is the least number of seconds between requests.
    """

    agent: str = ""
    parsed: Protego | None = None
    nothing: str | None = None
    delay: float = 0.0

    def refusal(self, url: URL) -> str | None:
        """Why this URL may not be asked for, if it may not."""
        try:
            allowed = self.parsed is None or self.parsed.can_fetch(str(url), self.agent)
        except Exception:  # a bug of the parser: what is in doubt is not asked for
            allowed = False
        return None if allowed else Reason.DISALLOWED


EVERYTHING = Rules()


def location(url: URL) -> URL:
    """Where the rules for a URL are."""
    return url.origin().with_path("/robots.txt")


def read_rules(outcome: Outcome, user_agent: str, moved: bool = False) -> Rules:
    """What became of a request for robots.txt → the rules; `moved` if it ended at another host.

    Without the file all is allowed. When that cannot be known, nothing is.
    """
    if isinstance(outcome, Fetched):
        agent = re.split(r"[/\s]", user_agent, maxsplit=1)[0]
        try:
            parsed = Protego.parse(outcome.data.decode("utf-8-sig", "replace"))
            delay = parsed.crawl_delay(agent) or 0.0
        except Exception:  # a bug of the parser must not end the run of the other hosts
            return Rules(nothing=Reason.ROBOTS_UNAVAILABLE)
        return Rules(agent, parsed, delay=max(0.0, min(_MOST_DELAY, delay)))
    if outcome.status is None and not moved:  # no answer: its photos would have none either
        return Rules(nothing=outcome.reason)
    if outcome.status is not None and 200 <= outcome.status < 500 and outcome.status not in FOUND:
        return EVERYTHING
    return Rules(nothing=Reason.ROBOTS_UNAVAILABLE)
