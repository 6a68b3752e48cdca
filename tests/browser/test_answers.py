"""What is done with an answer: views, filters, more of it, an item's page, and the way back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import (
    CATEGORIES,
    DESK,
    PHONE,
    Site,
    Visitor,
    give,
    names,
    photo,
    settled,
)

ITEM = 31  # the id of `Thing 30`


def neighbors(site: Site, engine: str = "color") -> list[str]:
    """What looks like the item, by an engine."""
    return site.nearest(site.colors["Thing 30"], engine)[1:]


def hits_shown(page: Page) -> list[str]:
    """The names of all hits that can be seen."""
    return [name.inner_text() for name in page.locator(".panel .name:visible").all()]


def test_engines_are_side_by_side_on_a_desk(site: Site, visit: Visitor) -> None:
    page = visit(f"/search?item={ITEM}")
    left, right = (
        page.locator(f"[data-panel='by.{name}']").bounding_box() for name in ("color", "mixed")
    )
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert names(page)[:5] == neighbors(site)[:5]
    assert names(page, "by.mixed")[:5] == neighbors(site, "mixed")[:5]
    page.get_by_role("button", name="Best of both").click()
    expect(page.locator("[data-panel='best']")).to_be_visible()
    expect(page.locator("[data-panel='by.color']")).to_be_hidden()
    page.reload()
    expect(page.locator("[data-panel='best']")).to_be_visible()


def test_engines_are_tabs_on_a_phone(site: Site, visit: Visitor) -> None:
    page = visit(f"/search?item={ITEM}", PHONE)
    assert hits_shown(page)[:3] == neighbors(site)[:3]
    page.get_by_role("button", name="mixed").click()
    assert hits_shown(page)[:3] == neighbors(site, "mixed")[:3]
    expect(page.get_by_role("button", name="mixed")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Best of both").click()
    assert hits_shown(page) == names(page, "best")
    expect(page.locator("[data-panel='best'] .card").first).to_contain_text("by color")


def test_a_chosen_view_stays_when_filters_change(visit: Visitor) -> None:
    page = visit(f"/search?item={ITEM}")
    page.get_by_role("button", name="Best of both").click()
    page.get_by_role("checkbox", name="Shirts").check()
    page.wait_for_url("**in.category=Shirts*")
    settled(page)
    expect(page.locator("[data-panel='best']")).to_be_visible()


def test_distances_are_told_in_words(visit: Visitor) -> None:
    page = visit(f"/search?item={ITEM}")
    first = page.locator("[data-panel='by.color'] .card").first
    expect(first).to_contain_text(
        re.compile(
            r"(Nearer|Farther) than (\d+\s% of neighbors|any neighbor) usually .*, distance \d"
        )
    )


def test_more_hits_come_on_demand_and_are_the_right_ones(site: Site, visit: Visitor) -> None:
    page = visit(f"/search?item={ITEM}")
    assert names(page) == neighbors(site)[:24]
    for shown in (48, 59):
        last = len(names(page))
        page.get_by_role("link", name="Show 24 more").click()
        expect(page.locator("[data-panel='by.color'] .card")).to_have_count(shown)
        assert names(page) == neighbors(site)[:shown]
        expect(page.locator("[data-panel='by.color'] .card").nth(last)).to_be_focused()
    expect(page.get_by_role("link", name="Show 24 more")).to_have_count(0)


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_no_good_match_is_said_and_the_nearest_are_dimmed(
    site: Site, visit: Visitor, size: dict[str, int]
) -> None:
    page = visit("/", size)
    give(page, photo((0, 0, 0)))
    expect(page.locator("[data-panel='by.color'] h3")).to_have_text("No good match")
    expect(page.get_by_role("status")).to_have_text("No good match")
    assert names(page)[:3] == site.nearest((0, 0, 0))[:3]
    picture = page.locator("[data-panel='by.color'] .tile img").first
    assert float(picture.evaluate("e => getComputedStyle(e).opacity")) < 0.6


def of_category(site: Site, *categories: str) -> list[str]:
    places = [CATEGORIES[i % 3] for i in range(len(site.colors))]
    allowed = {
        name
        for i, (name, place) in enumerate(zip(site.colors, places, strict=True))
        if place in categories and i not in (0, 5, 7)
    }
    return [name for name in neighbors(site) if name in allowed]


def test_filters_of_every_kind(site: Site, visit: Visitor) -> None:
    page = visit(f"/search?item={ITEM}")
    page.get_by_role("checkbox", name="Bags").check()
    page.wait_for_url("**in.category=Bags*")
    settled(page)
    assert names(page) == of_category(site, "Bags")[:24]
    expect(page.get_by_role("checkbox", name="Bags")).to_be_focused()
    page.get_by_role("checkbox", name="Shirts").check()
    page.wait_for_url("**in.category=Shirts*")
    settled(page)
    assert names(page) == of_category(site, "Bags", "Shirts")[:24]
    page.get_by_label("price, to").fill("45")
    page.get_by_label("price, to").press("Tab")
    page.wait_for_url("**max.price=45*")
    settled(page)
    cheap = list(site.colors)[:36]
    assert names(page) == [n for n in of_category(site, "Bags", "Shirts") if n in cheap][:24]
    page.get_by_label("Condition").fill("price > 40")
    page.get_by_label("Condition").press("Enter")
    page.wait_for_url("**where=*")
    settled(page)
    few = list(site.colors)[31:36]
    assert names(page) == [n for n in of_category(site, "Bags", "Shirts") if n in few]
    page.get_by_role("link", name="Clear").click()
    page.wait_for_url(lambda url: "where" not in url)
    settled(page)
    assert names(page) == neighbors(site)[:24]


def test_a_wrong_condition_is_told_under_its_field(visit: Visitor) -> None:
    page = visit(f"/search?item={ITEM}", PHONE)
    page.get_by_text("Filters").click()
    page.get_by_label("Condition").fill("prise < 3")
    page.get_by_label("Condition").press("Enter")
    field = page.get_by_label("Condition")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(page.locator("#where-error")).to_contain_text("did you mean price?")
    page.get_by_label("Condition").fill("price < 30")
    page.get_by_label("Condition").press("Enter")
    expect(page.locator("#where-error")).to_have_count(0)
    settled(page)
    assert len(hits_shown(page)) == 20


def test_filters_of_a_photo(site: Site, visit: Visitor) -> None:
    page = visit("/")
    give(page, photo(site.colors["Thing 30"]))
    page.get_by_role("checkbox", name="Bags").check()
    page.wait_for_url("**in.category=Bags*")
    settled(page)
    assert names(page) == ["Thing 30", *of_category(site, "Bags")][:24]
    expect(page.locator(".query img")).to_be_visible()


def test_only_the_nearest_of_each_group(visit: Visitor) -> None:
    page = visit(f"/search?item={ITEM}")
    page.get_by_label("Only the nearest of each").select_option("maker")
    page.wait_for_url("**group_by=maker*")
    settled(page)
    assert len(names(page)) == 4
    expect(page.get_by_role("button", name="Best of both")).to_have_count(0)


def test_an_items_page_and_the_way_back(site: Site, visit: Visitor) -> None:
    page = visit("/")
    give(page, photo(site.colors["Thing 30"]))
    page.get_by_role("link", name="Show 24 more").click()
    expect(page.locator("[data-panel='by.color'] .card")).to_have_count(48)
    card = page.locator("[data-panel='by.color'] .card").nth(30)
    card.scroll_into_view_if_needed()
    name, place = card.locator(".name").inner_text(), page.evaluate("scrollY")
    card.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.get_by_text("In your search")).to_contain_text("31st by color")
    assert page.locator(".gallery img").count() == 2
    expect(page.locator("dl")).to_contain_text("maker")
    assert page.evaluate("scrollY") == 0
    page.get_by_role("link", name="Similar to this").click()
    page.wait_for_url("**/search?item=*")
    settled(page)
    assert names(page)[:3] == site.nearest(site.colors[name])[1:4]
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.go_back()
    expect(page.locator(".query img")).to_be_visible()
    assert len(names(page)) == 48
    assert page.evaluate("scrollY") == place
    page.go_forward()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.go_back()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Find it by photo")


def test_the_catalog_is_found_by_words_page_by_page(site: Site, visit: Visitor) -> None:
    page = visit("/")
    page.get_by_role("searchbox").fill("thing")
    page.get_by_role("searchbox").press("Enter")
    page.wait_for_url("**/browse?q=thing")
    settled(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("“thing”")
    things = [name for name in site.colors if name.startswith("Thing")]
    assert page.locator(".grid .name").all_text_contents() == things[:24]
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**page=2*")
    settled(page)
    assert page.locator(".grid .name").all_text_contents() == things[24:48]
    page.get_by_role("checkbox", name="Watches").check()
    page.wait_for_url("**in.category=Watches*")
    settled(page)
    assert page.locator(".grid .name").all_text_contents() == things[2::3]
    page.get_by_role("searchbox").fill("nonesuch")
    page.get_by_role("searchbox").press("Enter")
    expect(page.get_by_text("Nothing in the catalog")).to_be_visible()
