"""Searching with words, with what they look like, and with examples: against plain NumPy."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

import pipeline
from pipeline.catalog.ingest import ingest
from pipeline.errors import NoLookError, PipelineError, QueryError
from pipeline.search.feedback import AWAY
from pipeline.search.query import Item, Text
from pipeline.search.result import SearchResult
from pipeline.search.searcher import Searcher
from pipeline.sources.base import SourceItem, SourcePhoto
from tests.conftest import ENGINE, Color, ListSource, Shop, png

GOODS: dict[str, tuple[str, str, Color]] = {  # key → name, category and color
    "r1": ("Red shirt", "tops", (200, 10, 10)),
    "r2": ("Red shirt", "tops", (210, 0, 0)),
    "r3": ("Red shirt of wool", "tops", (190, 0, 20)),
    "odd": ("Red shirt, blue in the photo", "tops", (0, 0, 250)),
    "silent": ("A garment", "tops", (201, 6, 9)),  # a red shirt whose text does not say so
    "leather": ("Leather bag", "bags", (120, 60, 20)),
    "dark": ("Dark leather bag", "bags", (60, 30, 10)),
    "cloth": ("Cloth bag", "bags", (121, 61, 21)),
    "tie": ("Leather tie", "ties", (0, 120, 0)),
}


@pytest.fixture
def searcher(shop: Shop) -> Iterator[Searcher]:
    offers = [
        SourceItem(key, name, category, (SourcePhoto(f"{key}.png", data=png(color)),))
        for key, (name, category, color) in GOODS.items()
    ]
    ingest(ListSource(offers), shop.catalog, shop.limits)
    shop.embed()
    shop.index()
    with pipeline.open(shop.config) as opened:
        yield opened


def texts(result: SearchResult) -> list[str]:
    return [hit.item.key for hit in result.text or ()]


def looks(result: SearchResult) -> list[str]:
    return [hit.item.key for hit in result[ENGINE].hits]


def nearest(vector: np.ndarray, keys: list[str]) -> list[str]:
    """The oracle: keys by the distance of their color, then in the order of ids."""
    return sorted(keys, key=lambda key: np.linalg.norm(np.array(GOODS[key][2]) - vector))


def test_words_find_items_by_their_text(searcher: Searcher) -> None:
    result = searcher.search(Text("red shirt"), k=6)
    assert texts(result) == ["r1", "r2", "r3", "odd"]
    assert (result.query, dict(result)) == ("text 'red shirt'", {})
    assert result.text is not None
    assert result.text[0].rank == 1
    assert result.to_dict()["text"][0]["item"]["key"] == "r1"
    assert "text" not in searcher.search(png((0, 0, 0))).to_dict()


def test_fewer_words_come_behind_all_and_conditions_hold(searcher: Searcher) -> None:
    leather = searcher.search(Text("leather bag"), k=4)
    assert texts(leather) == ["leather", "dark", "cloth", "tie"]  # the category says bag too
    assert texts(searcher.search(Text("leather bag"), k=4, where="category = 'ties'")) == ["tie"]
    grouped = searcher.search(Text("leather bag"), k=4, group_by="category")
    assert texts(grouped) == ["leather", "tie"]
    none = searcher.search(Text("silk"), k=4, where="category = 'silk'")
    assert texts(none) == []
    assert none.notes[0].startswith("no item has category = 'silk'")
    assert none.notes[1:] == ("no item has the word 'silk'",)


def test_the_look_of_words_is_a_trimmed_mean(searcher: Searcher) -> None:
    result = searcher.search(Text("red shirt"), k=5, look=True)
    kept = np.mean([GOODS[key][2] for key in ("r1", "r2", "r3")], axis=0)  # without the odd one
    assert looks(result) == nearest(kept, list(GOODS))[:5]
    assert looks(result)[0] == "silent"
    assert result[ENGINE].hits[0].distance == pytest.approx(
        np.linalg.norm(np.array(GOODS["silent"][2]) - kept), rel=1e-5
    )
    assert texts(result) == ["r1", "r2", "r3", "odd"]


def test_a_look_needs_items_that_have_the_words(searcher: Searcher) -> None:
    result = searcher.search(Text("silk"), look=True)
    assert (texts(result), dict(result)) == ([], {})
    with pytest.raises(NoLookError, match="no item that may be found has words of 'silk'"):
        searcher.engines[ENGINE].search(Text("silk"), look=True)
    with pytest.raises(NoLookError, match="--look"):
        searcher.engines[ENGINE].search(Text("red"))


def test_words_beside_a_photo_say_which_items_may_be_found(searcher: Searcher) -> None:
    photo, color = png((121, 61, 21)), np.array((121, 61, 21))
    assert looks(searcher.search(photo, k=1)) == ["cloth"]
    leather = ["leather", "dark", "tie"]
    assert looks(searcher.search(photo, k=3, text="leather")) == nearest(color, leather)
    both = searcher.search(photo, k=4, text="leather bag")
    assert looks(both) == [*nearest(color, ["leather", "dark"]), *nearest(color, ["tie", "cloth"])]
    grouped = searcher.search(photo, k=4, text="leather bag", group_by="category")
    assert looks(grouped) == ["leather", "tie"]
    assert looks(searcher.search(photo, k=3, text="leather", where="category = 'ties'")) == ["tie"]
    unknown = searcher.search(photo, k=3, text="leather silk")
    assert looks(unknown) == nearest(color, leather)
    assert unknown.notes == ("no item has the word 'silk'",)
    assert looks(searcher.search(photo, text="silk")) == []
    item = next(hit.item for hit in both[ENGINE].hits if hit.item.key == "dark")
    assert looks(searcher.search(Item(item.id), k=3, text="leather bag")) == [
        *("leather", "cloth", "tie")
    ]


def test_lists_of_words_are_fused_with_those_of_engines(searcher: Searcher) -> None:
    result = searcher.search(Text("red shirt"), k=3, look=True, fuse=True)
    assert result.fused is not None
    first = result.fused[0]
    assert first.item.key == "r1"
    assert first.ranks.keys() == {ENGINE, "text"}
    assert len(result.fused) == len(texts(result)) == len(looks(result)) == 3


def test_examples_move_a_query(shop: Shop, searcher: Searcher) -> None:
    ids = {key: shop.id_of(key) for key in GOODS}
    color = {key: np.array(GOODS[key][2], float) for key in GOODS}
    photo = np.array((130, 60, 20), float)
    rest = [key for key in GOODS if key not in ("tie", "dark")]
    liked = searcher.search(png((130, 60, 20)), k=20, like=[ids["tie"], Item(ids["dark"])])
    mean = (photo + color["tie"] + color["dark"]) / 3
    assert looks(liked) == nearest(mean, rest)
    moved = searcher.search(
        Item(ids["leather"]), k=20, like=[ids["tie"]], unlike=[ids["dark"], ids["r1"]]
    )
    middle = (color["leather"] + color["tie"]) / 2
    target = middle + AWAY * (middle - (color["dark"] + color["r1"]) / 2)
    others = [key for key in GOODS if key not in ("leather", "tie", "dark", "r1")]
    assert looks(moved) == nearest(target, others)
    assert moved[ENGINE].hits[0].distance == pytest.approx(
        np.linalg.norm(color[looks(moved)[0]] - target), rel=1e-5
    )
    by_words = searcher.search(Text("red shirt"), k=9, look=True, unlike=[ids["r3"]])
    assert "r3" not in looks(by_words)


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        (Text("!?"), {}, "there is no word in '!?'"),
        (Text("!?"), {"look": True}, "there is no word in '!?'"),
        (Item(1), {"text": " "}, "there is no word in ' '"),
        (Text("red"), {"region": (0, 0, 1, 0.5)}, "text 'red' is none"),
        (Text("red"), {"like": [2]}, "cannot search with words"),
        (Item(1), {"like": [99]}, "item 99 is not in the index"),
        (Item(1), {"like": [2], "unlike": [3, 2]}, "item 2 is an example of both"),
        (Item(1), {"like": ["x"]}, "an item's id is a whole number"),
    ],
)
def test_what_cannot_be_is_refused(
    searcher: Searcher, query: Item | Text, options: dict[str, object], message: str
) -> None:
    with pytest.raises(QueryError, match=re.escape(message)):
        searcher.search(query, **options)  # type: ignore[arg-type]


def test_queries_of_all_kinds_are_answered_in_a_batch(searcher: Searcher) -> None:
    queries = [Text("leather"), png((0, 120, 0)), Text("?"), Item(1), Text("wool")]
    leather, photo, none, item, wool = searcher.search_all(queries, k=2)
    assert isinstance(none, PipelineError)
    assert isinstance(leather, SearchResult)
    assert isinstance(wool, SearchResult)
    assert isinstance(photo, SearchResult)
    assert isinstance(item, SearchResult)
    assert (texts(leather), texts(wool)) == (["leather", "dark"], ["r3"])
    assert (looks(photo)[0], photo.text, len(looks(item))) == ("tie", None, 2)
