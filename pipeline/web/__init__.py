"""URLs → the bytes of photos, politely and safely; knows nothing of the catalogue.

schedule.py    many URLs → one outcome each: whose turn it is
photo.py       one photo: attempts, redirects, deadlines
client.py      one request, and what can go wrong with it
body.py        the bytes of one answer, never more than asked for
hosts.py       one server: its slots, its pauses, whether it still answers
robots.py      what a server asks of crawlers
urls.py        text → a URL that may be requested
addresses.py   which addresses may be connected to
outcomes.py    what became of a photo, and the reasons
"""

from __future__ import annotations

from pipeline.web.outcomes import Failed, Fetched, Outcome
from pipeline.web.schedule import fetch_all

__all__ = ["Failed", "Fetched", "Outcome", "fetch_all"]
