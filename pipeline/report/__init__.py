"""Stage 10: results → pages, pictures, tables.

A new page is one template and one call. `templates/prices.html.jinja` begins with
`{% extends "page.html.jinja" %}` and fills the blocks `title` and `content`; then
`render("prices.html.jinja", limits, prices=prices)` is a page that needs no other file.
"""
