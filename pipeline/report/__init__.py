"""Stage 9: results → pages, pictures, tables.

`data.py` collects what is known of a catalog's engines, `charts.py` draws it, `page.py` puts both
into `templates/report.html.jinja`; `tables.py` is for the terminal, `contact_sheet.py` for pictures
and `projector.py` for TensorBoard.

A new page is one template and one call. `templates/prices.html.jinja` begins with
`{% extends "page.html.jinja" %}` and fills the blocks `title` and `content`; then

    html = render("prices.html.jinja", limits, prices=prices)

is a page that needs no other file (see `render.py`).
"""
