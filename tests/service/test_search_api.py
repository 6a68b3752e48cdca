"""What is asked over HTTP is answered as `pipeline.open(...).search` answers it, field by field."""

from __future__ import annotations

import itertools
import random
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

import pipeline
from pipeline.errors import PipelineError
from tests.conftest import png
from tests.engines import Fair
from tests.service.conftest import Client

OPTIONS = [
    {},
    {"k": 1},
    {"k": 50, "fuse": True},
    {"where": "category = 'fruit' and price < 5"},
    {"group_by": "category"},
    {"min_distance": 5.0, "max_distance": 200.0},
    {"engines": ["mixed"], "k": 2},
    {"text": "tyrol fruit", "k": 4},
    {"like": [2], "unlike": [3, 4], "k": 6},
]
REGIONS = [{"region": (0.25, 0, 0.5, 1)}, {"region": "auto", "k": 2}]


def in_process(fair: Fair, query: Any, options: dict[str, Any]) -> dict[str, Any]:
    options = dict(options)
    with pipeline.open(fair.config, options.pop("engines", ())) as searcher:
        return searcher.search(query, **options).to_dict()


def address(options: dict[str, Any]) -> str:
    return f"/api/search?{urlencode(texts(options))}"


def texts(options: dict[str, Any]) -> dict[str, str]:
    return {
        name: ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for name, value in options.items()
    }


@pytest.mark.parametrize("options", OPTIONS + REGIONS)
def test_a_photo_is_answered_as_in_process(
    fair: Fair, client: Client, options: dict[str, Any]
) -> None:
    rng = random.Random(7)
    for _ in range(4):
        photo = png((rng.randrange(256), rng.randrange(256), rng.randrange(256)))
        expected = in_process(fair, photo, options)
        raw = client.post(address(options), photo)
        form = client.send_form("/api/search", texts(options), photo)
        for answer in (raw, form):
            assert answer.status == 200, answer.body
            assert answer.json == expected
            assert answer.headers["publication"] == str(expected["publication"])


def test_items_and_vectors_are_answered_as_in_process(fair: Fair, client: Client) -> None:
    for item, options in itertools.product(range(1, 7), OPTIONS):
        content = client.ask(item=item, **options).json
        assert content == in_process(fair, pipeline.Item(item), options)
    content = client.ask(vector=[1.0, 2.0, 3.0], engines=["color"]).json
    vector = np.float32([1, 2, 3])
    assert content == in_process(fair, vector, {"engines": ["color"]})


@pytest.mark.parametrize("options", [{}, {"look": True, "fuse": True}, {"group_by": "category"}])
def test_words_are_answered_as_in_process(
    fair: Fair, client: Client, options: dict[str, Any]
) -> None:
    expected = in_process(fair, pipeline.Text("tyrol"), options)
    assert len(expected["text"]) > 0
    assert client.ask(text="tyrol", **options).json == expected
    assert client.get(address({"text": "tyrol", **options})).json == expected


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"item": 99}, 400),
        ({"text": "?!"}, 400),
        ({"text": " "}, 400),
        ({"item": 1, "text": "red", "look": True}, 400),
        ({"item": 1, "like": [99]}, 400),
        ({"text": "apple", "like": [1]}, 400),
        ({"item": 1, "where": "colour = 1"}, 400),
        ({"item": 1, "engines": ["none"]}, 400),
        ({"item": 1, "k": 0}, 400),
        ({"item": 1, "k": 100_000}, 400),
        ({"item": 1, "k": "3"}, 400),
        ({"item": 1, "K": 3}, 400),
        ({"item": 1, "vector": [1.0]}, 400),
        ({}, 400),
        ({"vector": [1.0, 2.0]}, 400),
    ],
)
def test_what_cannot_be_answered_is_told(
    client: Client, content: dict[str, Any], status: int
) -> None:
    answer = client.ask(**content)
    assert answer.status == status
    assert set(answer.json) == {"code", "message", "hint"}
    assert answer.json["message"]


def test_errors_are_those_of_the_pipeline(fair: Fair, client: Client) -> None:
    with pytest.raises(PipelineError) as raised:
        in_process(fair, pipeline.Item(99), {})
    told = client.ask(item=99).json
    assert told == {
        "code": raised.value.code,
        "message": raised.value.message,
        "hint": raised.value.hint,
    }


def test_no_photo_is_refused_with_its_reason(client: Client) -> None:
    assert client.post("/api/search", b"no photo").status == 415
    assert client.post("/api/search", png((1, 2, 3))[:60]).status == 422
    assert client.post("/api/search", b"").status == 400


def test_similar_is_a_search_by_item(client: Client) -> None:
    assert client.get("/api/items/1/similar?k=2").json == client.ask(item=1, k=2).json
    assert client.get("/api/items/99/similar").status == 404


def test_get_searches_by_what_an_address_can_say(client: Client) -> None:
    assert client.get("/api/search?item=1&k=2&engines=color,mixed").json == (
        client.ask(item=1, k=2, engines=["color", "mixed"]).json
    )
