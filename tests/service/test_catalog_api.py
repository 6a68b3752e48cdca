"""The catalog without a photo: items, words, columns, pictures, and what machines ask."""

from __future__ import annotations

import hashlib
import io
import time
from urllib.parse import urlencode

import pytest
from PIL import Image

from pipeline.catalog.browse import columns, find_items
from pipeline.service.openapi import describe
from pipeline.service.schemas import CatalogBody, ItemDetail, ItemList, SearchBody
from tests.conftest import png
from tests.engines import Fair
from tests.service.conftest import THINGS, Client, running, with_settings


@pytest.mark.parametrize(
    ("words", "where", "keys"),
    [
        ("", None, list(THINGS)),
        ("PLUM", None, ["plum"]),
        ("fruit tyrol", None, ["apple"]),
        ("tyrol", "price > 5", ["shirt"]),
        ("20", None, ["shirt"]),
        ("origin", None, []),  # a column's name is no value
        ("", "category = 'clothing'", ["shirt", "sock", "tie"]),
    ],
)
def test_items_are_found_by_words_and_conditions(
    fair: Fair, client: Client, words: str, where: str | None, keys: list[str]
) -> None:
    ids = tuple(fair.id_of(key) for key in keys)
    assert find_items(fair.catalog, words, where).items == ids
    query = urlencode({"q": words} | ({"where": where} if where else {}))
    page = ItemList.model_validate(client.get(f"/api/items?{query}").json)
    assert [item.key for item in page.items] == keys


def test_items_come_in_pages(client: Client) -> None:
    pages = [client.get(f"/api/items?size=4&page={page}").json for page in (1, 2, 3)]
    assert [[item["key"] for item in page["items"]] for page in pages] == [
        list(THINGS)[:4],
        list(THINGS)[4:],
        [],
    ]
    assert {(page["total"], page["pages"]) for page in pages} == {(6, 2)}


def test_an_item_has_all_of_its_photos(fair: Fair, client: Client) -> None:
    detail = ItemDetail.model_validate(client.get(f"/api/items/{fair.id_of('apple')}").json)
    photos = [hashlib.sha256(png(color)).hexdigest() for color in THINGS["apple"].colors]
    assert [photo.sha256 for photo in detail.photos] == photos
    assert detail.item.metadata == {"price": 3, "origin": "Tyrol"}
    missing = client.get("/api/items/99")
    assert (missing.status, missing.json["code"]) == (404, "not_found")


def test_columns_have_kinds_and_commonest_values(fair: Fair, client: Client) -> None:
    found = {column.name: column for column in columns(fair.catalog)}
    assert found["category"].values == (("clothing", 3), ("fruit", 3))
    assert (found["price"].kind, found["price"].minimum, found["price"].maximum) == (
        "number",
        3,
        30,
    )
    assert (found["origin"].kind, found["origin"].items) == ("text", 3)
    catalog = CatalogBody.model_validate(client.get("/api/catalog").json)
    assert [column.name for column in catalog.columns] == list(found)
    assert [engine.name for engine in catalog.engines] == ["color", "mixed"]
    assert (catalog.items, catalog.photos) == (6, 7)


def test_photos_are_sent_in_sizes_and_need_not_be_sent_again(fair: Fair, client: Client) -> None:
    sha256 = hashlib.sha256(png((90, 20, 120))).hexdigest()
    answer = client.get(f"/photos/{sha256}?w=100")
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    with Image.open(io.BytesIO(answer.body)) as image:
        pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert max(abs(a - b) for a, b in zip(pixel, (90, 20, 120), strict=True)) < 4
    again = client.get(f"/photos/{sha256}?w=100", **{"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert client.get(f"/photos/{'0' * 64}").status == 404
    assert client.get("/photos/..%2f..%2fcatalog.sqlite").status == 404


def test_paths_of_photos_can_be_kept_to_oneself(fair: Fair) -> None:
    with running(with_settings(fair.config, show_paths=False)) as client:
        body = client.ask(item=1, fuse=True).body
    assert str(fair.config.folder).encode() not in body


def test_kept_photos_can_be_searched_with_again(fair: Fair) -> None:
    photos = [png((i, i, 0)) for i in range(4)]
    with running(with_settings(fair.config, keep_uploads=3)) as client:
        first = client.post("/api/search", photos[0]).json
        names = [first["upload"], *(client.post("/api/search", p).json["upload"] for p in photos)]
        assert names[0] == hashlib.sha256(photos[0]).hexdigest()
        again = client.get(f"/api/search?upload={names[-1]}").json
        assert again == client.post("/api/search", photos[-1]).json
        assert client.get(f"/api/search?upload={names[0]}").status == 404
        assert client.get(f"/uploads/{names[-1]}").headers["content-type"] == "image/jpeg"
        assert client.get("/uploads/..%2fcatalog.sqlite").status == 404
    assert len(list((fair.config.folder / "uploads").iterdir())) == 3
    with running(with_settings(fair.config)) as client:
        assert "upload" not in client.post("/api/search", photos[0]).json
        assert client.get(f"/api/search?upload={names[-1]}").status == 404


def test_the_report_is_sent_under_its_own_policy(fair: Fair, client: Client) -> None:
    assert client.get("/report").status == 404
    policy = "default-src 'none'; script-src 'sha256-abc='"
    page = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    (fair.config.folder / "report.html").write_text(page)
    answer = client.get("/report")
    assert answer.body == page.encode()
    assert answer.headers["content-security-policy"] == policy


def test_the_audit_is_made_when_it_is_asked_for(client: Client) -> None:
    deadline = time.monotonic() + 30
    while (answer := client.get("/audit")).status == 503 and time.monotonic() < deadline:
        assert answer.headers["retry-after"]
    assert b"<html" in answer.body
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_what_is_counted_can_be_read(fair: Fair) -> None:
    with running(with_settings(fair.config)) as client:
        client.get("/api/items/1")
        client.post("/api/search", png((1, 2, 3)))
        text = client.get("/metrics").body.decode()
    counted = 'imgsearch_requests_total{method="GET",route="/api/items/{id:item}",status="200"} 1.0'
    assert counted in text
    assert "imgsearch_batch_photos_count 1.0" in text


def test_the_description_names_every_address_and_model(client: Client) -> None:
    described = client.get("/openapi.json").json
    assert described == describe()
    assert "SearchRequest" in described["components"]["schemas"]
    SearchBody.model_validate(client.ask(item=1, fuse=True).json)
    assert client.get("/readyz").json["ready"] is True
