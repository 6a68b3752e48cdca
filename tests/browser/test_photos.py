"""A photo is chosen, dropped, pasted, or named by its address; parts of it are searched with."""

from __future__ import annotations

import base64
import hashlib
import io
import re

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import DESK, PHONE, Site, Visitor, give, names, photo, settled

# The place of what is asked for: (left half, right half).
LEFT, RIGHT = 20, 45

MAKE_FILE = """data => {
    const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
    return new File([bytes], 'photo.png', {type: 'image/png'});
}"""


@pytest.fixture
def halves(site: Site) -> bytes:
    colors = list(site.colors.values())
    return photo(colors[LEFT], colors[RIGHT])


def expected(site: Site, place: int, engine: str = "color") -> list[str]:
    return site.nearest(list(site.colors.values())[place], engine)[:5]


def first(page: Page, panel: str = "by.color") -> list[str]:
    return names(page, panel)[:5]


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_a_chosen_photo_is_seen_at_once_and_answered_by_both_engines(
    site: Site, visit: Visitor, halves: bytes, size: dict[str, int]
) -> None:
    page = visit("/", size)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/search*", hold)
    chosen = {"name": "photo.png", "mimeType": "image/png", "buffer": halves}
    page.set_input_files("label.primary input", chosen)
    expect(page.locator(".query img")).to_be_visible()
    expect(page.locator(".waiting")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Searching")
    page.wait_for_timeout(50)
    held[0].continue_()
    settled(page)
    assert first(page) == expected(site, LEFT)
    assert first(page, "by.mixed") == expected(site, LEFT, "mixed")
    expect(page.locator(".query img")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("items found")


def test_the_camera_has_a_button_of_its_own_on_a_phone(
    site: Site, visit: Visitor, halves: bytes
) -> None:
    page = visit("/", PHONE)
    camera = page.get_by_label("Take a photo")
    expect(page.locator(".camera")).to_be_visible()
    assert camera.get_attribute("capture") == "environment"
    camera.set_input_files({"name": "photo.png", "mimeType": "image/png", "buffer": halves})
    settled(page)
    assert first(page) == expected(site, LEFT)


def test_a_photo_is_dropped_anywhere(site: Site, visit: Visitor, halves: bytes) -> None:
    page = visit("/browse")
    data = page.evaluate_handle(
        f"data => {{ const t = new DataTransfer(); t.items.add(({MAKE_FILE})(data)); return t; }}",
        base64.b64encode(halves).decode(),
    )
    page.dispatch_event("main", "dragover", {"dataTransfer": data})
    expect(page.locator("#dropping")).to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": data})
    page.wait_for_selector(".query")
    settled(page)
    assert first(page) == expected(site, LEFT)
    expect(page.locator("#dropping")).to_be_hidden()


def test_a_photo_is_pasted_from_the_clipboard(site: Site, visit: Visitor, halves: bytes) -> None:
    page = visit("/", DESK, permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(
        f"data => navigator.clipboard.write("
        f"[new ClipboardItem({{'image/png': ({MAKE_FILE})(data)}})])",
        base64.b64encode(halves).decode(),
    )
    page.keyboard.press("Control+V")
    page.wait_for_selector(".query")
    settled(page)
    assert first(page) == expected(site, LEFT)


@pytest.mark.parametrize("way", ["typed", "pasted"])
def test_a_photo_is_named_by_its_address(site: Site, visit: Visitor, way: str) -> None:
    page = visit("/items/31", DESK, permissions=["clipboard-read", "clipboard-write"])
    source = page.locator(".gallery a").first.get_attribute("href")
    page.goto("/")
    if way == "typed":
        page.get_by_label("address of a photo").fill(f"{site.url}{source}")
        page.get_by_label("address of a photo").press("Enter")
    else:
        page.evaluate("text => navigator.clipboard.writeText(text)", f"{site.url}{source}")
        page.keyboard.press("Control+V")
    page.wait_for_selector(".query")
    settled(page)
    assert first(page)[0] == expected(site, 30)[0]
    page.reload()
    assert first(page)[0] == expected(site, 30)[0]
    drag(page, (0.2, 0.2), (0.8, 0.8))
    wait_for_region(page)
    assert first(page)[0] == expected(site, 30)[0]


def test_large_photos_are_scaled_down_and_upright(visit: Visitor) -> None:
    image = Image.new("RGB", (3000, 1500), "white")
    image.paste((200, 0, 0), (0, 0, 1500, 1500))  # left; on top when it is upright
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90° clockwise
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    page = visit("/")
    give(page, file.getvalue(), "photo.jpg")
    (kept,) = page.evaluate("Object.entries(sessionStorage)")
    sent = base64.b64decode(kept[1].partition(",")[2])
    assert f"upload={hashlib.sha256(sent).hexdigest()}" in page.url  # as the service names it
    got = Image.open(io.BytesIO(sent))
    assert got.size == (512, 1024)
    assert got.getexif().get(274, 1) == 1
    top, bottom = got.convert("RGB").getpixel((256, 100)), got.convert("RGB").getpixel((256, 900))
    assert top == pytest.approx((200, 0, 0), abs=8)
    assert bottom == pytest.approx((255, 255, 255), abs=8)


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """With the mouse, between two points given in parts of the photo's sides."""
    box = page.locator(".crop").bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=5)
    page.mouse.up()


def tap(page: Page, x: float, y: float) -> None:
    box = page.locator(".crop").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + x * box["width"], box["y"] + y * box["height"])


def wait_for_region(page: Page) -> list[float]:
    page.wait_for_url("**region=*")
    settled(page)
    (region,) = page.evaluate("new URL(location).searchParams.getAll('region')")
    return [float(number) for number in region.split(",")]


def test_a_part_is_dragged_with_the_mouse_and_given_up_again(
    site: Site, visit: Visitor, halves: bytes
) -> None:
    page = visit("/")
    give(page, halves)
    drag(page, (0.6, 0.2), (0.9, 0.8))
    assert wait_for_region(page) == pytest.approx([0.6, 0.2, 0.3, 0.6], abs=0.02)
    assert first(page) == expected(site, RIGHT)
    drag(page, (0.75, 0.5), (0.27, 0.5))  # the box moves
    page.wait_for_url(re.compile(r"region=0\.1"))
    settled(page)
    assert first(page) == expected(site, LEFT)
    page.get_by_role("button", name="Whole photo").click()
    page.wait_for_url(lambda url: "region" not in url)
    settled(page)
    assert first(page) == expected(site, LEFT)
    page.go_back()
    page.wait_for_selector(".box")
    page.go_back()
    settled(page)
    assert first(page) == expected(site, RIGHT)


def test_a_corner_can_be_dragged(site: Site, visit: Visitor, halves: bytes) -> None:
    page = visit("/")
    give(page, halves)
    drag(page, (0.7, 0.2), (0.9, 0.8))
    wait_for_region(page)
    drag(page, (0.7, 0.2), (0.1, 0.1))
    page.wait_for_url(re.compile(r"region=0\.1"))
    assert wait_for_region(page) == pytest.approx([0.1, 0.1, 0.8, 0.7], abs=0.02)
    assert first(page) == expected(site, LEFT)


def test_two_taps_make_a_part(site: Site, visit: Visitor, halves: bytes) -> None:
    page = visit("/", PHONE)
    give(page, halves)
    tap(page, 0.9, 0.9)
    expect(page.locator(".tap")).to_be_visible()
    expect(page.get_by_text("opposite corner")).to_be_visible()
    tap(page, 0.6, 0.3)
    assert wait_for_region(page) == pytest.approx([0.6, 0.3, 0.3, 0.6], abs=0.02)
    assert first(page) == expected(site, RIGHT)


def test_a_finger_drags_a_part(site: Site, visit: Visitor, halves: bytes) -> None:
    page = visit("/", PHONE)
    give(page, halves)
    box = page.locator(".crop").bounding_box()
    assert box is not None
    finger = page.context.new_cdp_session(page)
    steps = [(0.55, 0.1), (0.7, 0.3), (0.8, 0.6), (0.95, 0.9)]
    kinds = ["touchStart", "touchMove", "touchMove", "touchMove"]
    for kind, (x, y) in zip(kinds, steps, strict=True):
        point = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert wait_for_region(page) == pytest.approx([0.55, 0.1, 0.4, 0.8], abs=0.03)
    assert first(page) == expected(site, RIGHT)


def test_arrow_keys_move_and_size_a_part(site: Site, visit: Visitor, halves: bytes) -> None:
    page = visit("/")
    give(page, halves)
    page.locator(".crop").focus()
    for key in ["ArrowRight", *15 * ["Shift+ArrowLeft"], *20 * ["ArrowRight"]]:
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    assert wait_for_region(page) == pytest.approx([0.6, 0.2, 0.3, 0.6], abs=0.05)
    assert first(page) == expected(site, RIGHT)
    expect(page.locator(".crop")).to_be_focused()
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "region" not in url)
    settled(page)
    assert first(page) == expected(site, LEFT)


