"""store/filters.py: conditions against the same in Python, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.conditions import Condition
from pipeline.errors import QueryError

ITEMS: list[dict[str, Any]] = [
    {"price": 100, "brand": "Titan", "rating": 4.5, "retail price": 7, 'odd "name"': "x"},
    {"price": 2000, "brand": "O'Neill", "rating": "No rating", "spec": {"Fabric": "Wool"}},
    {"price": 1999.5, "brand": None, "spec": {"Fabric": "Silk", "Ideal For": "Women"}},
    {"price": "n/a", "brand": "titan", "sku": 12345},
    {"brand": "50% off_", "in_stock": True, "prix é": 3},
    {},
]


def item(position: int) -> dict[str, Any]:
    """What the catalog holds of an item, its own columns included."""
    category = "Watches" if position % 2 else "Caps"
    return {"id": position + 1, "key": f"k{position}", "name": f"Item {position}"} | {
        "category": category,
        **ITEMS[position],
    }


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder: Path = tmp_path_factory.mktemp("filters")
    with Catalog(folder, create=True) as made:
        for position, metadata in enumerate(ITEMS):
            own = item(position)
            photo = ImageRecord("p", State.AVAILABLE, path="p", sha256=b"p")
            made.put(1, own["key"], own["name"], own["category"], metadata, [photo])
        lost = ImageRecord("p", State.FAILED, "gone")
        made.put(1, "lost", "Lost", "Watches", {"price": 1}, [lost])
        yield made


def matching_items(catalog: Catalog, where: str) -> npt.NDArray[np.int64]:
    """What holds among all items, which is what holds among any of them."""
    condition = Condition(catalog, where)
    for some in ([], [2], [1, 3, 4, 7], [5, 6]):
        among = condition.among(np.array(some, np.int64)).tolist()
        assert among == [item for item in condition.items.tolist() if item in some]
    return condition.items


def number(value: Any) -> bool:
    return isinstance(value, int | float)


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ("category = 'Watches'", lambda i: i["category"] == "Watches"),
        ("price < 2000", lambda i: number(i.get("price")) and i["price"] < 2000),
        ("price <= 2e3", lambda i: number(i.get("price")) and i["price"] <= 2000),
        ("price > 0", lambda i: number(i.get("price"))),
        ("price <> 100", lambda i: number(i.get("price")) and i["price"] != 100),
        ("price != -1.5", lambda i: number(i.get("price"))),
        ("rating >= 4", lambda i: i.get("rating") == 4.5),
        ("rating = 'No rating'", lambda i: i.get("rating") == "No rating"),
        ("brand = 'O''Neill'", lambda i: i.get("brand") == "O'Neill"),
        ("brand like 'tit%'", lambda i: str(i.get("brand")).lower() == "titan"),
        ("brand in ('Titan', 'O''Neill')", lambda i: i.get("brand") in ("Titan", "O'Neill")),
        ("brand not in ('Titan')", lambda i: i.get("brand") not in ("Titan", None)),
        ("brand is null", lambda i: i.get("brand") is None),
        ("brand is not null", lambda i: i.get("brand") is not None),
        (
            "price between 100 and 1999.5",
            lambda i: number(i.get("price")) and 100 <= i["price"] <= 1999.5,
        ),
        ('"retail price" = 7', lambda i: i.get("retail price") == 7),
        ('"odd ""name""" = \'x\'', lambda i: i.get('odd "name"') == "x"),
        ('"prix é" = 3', lambda i: i.get("prix é") == 3),
        ("spec.Fabric = 'Wool'", lambda i: i.get("spec", {}).get("Fabric") == "Wool"),
        ("spec.\"Ideal For\" = 'Women'", lambda i: "Ideal For" in i.get("spec", {})),
        ("sku = '12345'", lambda i: i.get("sku") == 12345),
        ("in_stock = true", lambda i: i.get("in_stock") is True),
        ("id in (1, 3)", lambda i: i["id"] in (1, 3)),
        ("key = 'k4' or name like '%2'", lambda i: i["id"] in (5, 3)),
        (
            "not (category = 'Caps' or price = 2000) and id > 0",
            # SQL's logic of three values: what an item lacks makes a condition neither
            lambda i: i["category"] != "Caps" and number(i.get("price")) and i["price"] != 2000,
        ),
    ],
)
def test_a_condition_selects_what_python_selects(
    catalog: Catalog, where: str, holds: Callable[[dict[str, Any]], bool]
) -> None:
    expected = [item(p)["id"] for p in range(len(ITEMS)) if holds(item(p))]
    assert matching_items(catalog, where).tolist() == expected


numbers = st.sampled_from([0, 1, 99, 100, 101, 1999.5, 2000, 2001, -3])
simple = st.one_of(
    st.tuples(
        st.sampled_from(["id", "price"]),
        st.sampled_from(["=", "<>", "<", "<=", ">", ">="]),
        numbers,
    ),
)
trees = st.recursive(
    simple, lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner), max_leaves=6
)


def written(tree: Any) -> str:
    if tree[0] in ("and", "or"):
        return f"({written(tree[1])} {tree[0]} {written(tree[2])})"
    return " ".join(map(str, tree))


def holds(tree: Any, of: dict[str, Any]) -> bool:
    if tree[0] in ("and", "or"):
        return (all if tree[0] == "and" else any)(holds(part, of) for part in tree[1:])
    name, operator, value = tree
    if not number(of.get(name)):
        return False
    return {
        "=": of[name] == value,
        "<>": of[name] != value,
        "<": of[name] < value,
        "<=": of[name] <= value,
        ">": of[name] > value,
        ">=": of[name] >= value,
    }[operator]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(trees)
def test_nested_conditions_select_what_python_selects(catalog: Catalog, tree: Any) -> None:
    expected = [item(p)["id"] for p in range(len(ITEMS)) if holds(tree, item(p))]
    assert matching_items(catalog, written(tree)).tolist() == expected


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("color = 'red'", "no item has a column 'color'"),
        ("prise < 5", "did you mean price?"),
        ("spec.Fabrik = 'Wool'", "no item has a column 'spec.Fabrik'"),
        ('brand = "Titan"', "write texts in single quotes"),
        ("price <", "is not a condition"),
        ("", "is not a condition"),
        ("price", "is not a condition"),
        ("1 = 1; drop table items", "is not a condition"),
        ("price = (select 1)", "is not a value"),
        ("id in (select id from items)", "is not a condition"),
        ("lower(brand) = 'titan'", "is not a column"),
        ("price like 5", "like needs a text"),
        ("random() > 0", "is not a column"),
        ("5 = price", "is not a value"),
        ("price + 1 = 2", "is not a column"),
        ("brand is true", "is not a condition"),
        ("case when 1 then 1 end = 1", "is not a column"),
    ],
)
def test_anything_else_is_refused_in_one_line(catalog: Catalog, where: str, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        matching_items(catalog, where)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", [200, 100_000])
def test_deeply_nested_conditions_are_refused_or_answered(catalog: Catalog, depth: int) -> None:
    with pytest.raises(QueryError):
        matching_items(catalog, "(" * depth + "color = 1" + ")" * depth)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(alphabet="abi=<>'\"();-*/.,_ 01\\%\0é", max_size=30))
def test_any_text_gives_an_answer_or_a_one_line_error(catalog: Catalog, where: str) -> None:
    try:
        matching_items(catalog, where)
    except QueryError as error:
        assert "\n" not in str(error)  # noqa: PT017
    assert catalog.counts() == {"available": {"": 6}, "failed": {"gone": 1}}
