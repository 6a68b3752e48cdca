"""Stage 3: URLs → photos on disk, politely and safely.

download.py    the stage: URLs in the ledger → images/, each ending in a named state
queue.py       the part of the ledger it works on: what is to be fetched, and how it ended
schedule.py    many URLs → one outcome each: whose turn it is
fetcher.py     one photo: attempts, redirects, deadlines
client.py      one request, and what can go wrong with it
body.py        the bytes of one answer, never more than asked for
hosts.py       one server: its slots, its pauses, whether it still answers
robots.py      what a server asks of crawlers
urls.py        text → a URL that may be requested
addresses.py   which addresses may be connected to
outcomes.py    what became of a photo, and the reasons
"""