def test_what_stands_out_is_found(site: Site, visit: Visitor) -> None:
    image = Image.new("RGB", (400, 400), "white")
    image.paste(site.colors["Thing 30"], (140, 120, 300, 280))
    file = io.BytesIO()
    image.save(file, "PNG")
    page = visit("/")
    give(page, file.getvalue())
    assert first(page)[0] != "Thing 30"
    page.get_by_role("button", name="Only what stands out").click()
    page.wait_for_url("**region=auto*")
    settled(page)
    assert first(page) == expected(site, 30)
    box, photo_box = (page.locator(part).bounding_box() for part in (".box", ".crop"))
    assert box is not None
    assert photo_box is not None
    assert (box["x"] - photo_box["x"]) / photo_box["width"] == pytest.approx(0.35, abs=0.04)
    assert box["width"] / photo_box["width"] == pytest.approx(0.4, abs=0.06)


def test_a_part_of_an_items_photo(site: Site, visit: Visitor) -> None:
    page = visit("/search?item=31")
    settled(page)
    assert first(page)[:2] == expected(site, 30)[1:3]
    drag(page, (0.1, 0.1), (0.9, 0.9))
    wait_for_region(page)
    assert first(page)[0] == "Thing 30"


def test_a_reload_still_has_the_photo(site: Site, visit: Visitor, halves: bytes) -> None:
    page = visit("/")
    give(page, halves)
    page.reload()
    page.wait_for_selector(".query img")
    page.wait_for_selector("[data-panel='by.color'] .name")
    assert first(page) == expected(site, LEFT)
    other = visit(page.url.removeprefix(site.url))
    expect(other.get_by_text("photo is not kept")).to_be_visible()
