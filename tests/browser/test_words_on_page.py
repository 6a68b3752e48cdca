"""Words are searched for beside a photo, and alone; with and without scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Site, Visitor, give, names, photo, settled

PLACE = 31  # of the color that is searched with


def of_maker(site: Site, number: int, color: tuple[int, int, int]) -> list[str]:
    """The items of a maker, those first whose color is nearest."""
    places = {name: place for place, name in enumerate(site.colors)}
    return [name for name in site.nearest(color) if places[name] % 4 == number]


def test_words_stand_beside_a_photo_and_in_the_address(site: Site, visit: Visitor) -> None:
    color = list(site.colors.values())[PLACE]
    page = visit("/")
    give(page, photo(color))
    assert names(page)[:5] == site.nearest(color)[:5]
    page.get_by_label("With these words").fill('"maker 2"')
    page.get_by_label("With these words").press("Enter")
    page.wait_for_url("**text=%22maker*")
    settled(page)
    assert names(page) == of_maker(site, 2, color)
    expect(page.locator(".query img")).to_be_visible()
    page.get_by_role("checkbox", name="Shirts").check()
    page.wait_for_url("**in.category=Shirts*")
    settled(page)
    shirts = names(page)
    assert set(shirts) < set(of_maker(site, 2, color))
    page.get_by_label("With these words").fill("")
    page.get_by_label("With these words").press("Enter")
    page.wait_for_url(lambda url: "text=" not in url)
    settled(page)
    assert len(names(page)) > len(shirts)
    assert "in.category=Shirts" in page.url


@pytest.mark.parametrize("java_script_enabled", [True, False])
def test_words_alone_find_items_and_what_looks_so(
    site: Site, visit: Visitor, java_script_enabled: bool
) -> None:
    page = visit("/", java_script_enabled=java_script_enabled)
    page.get_by_label("Or say it in words").fill('"thing 31"')
    page.get_by_label("Or say it in words").press("Enter")
    page.wait_for_url("**text=%22thing*")
    page.wait_for_selector("#results:not([aria-busy])")
    assert names(page, "words")[0] == "Thing 31"
    assert names(page)[0] == "Thing 31"
    page.goto(f"{site.url}/search?item={PLACE + 1}")
    page.get_by_label("With these words").fill('"maker 3"')
    page.locator(".words").get_by_role("button", name="Search").click()
    page.wait_for_url("**text=%22maker*")
    page.wait_for_selector("#results:not([aria-busy])")
    color = list(site.colors.values())[PLACE]
    assert names(page) == [name for name in of_maker(site, 3, color) if name != "Thing 31"]
