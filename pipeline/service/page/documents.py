"""What the API answers → HTML documents."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from pipeline.report.text import counted
from pipeline.service.page import filters
from pipeline.service.page.cards import (
    BEST,
    COMPARE,
    item_card,
    panels,
    ranks_of,
    views,
)
from pipeline.service.page.content import Shop, ShownFailure, ShownQuery
from pipeline.service.page.filters import Params
from pipeline.service.page.render import render

Json = Mapping[str, Any]

PAGE = 24  # items of a page, and how many more a search shows
_CARRIED = ("item", "url", "upload", "region", "text", "like", "unlike", "q")
"""Parameters that stay when filters change."""
_NOT_AROUND_TEXT = ("text", "k")
"""Parameters that do not stay when words are searched for."""


def home_page(shop: Shop, items: Sequence[tuple[Json, str | None]]) -> str:
    """Return the first page; `items` (each with its photo's SHA-256) are a look at the catalog."""
    cards = [item_card(item, photo) for item, photo in items]
    return _render("home.html.jinja", shop, items=cards)


def search_page(
    shop: Shop,
    query: ShownQuery,
    params: Params,
    answer: Json | None,
    *,
    failure: ShownFailure | None = None,
    where_error: str = "",
) -> str:
    """Return a query with its answer (`SearchResult.to_dict()`), or with why there is none.

    `where_error` is what is wrong with the condition; it is shown under its field.
    """
    if query.kind == "photo" and query.key:
        params = [*((n, v) for n, v in params if n != "upload"), ("upload", query.key)]
    given = dict(params)
    shown = panels(answer) if answer else []
    total = max((len(panel["hits"]) for panel in shown), default=0)
    return _render(
        "search.html.jinja",
        shop,
        query={**vars(query), "region": _region(given.get("region", ""), answer)},
        panels=shown,
        views=views(shown),
        view=_view(given.get("view", ""), shown),
        notes=answer["notes"] if answer else [],
        say=_say(shown, failure, where_error),
        error=failure,
        more=_more(params, total, shop.max_k, shop.base),
        text=given.get("text", ""),
        around_text=[(n, v) for n, v in params if v and n not in _NOT_AROUND_TEXT],
        **_filters(shop, params, "/search", where_error),
    )


def item_page(
    shop: Shop,
    item: Json,
    photos: Sequence[str],
    similar: Sequence[tuple[Json, str | None]],
    params: Params,
) -> str:
    """Return the page of an item: its photos (by SHA-256), metadata, and what is similar to it.

    `params` may carry where the engines put it, as the links of an answer do.
    """
    shown = {
        **item,
        "name": item["name"] or item["key"],
        "photos": [f"/photos/{photo}" for photo in photos],
        "metadata": [(name, _text(value)) for name, value in item["metadata"].items()],
    }
    cards = [item_card(other, photo) for other, photo in similar]
    ranks = ranks_of(params, shop.engines)
    return _render("item.html.jinja", shop, item=shown, similar=cards, ranks=ranks)


def browse_page(
    shop: Shop,
    items: Sequence[tuple[Json, str | None]],
    total: int,
    params: Params,
    *,
    where_error: str = "",
) -> str:
    """Return one page of the items that were found by words and filters."""
    words = dict(params).get("q", "").strip()
    return _render(
        "browse.html.jinja",
        shop,
        q=words,
        title=f"“{words}”" if words else "The catalog",
        say="The condition cannot be used" if where_error else counted(total, "item"),
        items=[item_card(item, photo) for item, photo in items],
        error=None,
        pages=_pages(shop, params, total),
        **_filters(shop, params, "/browse", where_error),
    )


def error_page(shop: Shop, failure: ShownFailure) -> str:
    """Return a page that says why there is no other."""
    return _render("error.html.jinja", shop, error=failure)


def bare_page(failure: ShownFailure, base: str) -> str:
    """Return a page that says why there is no other, and needs nothing of the catalog."""
    return render("bare.html.jinja", error=failure, base=base)


def page_number(params: Params) -> int:
    """Return the page of items that is asked for, from 1."""
    text = dict(params).get("page", "")
    return max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < 10 else 1


def _render(template: str, shop: Shop, **content: Any) -> str:
    privacy = (
        f"the last {counted(shop.keep_uploads, 'photo')} searched with are kept, so that the"
        " address of an answer can be shared"
        if shop.keep_uploads
        else "photos that you search with are not kept"
    )
    defaults = {"q": "", "query": None}
    shown = {**vars(shop), "count": counted(shop.items, "item")}
    return render(
        template, **{**defaults, "shop": shown, "base": shop.base, "privacy": privacy, **content}
    )


def _filters(shop: Shop, params: Params, action: str, where_error: str) -> dict[str, Any]:
    carried = [(name, value) for name, value in params if name in _CARRIED and value]
    return {
        "filters": filters.fields(shop.columns, params),
        "filter_action": action,
        "carried": carried,
        "filtered": filters.chosen(params),
        "clear": f"{shop.base}{action}?{urlencode(carried)}",
        "group_by": dict(params).get("group_by", ""),
        "collapse": None if action != "/search" else _collapse_choice(shop, params),
        "where": filters.text_of(params),
        "where_error": where_error,
    }


def _collapse_choice(shop: Shop, params: Params) -> dict[str, Any] | None:
    """Return the check box by which a search hides near-duplicates, or not: as it is not set."""
    if shop.collapses is None:
        return None
    label = "Near-duplicates too" if shop.collapses else "Near-duplicates once"
    value = "false" if shop.collapses else "true"
    return {"label": label, "value": value, "checked": dict(params).get("collapse") == value}


def _region(wanted: str, answer: Json | None) -> str:
    """Return the part of the photo that was searched with, as an address has it."""
    used = answer["region"] if answer else None
    return ",".join(f"{number:.4g}" for number in used) if used else wanted.replace("auto", "")


def _view(wanted: str, shown: Sequence[Json]) -> str:
    names = [panel["name"] for panel in shown]
    return wanted if wanted in names else COMPARE


def _say(shown: Sequence[Json], failure: ShownFailure | None, where_error: str) -> str:
    """Return what is read out when the answer arrives."""
    if failure:
        return failure.title
    if where_error:
        return "The condition cannot be used"
    lists = [panel for panel in shown if panel["name"] != BEST]
    if lists and all(panel["no_match"] for panel in lists):
        return "No good match"
    found = {hit["href"] for panel in lists for hit in panel["hits"]}
    return f"{counted(len(found), 'item')} found"


def _more(params: Params, total: int, max_k: int, base: str) -> str | None:
    """Return the address of the same search with more hits, if there may be any."""
    if not total:
        return None
    k = int(float(dict(params).get("k") or PAGE))  # "24.0" is one too
    if total < k or k >= max_k:
        return None
    return _with(params, f"{base}/search", k=min(k + PAGE, max_k))


def _pages(shop: Shop, params: Params, total: int) -> dict[str, Any]:
    number, last = page_number(params), max(1, math.ceil(total / PAGE))
    address = f"{shop.base}/browse"
    return {
        "number": number,
        "last": last,
        "previous": _with(params, address, page=min(number - 1, last)) if number > 1 else None,
        "next": _with(params, address, page=number + 1) if number < last else None,
    }


def _with(params: Params, address: str, **changed: Any) -> str:
    kept = [(name, value) for name, value in params if name not in changed and value]
    return f"{address}?{urlencode([*kept, *changed.items()])}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
