"""Conditions against an evaluator of their own in Python, and what is refused."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalog import condition_parser
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.columns import Groups
from pipeline.catalog.conditions import Condition
from pipeline.catalog.labels import values_of
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
            made.put(own["key"], own["name"], own["category"], metadata, [photo])
        lost = ImageRecord("p", State.FAILED, "gone")
        made.put("lost", "Lost", "Watches", {"price": 1}, [lost])
        yield made


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
    assert Condition(catalog, where).items.tolist() == expected


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
    assert Condition(catalog, written(tree)).items.tolist() == expected


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("color = 'red'", "no item has a column 'color'"),
        ("prise < 5", "did you mean price?"),
        ("spec.Fabrik = 'Wool'", "no item has a column 'spec.Fabrik'"),
        ('brand = "Titan"', "write texts in single quotes"),
        ("price <", "is not a condition"),
        ("", "is not a condition"),
        ("brand = '\udcff'", "is not a text"),
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
        _ = Condition(catalog, where).items
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", [200, 10_000])
@pytest.mark.parametrize(
    ("before", "after"), [("(", ")"), ("not ", ""), ("not (", ")"), ("id = 1 or (id = 2 and ", ")")]
)
def test_deeply_nested_conditions_are_refused_in_one_line(
    catalog: Catalog, depth: int, before: str, after: str
) -> None:
    with pytest.raises(QueryError, match=r"is nested too deeply; |is not a condition; ") as caught:
        Condition(catalog, before * depth + "id = 1" + after * depth)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "written",
    [
        lambda depth: "(" * depth + "id = 1" + ")" * depth,
        lambda depth: "not " * 2 * depth + "id = 1",
        lambda depth: "id = 1 or (id = 0 and " * depth + "id = 2" + ")" * depth,
        lambda depth: "id = 1 and not (id = 0 and " * depth + "id = 2" + ")" * depth,
    ],
)
def test_conditions_of_any_depth_are_answered_or_refused_in_one_line(
    catalog: Catalog, written: Callable[[int], str]
) -> None:
    answers = []
    for depth in (*range(1, 60, 2), 1_000):
        try:
            answers.append(Condition(catalog, written(depth)).items.tolist())
        except QueryError as error:
            assert len(str(error)) < 400  # noqa: PT017
    assert answers
    assert answers == [[1]] * len(answers)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(alphabet="abi=<>'\"();-*/.,_ 01\\%\0é", max_size=30))
def test_any_text_gives_an_answer_or_a_one_line_error(catalog: Catalog, where: str) -> None:
    try:
        _ = Condition(catalog, where).items
    except QueryError as error:
        assert "\n" not in str(error)  # noqa: PT017
    assert catalog.counts() == {"available": {"": 6}, "failed": {"gone": 1}}


# -- Random conditions against an evaluator of their own -------------------------------------------

CELLS: list[Any] = [
    *(None, 0, 1, 3, 40, 40.0, 40.5, -3, "40", " 40 ", "40.0", "042", "1e3", 1000, ".5", 0.5),
    *("2.", "+3"),
    *("", "x", " x", "X", "p", "pq", "Pq", "a_b", "axb", "50%", "50", "₹999", "1,299", "é", "n/a"),
    *(True, False, 12345678901234567, 12345678901234568, 12345678901234569, 9007199254740993),
    *("1234567890123456789", "true"),
]  # fmt: skip
LITERALS: list[Any] = [
    *(0, 1, 40, 40.5, -3, 1000, 0.5, 12345678901234568, 12345678901234569, 9007199254740992),
    *("40", "42", "042", "x", "X", "p", "", "1e3", "₹999", "n/a", "12345678901234569", True, False),
]
PATTERNS = ["p%", "%", "_", "a_b", "a!_b", "50!%", "4%", "%x", "é", "40", "!!"]


def meaning(value: Any) -> tuple[str, Any]:
    """What a value is: ("number", exact) or ("text", without blanks around it)."""
    if isinstance(value, bool | int | float):
        return "number", Fraction(value)
    text = value.strip()
    if re.fullmatch(r"[-+]?(0|[1-9]\d*)?(\.\d*)?([eE][-+]?\d+)?", text) and re.search(r"\d", text):
        if len(re.sub(r"\D", "", text)) > 18 and re.fullmatch(r"[-+]?\d+", text):
            return "text", text
        return "number", Fraction(text if re.fullmatch(r"[-+]?\d+", text) else float(text))
    return "text", text


def comparison(cell: Any, operator: str, literal: Any) -> bool | None:
    """Three-valued: None where it can be neither true nor false."""
    if cell is None:
        return None
    (kind, value), (other_kind, other) = meaning(cell), meaning(literal)
    if kind != other_kind:
        if not isinstance(literal, str) or operator not in ("=", "<>"):
            return None
        return operator == "<>"
    return {
        "=": value == other,
        "<>": value != other,
        "<": value < other,
        "<=": value <= other,
        ">": value > other,
        ">=": value >= other,
    }[operator]


def like(cell: Any, pattern: str, escape: str | None) -> bool | None:
    if cell is None:
        return None
    kind, value = meaning(cell)
    if kind == "number":
        exact = value.denominator == 1
        value = str(int(value) if exact else float(value))
    regex, characters = "", iter(pattern)
    for char in characters:
        if escape and char == escape:
            regex += re.escape(next(characters, ""))
        else:
            regex += {"%": ".*", "_": "."}.get(char, re.escape(char))
    return re.fullmatch(regex, value, re.IGNORECASE | re.ASCII | re.DOTALL) is not None


def negation(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def conjunction(truths: list[bool | None]) -> bool | None:
    return False if False in truths else None if None in truths else True


def disjunction(truths: list[bool | None]) -> bool | None:
    return negation(conjunction([negation(truth) for truth in truths]))


def quoted(literal: Any) -> str:
    if isinstance(literal, bool):
        return str(literal).lower()
    return "'" + literal.replace("'", "''") + "'" if isinstance(literal, str) else repr(literal)


Random = tuple[str, Callable[[Any, Any], bool | None]]
"""A condition on the columns a and b, and what it is for their values."""


def random_condition(rng: random.Random, depth: int) -> Random:
    if depth and rng.random() < 0.6:
        kind = rng.choice(["and", "or", "not"])
        if kind == "not":
            text, truth = random_condition(rng, depth - 1)
            return f"not ({text})", lambda a, b: negation(truth(a, b))
        parts = [random_condition(rng, depth - 1) for _ in range(rng.choice([2, 2, 3]))]
        join = conjunction if kind == "and" else disjunction
        text = f" {kind} ".join(f"({part})" for part, _ in parts)
        return text, lambda a, b: join([of(a, b) for _, of in parts])
    name = rng.choice("ab")

    def of(truth: Callable[[Any], bool | None]) -> Callable[[Any, Any], bool | None]:
        return lambda a, b: truth(a if name == "a" else b)

    negated = rng.random() < 0.5
    no = "not " if negated else ""
    turn = negation if negated else (lambda truth: truth)
    match rng.choice(["compare", "compare", "in", "between", "like", "null"]):
        case "compare":
            operator, literal = rng.choice(["=", "<>", "<", "<=", ">", ">="]), rng.choice(LITERALS)
            return f"{name} {operator} {quoted(literal)}", of(
                lambda cell: comparison(cell, operator, literal)
            )
        case "in":
            members = rng.sample(LITERALS, rng.randint(1, 4))
            text = f"{name} {no}in ({', '.join(map(quoted, members))})"
            return text, of(
                lambda cell: turn(disjunction([comparison(cell, "=", m) for m in members]))
            )
        case "between":
            low, high = rng.choice(LITERALS), rng.choice(LITERALS)
            text = f"{name} {no}between {quoted(low)} and {quoted(high)}"
            return text, of(
                lambda cell: turn(
                    conjunction([comparison(cell, ">=", low), comparison(cell, "<=", high)])
                )
            )
        case "like":
            pattern, escape = rng.choice(PATTERNS), rng.choice([None, "!"])
            text = f"{name} {no}like {quoted(pattern)}" + (f" escape '{escape}'" if escape else "")
            return text, of(lambda cell: turn(like(cell, pattern, escape)))
    return f"{name} is {no}null", of(lambda cell: turn(cell is None))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Catalog, list[Any]]]:
    """A catalog whose items have values of all kinds in two columns."""
    rng = random.Random(0)
    cells = [(a, rng.choice(CELLS)) for a in CELLS for _ in range(3)]
    photo = ImageRecord("p", State.AVAILABLE, path="p", sha256=b"p")
    with Catalog(tmp_path_factory.mktemp("mixed"), create=True) as made, made.transaction():
        for number, (a, b) in enumerate(cells):
            values = {key: value for key, value in (("a", a), ("b", b)) if value is not None}
            made.put(f"{number}", "", "", values, [photo])
        yield made, cells


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(25))
def test_random_conditions_select_what_their_own_evaluator_selects(
    mixed: tuple[Catalog, list[Any]], seed: int, soak: bool
) -> None:
    catalog, cells = mixed
    rng = random.Random(seed)
    for _ in range(100 if soak else 30):
        where, truth = random_condition(rng, 3)
        expected = [n for n, (a, b) in enumerate(cells, 1) if truth(a, b) is True]
        assert Condition(catalog, where).items.tolist() == expected, where


@pytest.mark.parametrize(
    "where",
    [
        "a between symmetric 1 and 2",
        "a = 1 collate nocase",
        "a like 'x' escape 'ab'",
        "a in (null)",
        "a = null",
        "a glob 'x'",
    ],
)
def test_an_attribute_that_is_not_known_is_refused(
    mixed: tuple[Catalog, list[Any]], where: str
) -> None:
    with pytest.raises(QueryError, match=r"is not a|needs a"):
        Condition(mixed[0], where)


@pytest.mark.parametrize("count", [1_000, 20_000])
def test_long_lists_and_chains_are_answered(mixed: tuple[Catalog, list[Any]], count: int) -> None:
    catalog, cells = mixed
    members = ", ".join(map(str, range(count)))
    inside = [n for n, (a, _) in enumerate(cells, 1) if comparison(a, "=", 40) or a in (0, 1, 3)]
    assert set(inside) <= set(Condition(catalog, f"a in ({members})").items.tolist())
    chain = " or ".join(f"a = {number}" for number in range(1_000))
    assert Condition(catalog, chain).items.tolist() == [
        n for n, (a, _) in enumerate(cells, 1)
        if a is not None and meaning(a)[0] == "number" and meaning(a)[1] in range(1_000)
    ]  # fmt: skip


def test_conditions_groups_and_labels_agree_on_what_is_equal(
    mixed: tuple[Catalog, list[Any]],
) -> None:
    catalog, cells = mixed
    items = range(1, len(cells) + 1)
    groups = dict(zip(items, Groups(catalog, "a")(items), strict=True))
    labels = values_of(catalog, "a")
    for item, (cell, _) in enumerate(cells, 1):
        equal = {other for other in items if groups[other] == groups[item]}
        if cell is None:
            assert equal == {item}
            assert item not in labels
            continue
        assert equal == set(Condition(catalog, f"a = {quoted(cell)}").items.tolist()), cell
        if cell != "":
            assert equal == {o for o, label in labels.items() if label == labels[item]}, cell


def test_an_item_without_a_category_has_none_as_with_any_other_column(tmp_path: Path) -> None:
    categories = ["Caps", "", "", "Caps", "Pens"]
    with Catalog(tmp_path, create=True) as catalog:
        for key, category in enumerate(categories):
            photo = ImageRecord("p", State.AVAILABLE, path="p", sha256=b"p")
            catalog.put(f"k{key}", "Item", category, {"category": category or None}, [photo])
        others = Condition(catalog, "category <> 'Caps'")
        assert others.items.tolist() == [5]
        assert [note.partition(":")[0] for note in others.notes] == [
            "category is missing in 2 of 5 items"
        ]
        assert Condition(catalog, "category is null").items.tolist() == [2, 3]
        groups = Groups(catalog, "category")(range(1, 6))
        assert groups == [*groups[:1], ("item", 2), ("item", 3), *groups[:1], ("value", "Pens")]
        with pytest.raises(QueryError, match=r"there are id, key, name, category$"):
            Condition(catalog, "brand = 1")


@pytest.mark.parametrize("word", ["and", "or"])
def test_chains_that_are_too_long_are_refused_in_one_line(
    mixed: tuple[Catalog, list[Any]], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condition_parser, "MAX_CONDITIONS", 50)
    Condition(mixed[0], f" {word} ".join(["a = 1"] * 50))
    with pytest.raises(QueryError, match=r"^a condition joins at most 50 others; list values as"):
        Condition(mixed[0], f" {word} ".join(["a = 1"] * 51))


def missing(name: str, items: int) -> str:
    return (
        f"{name} is missing in {items} of 6 items: they meet neither a condition on it nor its"
        " opposite"
    )


def test_what_cannot_be_judged_is_counted(catalog: Catalog) -> None:
    without = {name: sum(one.get(name) is None for one in ITEMS) for name in ("price", "brand")}
    assert Condition(catalog, "price < 2000 and brand = 'Titan'").notes == [
        "price is a text in 1 of the 4 items that have it (such as 'n/a'): they meet no comparison"
        " with a number",
        missing("price", without["price"]),
        missing("brand", without["brand"]),
    ]
    assert Condition(catalog, "price < '2000'").notes == Condition(catalog, "price < 1").notes[1:]
    assert Condition(catalog, "key = 'k4' and id < 5 and brand is null").notes == []


@pytest.mark.parametrize(
    ("where", "suggestions"),
    [
        ("category = 'watch'", ["no item has category = 'watch'; category has Watches"]),
        ("category in ('Caps', 'Watch')", ["no item has category = 'Watch'; category has Watches"]),
        ("category = 'Caps' and price > 1", []),
        ("brand like 'titn%'", ["no item has brand LIKE 'titn%'; brand has Titan"]),
        ("id = 99", ["no item has id = 99; id has 4, 5, 6"]),
        ("id > 12345678901234567", ["no item has id > 12345678901234567; id has 4, 5, 6"]),
        ("id between 8 and 9", ["no item has id BETWEEN 8 AND 9; id has 4, 5, 6"]),
        ("not id = 99 and id < 0", ["no item has id < 0; id has 1, 2, 3"]),
        ("id = 1 and id = 2", ["no item meets the whole condition"]),
        ("not (id < 100)", ["no item meets the whole condition"]),
    ],
)
def test_what_no_item_has_is_said_with_the_nearest_values(
    catalog: Catalog, where: str, suggestions: list[str]
) -> None:
    assert Condition(catalog, where).suggestions == suggestions


def test_the_number_next_to_a_number_is_found_among_texts(mixed: tuple[Catalog, list[Any]]) -> None:
    catalog, _ = mixed
    assert Condition(catalog, "a = 41").suggestions == ["no item has a = 41; a has 40, 40.5, 50"]
    assert Condition(catalog, "a = 12345678901234570").suggestions == [
        "no item has a = 12345678901234570; a has 12345678901234567, 12345678901234568,"
        " 12345678901234569"
    ]
    assert Condition(catalog, "a = '₹990'").suggestions == [
        "no item has a = '₹990'; a has ₹999, 1,299, 0"
    ]
    assert len(Condition(catalog, "a = '₹990' or a = 77 or a = 78 or a = 79").suggestions) == 3
