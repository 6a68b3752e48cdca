"""Hits of an answer → what a card of the page shows, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

Json = Mapping[str, Any]
BEST = "best"
"""The view that shows the engines' lists as one."""
COMPARE = "compare"
"""The view that shows the engines side by side."""
WORDS = "words"
"""The view that shows what has the words."""
_BY = "by."
_RANK = "rank."
_NO_MATCH = "Nothing in the catalog looks much like it."


def item_card(item: Json, photo: str | None, words: str = "", query: str = "") -> dict[str, Any]:
    """Return the card of an item: its name, category, photo and the address of its page."""
    return {
        "name": item["name"] or item["key"],
        "category": item["category"],
        "photo": photo and f"/photos/{photo}",
        "href": f"/items/{item['id']}{query and '?'}{query}",
        "words": words,
        "more": None,
    }


def panels(answer: Json) -> list[dict[str, Any]]:
    """Return the lists of an answer (`SearchResult.to_dict()`), the fused one first.

    Each has a name, a title, the engine's warning, and its cards, which link to the item's
    page with the ranks that the engines gave it.
    """
    ranks = _ranks(answer)
    lists = [
        {
            "name": view_of(name),
            "title": name,
            "warning": engine["warning"],
            "no_match": _NO_MATCH if engine["no_match"] else None,
            "hits": [_hit(hit, distance_in_words(hit), ranks) for hit in engine["hits"]],
        }
        for name, engine in answer["engines"].items()
    ]
    if answer.get("text") is not None:
        lists = [_text_panel(answer["text"], ranks), *lists]
    if answer.get("fused") is None or len(lists) < 2:
        return lists
    none = all(panel["no_match"] for panel in lists)
    best = {
        "name": BEST,
        "title": best_title(len(lists)),
        "warning": None,
        "no_match": _NO_MATCH if none else None,
        "hits": [_hit(hit, ranks_in_words(hit["ranks"]), ranks) for hit in answer["fused"]],
    }
    return [best, *lists]


def _text_panel(hits: Sequence[Json], ranks: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    """Return the list of what words found, which stands before those of the engines."""
    cards = [_hit(hit, "", ranks) for hit in hits]
    return {"name": WORDS, "title": "Words", "warning": None, "no_match": None, "hits": cards}


def view_of(engine: str) -> str:
    """Return the name of the view that shows one engine."""
    return f"{_BY}{engine}"


def views(shown: Sequence[Json]) -> list[tuple[str, str]]:
    """Return name and label of the ways to look at these panels."""
    lists = [(panel["name"], panel["title"]) for panel in shown]
    return [(COMPARE, "Side by side"), *lists]


def best_title(engines: int) -> str:
    """Return what the list is called that several engines' lists are fused into."""
    return "Best of both" if engines == 2 else "Best of all"


def _hit(hit: Json, words: str, ranks: Mapping[int, Mapping[str, int]]) -> dict[str, Any]:
    item = hit["item"]
    places = {f"{_RANK}{engine}": rank for engine, rank in ranks.get(item["id"], {}).items()}
    return item_card(item, hit["sha256"], words, urlencode(places)) | _more_like_it(hit)


def _more_like_it(hit: Json) -> dict[str, str]:
    """The words and the address of what is hidden behind a hit, if anything is."""
    if not (similar := hit.get("similar")):
        return {}
    ids = ", ".join(map(str, (hit["item"]["id"], *similar)))
    where = urlencode({"where": f"id in ({ids})"})
    return {"more": f"and {len(similar)} more like this", "more_href": f"/browse?{where}"}


def _ranks(answer: Json) -> dict[int, dict[str, int]]:
    """Item → engine → its rank there, as far as the answer knows."""
    ranks: dict[int, dict[str, int]] = {}
    for hit in answer.get("fused") or ():
        ranks.setdefault(hit["item"]["id"], {}).update(hit["ranks"])
    for name, engine in answer["engines"].items():
        for hit in engine["hits"]:
            ranks.setdefault(hit["item"]["id"], {})[name] = hit["rank"]
    return ranks


def ranks_of(params: Sequence[tuple[str, str]], engines: Sequence[str]) -> list[tuple[str, str]]:
    """Return (engine, place in words) of the ranks that an item's address carries."""
    given = dict(params)
    ranks = [(engine, given.get(f"{_RANK}{engine}", "")) for engine in engines]
    return [(engine, ordinal(int(rank))) for engine, rank in ranks if _is_rank(rank)]


def _is_rank(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 8


def distance_in_words(hit: Json) -> str:
    """Return how far a hit is: "Nearer than 97 % of neighbors usually are, distance 0.1203"."""
    distance, percentile = hit["distance"], hit["percentile"]
    if distance == 0:
        return "The very same picture"
    number = f"distance {distance:.4g}"
    if percentile is None:
        return number.capitalize()
    side, share = ("Nearer", 100 - percentile) if percentile < 50 else ("Farther", percentile)
    if share == 100:
        return f"{side} than any neighbor usually is, {number}"
    return f"{side} than {math.floor(share)}\N{NO-BREAK SPACE}% of neighbors usually are, {number}"


def ranks_in_words(ranks: Mapping[str, int]) -> str:
    """Return which engines put an item where: "1st by vgg16, 3rd by autoencoder"."""
    return ", ".join(f"{ordinal(rank)} by {engine}" for engine, rank in ranks.items())


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, 11th and so on."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"
