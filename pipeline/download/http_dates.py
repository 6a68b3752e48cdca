"""Dates in HTTP headers."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def parse_date(text: str) -> datetime | None:
    """Read a date in any of HTTP's formats; it is in GMT, whether that is said or not.

        parse_date("Sun Nov  6 08:49:37 1994")    # 1994-11-06 08:49:37+00:00

    None if it is no date.
    """
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
