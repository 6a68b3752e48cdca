"""pages: what a browser would see, read back with Python's own parser of HTML."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from pipeline.images import ImageLimits
from pipeline.maintenance.audit import (
    Audit,
    AuditLimits,
    Example,
    Finding,
    Group,
    audit_page,
)
from pipeline.report.render import thumbnail
from tests.conftest import Color, png

HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert(2)'> & {{ 7 * 7 }}"""
VOID = {"meta", "img"}


class Page(HTMLParser):
    """The elements, ids, attributes and text of a page; fails where a tag is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += f" {data}"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def empty(title: str) -> Finding:
    return Finding(title, "What it means.", "photo", "item", 0, (), 0)


def audited(**findings: Finding) -> Audit:
    names = [one.name for one in fields(Audit)][4:]
    every = {name: findings.get(name, empty(name)) for name in names}
    return Audit("toys", 1234, 1, AuditLimits(), **every)


def finding(*groups: Group, count: int = 1, group_count: int | None = None) -> Finding:
    total = len(groups) if group_count is None else group_count
    return Finding("Title", "Meaning.", "photo", "item", count, groups, total, "sharpness")


def example(photo: Path | None = None, name: str = "Ball", **more: object) -> Example:
    known = Example(7, "ball-7", name, "balls", str(photo) if photo else None)
    return replace(known, **more)  # type: ignore[arg-type]


def page(**findings: Finding) -> Page:
    return Page(audit_page(audited(**findings), ImageLimits()))


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return write(tmp_path / "red.png", (255, 0, 0), (400, 200))


def write(path: Path, color: Color, size: tuple[int, int]) -> Path:
    path.write_bytes(png(color, size))
    return path


def picture(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def test_every_finding_has_a_section_that_the_summary_counts_and_links_to() -> None:
    shown = page(blurred=finding(Group("", 1200, (example(),)), count=1200))
    names = [one.name for one in fields(Audit)][4:]
    assert [a["href"] for a in shown.all("a")] == [f"#{name}" for name in names]
    assert [section["id"] for section in shown.all("section")] == names
    assert "1,200 Title" in shown.words
    assert shown.words.count("none found") == len(names) - 1
    assert "Audit of toys 1,234 items, 1 distinct photo." in shown.words


def test_the_page_stands_alone_and_runs_nothing(red: Path) -> None:
    html = audit_page(audited(plain=finding(Group("", 1, (example(red),)))), ImageLimits())
    shown = Page(html)
    policy = next(m for m in shown.all("meta") if "http-equiv" in m)
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not {"script", "link", "iframe", "object", "form"} & {t for t, _ in shown.elements}
    assert not any(name.startswith("on") for _, a in shown.elements for name in a)
    assert not re.search(r"https?:|url\(|@import", html)
    assert "prefers-color-scheme: dark" in html
    assert html.startswith("<!doctype html>")


def test_names_from_a_shop_are_text_and_nothing_else(red: Path) -> None:
    hostile = example(red, HOSTILE, key=HOSTILE, category=HOSTILE)
    group = Group(HOSTILE, 1, (hostile,))
    found = replace(audited(without_photo=finding(group)), catalog=HOSTILE)
    shown = Page(audit_page(found, ImageLimits()))
    assert shown.all("script") == []
    assert [sorted(image) for image in shown.all("img")] == [["alt", "loading", "src"]]
    # title, heading, group, name, category, key
    assert shown.words.count(HOSTILE) == 6


def test_photos_become_small_jpegs(red: Path) -> None:
    shown = page(small=finding(Group("", 1, (example(red),))))
    (image,) = shown.all("img")
    small = picture(image["src"])
    assert (small.format, small.size) == ("JPEG", (112, 56))
    assert small.convert("RGB").getpixel((50, 20)) == pytest.approx((255, 0, 0), abs=3)


def test_a_photo_that_cannot_be_read_says_so_and_none_at_all_does_not(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    for photo, says in ((tmp_path / "gone.jpg", 1), (broken, 1), (None, 0)):
        shown = page(unreadable=finding(Group("", 1, (example(photo),))))
        assert shown.all("img") == []
        assert shown.words.count("photo cannot be read") == says
    assert thumbnail(broken, ImageLimits()) == thumbnail(tmp_path, ImageLimits()) == ""


def test_a_photo_that_was_accepted_is_shown_whatever_size_it_is_kept_in(red: Path) -> None:
    found = audited(small=finding(Group("", 1, (example(red),))))
    shown = Page(audit_page(found, ImageLimits(max_bytes=10, max_pixels=10, min_side=1000)))
    assert len(shown.all("img")) == 1


def test_a_long_name_is_cut_and_can_be_read_whole() -> None:
    name, key, label = "n" * 400, "k" * 400, "<c>" * 100
    shown = page(small=finding(Group(label, 1, (example(name=name, key=key),))))
    cut = [attributes for _, attributes in shown.elements if attributes.get("class") == "cut"]
    assert [one["title"] for one in cut] == [label, name, f"id 7 · balls · {key}"]
    style = audit_page(audited(), ImageLimits()).partition("</style>")[0]
    (rule,) = re.findall(r"\.cut \{(.*?)\}", style)
    assert "-webkit-line-clamp: 3" in rule
    assert "overflow: hidden" in rule


def test_items_of_one_photo_stand_below_it_once(red: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "copy.png", (255, 0, 0), (400, 200))
    group = Group("2 names", 2, (example(red, "Ball"), example(other, "Globe")))
    together = page(shared_photos=finding(group))
    apart = page(near_identical=finding(group))
    assert (len(together.all("li")), len(together.all("img"))) == (1, 1)
    assert (len(apart.all("li")), len(apart.all("img"))) == (2, 2)
    assert all("Ball" in shown.words and "Globe" in shown.words for shown in (together, apart))


def test_what_is_not_shown_is_counted() -> None:
    group = Group("5 names", 1005, (example(), example()))
    words = page(shared_photos=finding(group, count=30, group_count=30)).words
    assert "1,005 items 5 names" in words
    assert "and 1,003 items more" in words
    assert "and 29 groups more" in words
    whole = page(shared_photos=finding(Group("", 2, (example(), example())))).words
    assert " more" not in whole


def test_a_measure_is_told_with_its_name() -> None:
    words = page(blurred=finding(Group("", 2, (example(measure=0.12345), example())))).words
    assert words.count("sharpness") == 1
    assert "sharpness: 0.123" in words


def test_an_item_without_name_or_category_is_told_by_its_key() -> None:
    words = page(plain=finding(Group("", 1, (example(name="", category=""),)))).words
    assert "ball-7 id 7 · no category · ball-7" in words
