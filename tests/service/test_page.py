"""The page's HTML: filters as conditions, distances in words, what a template shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import pytest

from pipeline.catalog.conditions import Condition
from pipeline.errors import QueryError
from pipeline.service.admission import Admission
from pipeline.service.page import documents, filters
from pipeline.service.page.cards import distance_in_words, ordinal, panels
from pipeline.service.page.content import Shop, ShownQuery
from pipeline.service.problems import HttpProblem
from tests.engines import Fair, Opener, Thing
from tests.service.conftest import Client

SHOP = Shop("shop", 3, ("color",), (), side=1024)
PHOTO = ShownQuery("photo", "ab" * 32, "", "Looks like this photo", uploaded=True)


@pytest.fixture
def quoted(open_fair: Opener) -> Fair:
    """Items whose columns and values have quotes."""
    fair = open_fair("color")
    fair.offer(
        {
            "a": Thing([(1, 1, 1)], "it's", {'6" nails': "5'", "price": 40, "a.b": "x"}),
            "b": Thing([(2, 2, 2)], "its", {'6" nails': '"', "price": 4.5}),
            "c": Thing([(3, 3, 3)], "its", {"price": None}),
        }
    )
    return fair


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ([("in.category", "it's")], "a"),
        ([("in.category", "it's"), ("in.category", "its")], "abc"),
        ([('in.6" nails', '"')], "b"),
        ([('in.6" nails', "5'"), ("in.category", "it's")], "a"),
        ([("in.price", "40")], "a"),
        ([("min.price", "4.5"), ("max.price", "39")], "b"),
        ([("min.price", ""), ("max.price", " 1e2 ")], "ab"),
        ([("in.category", "its"), ("where", "price > 4 or price < 0")], "b"),
        ([("where", "price > 4 or price < 100"), ("max.price", "5")], "b"),
        ([("in.a.b", "x")], "a"),
    ],
)
def test_filters_are_a_condition(quoted: Fair, params: list[tuple[str, str]], found: str) -> None:
    where = filters.condition(params)
    assert where is not None
    items = Condition(quoted.catalog, where).items
    assert items.tolist() == [quoted.id_of(key) for key in found]


def test_what_is_hidden_behind_a_hit_can_be_opened(quoted: Fair) -> None:
    item = {"id": 1, "key": "a", "name": "a", "category": "", "metadata": {}}
    hit = {"rank": 1, "distance": 0.5, "percentile": None, "item": item, "photo": None}
    engine = {"no_match": False, "warning": None, "hits": [{**hit, "sha256": "", "similar": [3]}]}
    ((card,),) = (panel["hits"] for panel in panels({"engines": {"e": engine}}))
    assert card["more"] == "and 1 more like this"
    path, _, query = card["more_href"].partition("?")
    assert path == "/browse"
    condition = filters.condition(parse_qsl(query))
    assert Condition(quoted.catalog, condition or "").items.tolist() == [1, 3]


def test_without_filters_there_is_no_condition() -> None:
    assert filters.condition([("item", "7"), ("where", " "), ("min.price", "")]) is None


def test_a_bound_is_a_number() -> None:
    with pytest.raises(QueryError, match="price: 'cheap' is not a number"):
        filters.condition([("min.price", "cheap")])


def column(name: str, kind: str, distinct: int, items: int = 100) -> dict[str, Any]:
    values = [
        {"value": f"{name} {i}", "items": items // distinct} for i in range(min(20, distinct))
    ]
    bounds = (
        {"minimum": 1, "maximum": 9} if kind == "number" else {"minimum": None, "maximum": None}
    )
    return {
        "name": name,
        "kind": kind,
        "items": items,
        "distinct": distinct,
        "values": values,
        **bounds,
    }


def test_which_columns_have_which_fields() -> None:
    columns = [
        column("category", "text", 7),
        {**column("category", "text", 7), "name": "copy"},
        column("sku", "text", 100),
        column("brand", "text", 40),
        column("price", "number", 80),
        column("stars", "number", 5),
        column("one", "text", 1),
        column("tree", "structured", 3),
    ]
    fields = filters.fields(columns, [("in.category", "category 2"), ("max.price", "5")])
    assert [field["column"] for field in fields["choices"]] == ["category", "stars"]
    assert [c["value"] for c in fields["choices"][0]["choices"] if c["checked"]] == ["category 2"]
    assert [(f["column"], f["low"], f["high"]) for f in fields["ranges"]] == [("price", "", "5")]
    assert fields["groups"] == ["category", "brand"]


@pytest.mark.parametrize(
    ("distance", "percentile", "words"),
    [
        (0.0, 0.0, "The very same picture"),
        (0.12345, None, "Distance 0.1235"),
        (0.12345, 2.6, "Nearer than 97 % of neighbors usually are, distance 0.1235"),
        (12.0, 0.0, "Nearer than any neighbor usually is, distance 12"),
        (12.0, 81.6, "Farther than 81 % of neighbors usually are, distance 12"),
        (12.0, 99.97, "Farther than 99 % of neighbors usually are, distance 12"),
        (12.0, 100.0, "Farther than any neighbor usually is, distance 12"),
    ],
)
def test_distances_in_words(distance: float, percentile: float | None, words: str) -> None:
    hit = {"distance": distance, "percentile": percentile}
    assert distance_in_words(hit).replace("\N{NO-BREAK SPACE}", " ") == words


def test_ordinals() -> None:
    numbers = (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)
    assert " ".join(map(ordinal, numbers)) == "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th"


def answer(**engine: Any) -> dict[str, Any]:
    item = {"id": 7, "key": "k", "name": "A <b>mug</b>", "category": "", "metadata": {}}
    hit = {"rank": 1, "distance": 0.5, "percentile": 3.0, "item": item, "sha256": "00"}
    content = {"hits": [hit], "no_match": False, "warning": None, **engine}
    return {"engines": {"color": content}, "notes": [], "region": None}


def test_one_engine_has_neither_columns_nor_tabs() -> None:
    page = documents.search_page(SHOP, PHOTO, [], answer())
    assert "Best of" not in page
    assert "Side by side" not in page
    assert "A &lt;b&gt;mug&lt;/b&gt;" in page


def test_warnings_and_missing_matches_are_said() -> None:
    page = documents.search_page(SHOP, PHOTO, [], answer(warning="RANDOM weights", no_match=True))
    assert "RANDOM weights" in page
    assert "No good match" in page


def test_what_words_find_may_be_in_no_other_list() -> None:
    hit = {"rank": 1, "score": 0.5, "item": {"id": 99, "key": "k", "name": "Rare", "category": ""}}
    page = documents.search_page(SHOP, PHOTO, [], {**answer(), "text": [{**hit, "sha256": "ab"}]})
    assert '<a class="card" href="/items/99">' in page


def test_near_duplicates_are_a_choice_where_they_are_known() -> None:
    shop = replace(
        SHOP, columns=({"name": "x", "kind": "text", "distinct": 0, "items": 0, "values": []},)
    )
    hidden, wanted = [("collapse", "true"), ("like", "7")], [("collapse", "false")]
    assert 'name="collapse"' not in documents.search_page(shop, PHOTO, [], answer())
    once = documents.search_page(replace(shop, collapses=False), PHOTO, hidden, answer())
    assert '<input type="checkbox" name="collapse" value="true" checked>' in once
    assert '<input type="hidden" name="like" value="7">' in once[once.index('class="filters') :]
    too = documents.search_page(replace(shop, collapses=True), PHOTO, wanted, answer())
    assert '<input type="checkbox" name="collapse" value="false" checked>' in too


def test_whether_photos_are_kept_is_said() -> None:
    assert "are not kept" in documents.home_page(SHOP, [])
    keeping = documents.home_page(replace(SHOP, keep_uploads=50), [])
    assert "the last 50 photos searched with are kept" in keeping


def test_pages_link_below_the_path_of_a_proxy() -> None:
    page = documents.search_page(replace(SHOP, base="/shop"), PHOTO, [], answer())
    links = [part.split('"')[0] for part in page.split('href="')[1:] + page.split('src="')[1:]]
    assert [link for link in links if not link.startswith(("/shop/", "#"))] == []


def test_a_busy_service_says_so_on_its_pages(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "enter", _refuse)
    for path in ("/search?item=1", "/search?item=1&where=price>3", "/browse?q=pear"):
        answer = client.get(path)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "too many searches wait" in answer.body.decode().lower()
    assert client.get("/items/1").status == 200


def _refuse(_: Admission) -> NoReturn:
    raise HttpProblem(503, "busy", "too many searches wait", "try again soon", {"Retry-After": "1"})


def test_words_stay_in_the_forms_of_a_page(client: Client) -> None:
    page = client.get("/search?item=1&text=tyrol+%3Cb%3E&in.category=fruit").body.decode()
    assert 'name="text" value="tyrol &lt;b&gt;"' in page
    around = page[page.index('class="link words') : page.index('id="text"')]
    assert '<input type="hidden" name="item" value="1">' in around
    assert '<input type="hidden" name="in.category" value="fruit">' in around
    filters = page[page.index('class="filters') :]
    assert '<input type="hidden" name="text" value="tyrol &lt;b&gt;">' in filters


def test_a_page_of_words_alone_has_what_looks_so(client: Client) -> None:
    page = client.get("/search?text=tyrol").body.decode()
    assert "What has these words" in page
    assert page.index('data-panel="best"') < page.index('data-panel="words"')
    assert 'data-panel="by.color"' in page
    assert client.get("/search?text=").status == 307  # to the first page
    assert "no item has the word" in client.get("/search?text=qwertz").body.decode()
    assert client.get("/search?text=%3F").status == 400


def test_a_page_that_finds_nothing_has_the_right_status(client: Client) -> None:
    assert client.get("/items/999").status == 404
    assert client.get("/search?item=999").status == 404
    assert client.get("/search?item=1&where=nothing").status == 400
    assert client.get("/search?item=1&region=0,0,1,1").status == 400
    assert client.get("/search?item=x").status == 400
    assert client.get("/browse?where=nothing").status == 200
    assert client.get("/search").headers["location"] == "/"
