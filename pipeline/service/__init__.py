"""The HTTP service and its page, beside the command line: it reads, and never writes a stage.

server.py      the process: sockets, signals, what it prints as it starts
app.py         the application: its routes, and what every request goes through
resources.py   what all requests share; opened once, closed at the end
published.py   what answers: the newest published state, and the one before while it is needed
search_api.py · catalog_api.py · photo_files.py · status.py · documents.py    the routes
pages.py · page_search.py · page_replies.py    the routes of the page
queries.py     a request → what is searched with, and how
answering.py   a query → a SearchResult: decode, encode, search
decoding.py · batching.py    photos → pixels → vectors, within bounds of memory and time
thumbnails.py  photos of the catalog, in the sizes that pages show
fetching.py    a photo at a URL, by the guarded fetcher of downloads
uploads.py     photos that were searched with, where they are kept
schemas.py · openapi.py      what is sent and received, in types, and described for machines
problems.py    errors → JSON with the right status
admission.py · clients.py · tokens.py · guards.py · access.py    who may ask, how often, how much
page/          the page: templates, styles, scripts, and the words of it
"""
