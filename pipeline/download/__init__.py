"""Stage 3: URLs → photos on disk, politely and safely.

download.py    the stage: URLs in the ledger → images/, each ending in a named state
queue.py       the part of the ledger it works on: what is to be fetched, and the outcomes
storing.py     the outcome of a URL → what the ledger says of it, and its photo on disk
owners.py      hosts shared out among workers: each has one owner
schedule.py    many URLs → one outcome each, the hosts in turn
fetcher.py     one photo: attempts, redirects, deadlines
client.py      one request, the bytes of its response, and what can go wrong with it
content_encoding.py · cookies.py · http_dates.py    headers of responses, read as browsers do
hosts.py       one server: its slots, its pauses, whether it still responds
robots.py      what a server allows crawlers to request
urls.py        text → a URL that may be requested
addresses.py   which addresses may be connected to
outcomes.py    the outcome of a photo, and the reasons
"""
