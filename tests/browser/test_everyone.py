"""For everyone: keyboard, screen reader, no scripts; names of every kind; faults of the network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import (
    DESK,
    HOSTILE,
    PHONE,
    Site,
    Visitor,
    give,
    names,
    overflow,
    photo,
    settled,
)


def _shown(path: str) -> Callable[[Page], None]:
    return lambda page: page.goto(path) and None


def _chosen(page: Page) -> None:
    page.goto("/")
    give(page, photo((240, 60, 20), (20, 240, 60)))


def _unlike_any(page: Page) -> None:
    page.goto("/")
    give(page, photo((0, 0, 0)))


def _no_photo(page: Page) -> None:
    page.goto("/")
    give(page, b"this is no photo")


def _waiting(page: Page) -> None:
    page.goto("/")
    slow = {"offline": False, "latency": 60_000, "downloadThroughput": -1, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    file = {"name": "a.png", "mimeType": "image/png", "buffer": photo((240, 60, 20))}
    page.set_input_files("label.primary input", file)
    page.wait_for_selector(".waiting")


STATES: dict[str, Callable[[Page], None]] = {
    "home": _shown("/"),
    "answer": _chosen,
    "item as query": _shown("/search?item=3"),
    "best of both": _shown("/search?item=3&view=best"),
    "part": _shown("/search?item=31&in.category=Bags&min.price=12"),
    "wrong condition": _shown("/search?item=31&where=prise+%3C+3"),
    "nothing meets it": _shown("/search?item=31&where=price+%3C+3"),
    "no match": _unlike_any,
    "no photo": _no_photo,
    "item": _shown("/items/8?rank.color=1&rank.mixed=12"),
    "no item": _shown("/items/99999"),
    "browse": _shown("/browse"),
    "words": _shown("/browse?q=control"),
    "waiting": _waiting,  # last, as the network stays slow
}


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "light"), (DESK, "dark")])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(
    visit: Visitor, size: dict[str, int], scheme: str
) -> None:
    page = visit("/", size, color_scheme=scheme, reduced_motion="reduce")
    faults = {}
    for state, reach in STATES.items():
        reach(page)
        found = Axe().run(page).response["violations"]
        faults[state] = [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found]
        faults[state] += [("overflow", overflow(page))] if overflow(page) > 0 else []
    assert faults == {state: [] for state in STATES}


def test_names_are_text_and_nothing_else(visit: Visitor) -> None:
    page = visit("/", PHONE)
    for item, name in enumerate(HOSTILE, 1):
        _check_name(page, item, name)


def _check_name(page: Page, item: int, name: str) -> None:
    page.goto(f"/items/{item}")
    assert page.locator("h1").text_content() == name
    assert overflow(page) <= 0
    assert (
        page.locator("main script, main svg[onload], main img:not([src^='/photos/'])").count() == 0
    )
    page.goto(f"/search?item={item}")
    caption = page.locator("figcaption a")
    assert caption.text_content() == name
    box, room = caption.bounding_box(), page.locator(".query").bounding_box()
    assert box is not None
    assert room is not None
    assert box["x"] >= room["x"]
    assert box["x"] + box["width"] <= room["x"] + room["width"] + 1
    assert overflow(page) <= 0


def test_a_name_turns_no_other_text_around(visit: Visitor) -> None:
    page = visit("/items/7?rank.color=1")  # its name has overrides that do not end
    directions = "e => getComputedStyle(e).unicodeBidi"
    assert page.locator("h1").evaluate(directions) == "plaintext"
    word = page.locator("dt", has_text="price")
    range_of_word = """e => {
        const range = document.createRange(), xs = [];
        for (let i = 0; i < 5; i += 1) {
            range.setStart(e.firstChild, i); range.setEnd(e.firstChild, i + 1);
            xs.push(range.getBoundingClientRect().x);
        }
        return xs;
    }"""
    places = word.evaluate(range_of_word)
    assert places == sorted(places)


def test_without_scripts_a_photo_is_answered(site: Site, visit_plain: Visitor) -> None:
    page = visit_plain("/", PHONE)
    color = site.colors["Thing 30"]
    file = {"name": "a.png", "mimeType": "image/png", "buffer": photo(color)}
    page.get_by_label("Choose a photo").set_input_files(file)
    page.locator(".ask").get_by_role("button", name="Search").click()
    assert names(page)[:3] == site.nearest(color)[:3]
    assert names(page, "by.mixed")[:3] == site.nearest(color, "mixed")[:3]
    expect(page.locator(".query img")).to_be_visible()
    page.locator("[data-panel='by.color'] .card").nth(1).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(site.nearest(color)[1])
    page.get_by_role("link", name="Similar to this").click()
    page.get_by_text("Filters").click()
    page.get_by_role("checkbox", name="Bags").check()
    page.get_by_role("button", name="Apply").click()
    assert "in.category=Bags" in page.url
    assert names(page)
    page.get_by_role("searchbox").fill("key-45")
    page.get_by_role("searchbox").press("Enter")
    assert page.locator(".grid .name").all_text_contents() == ["Thing 45"]


@pytest.fixture
def visit_plain(visit: Visitor) -> Visitor:
    return lambda path, size: visit(path, size, java_script_enabled=False)


def test_what_is_no_photo_is_told(visit: Visitor) -> None:
    page = visit("/", PHONE)
    give(page, b"this is no photo")
    expect(page.get_by_role("alert")).to_contain_text("Not an acceptable photo")


def test_a_busy_service_is_asked_again(site: Site, visit: Visitor) -> None:
    page = visit("/")
    asked: list[Route] = []

    def answer(route: Route) -> None:
        asked.append(route)
        if len(asked) > 1:
            route.continue_()
            return
        route.fulfill(status=503, headers={"Retry-After": "1"}, json={"message": "busy"})

    page.route("**/search*", answer)
    color = site.colors["Thing 30"]
    give(page, photo(color))
    assert names(page)[0] == "Thing 30"
    assert len(asked) == 2


def test_a_service_that_stays_busy_says_so(visit: Visitor) -> None:
    page = visit("/")
    refusal = {"code": "busy", "message": "too many searches wait", "hint": "try again soon"}
    page.route(
        "**/search*",
        lambda route: route.fulfill(status=503, headers={"Retry-After": "0.01"}, json=refusal),
    )
    file = {"name": "a.png", "mimeType": "image/png", "buffer": photo((240, 60, 20))}
    page.set_input_files("label.primary input", file)
    expect(page.get_by_text("too many searches wait; try again soon")).to_be_visible()
    page.unroute("**/search*")
    page.get_by_role("button", name="Try again").click()
    settled(page)
    page.wait_for_selector("[data-panel='by.color'] .name")


def test_a_lost_connection_can_be_tried_again(site: Site, visit: Visitor) -> None:
    page = visit("/")
    page.context.set_offline(True)
    color = site.colors["Thing 30"]
    file = {"name": "a.png", "mimeType": "image/png", "buffer": photo(color)}
    page.set_input_files("label.primary input", file)
    expect(page.get_by_text("cannot be reached")).to_be_visible()
    expect(page.locator(".query img")).to_be_visible()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("[data-panel='by.color'] .name")
    assert names(page)[0] == "Thing 30"


def test_everything_is_reached_with_the_keyboard(visit: Visitor) -> None:
    page = visit("/search?item=31")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(e => e.className || e.name || e.textContent.trim())(document.activeElement)"
            )
        )
        outline = page.evaluate("e => getComputedStyle(document.activeElement).outlineStyle", None)
        assert outline != "none"
    assert {"skip", "crop", "q", "card", "Best of both", "in.category"} <= reached


def test_targets_are_large_enough(visit: Visitor) -> None:
    page = visit("/search?item=31", PHONE)
    page.get_by_text("Filters").click()
    small = page.evaluate(
        """[...document.querySelectorAll('main :is(button, a, input, select, summary)')]
        .filter(e => e.offsetParent && e.type !== 'hidden')
        .map(e => [e.closest('label') ?? e, e])
        .filter(([target]) => target.getBoundingClientRect().height < 24)
        .map(([, e]) => e.outerHTML.slice(0, 80))"""
    )
    assert small == []
