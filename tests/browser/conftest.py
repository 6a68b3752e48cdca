"""A real browser on a real service, over a catalog of colors with names of every kind.

A photo's vector is its color, so that a test knows what looks most like what.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from pipeline import models
from pipeline.catalog.ingest import ingest
from pipeline.images import ImageLimits
from pipeline.sources.base import SourceItem, SourcePhoto
from tests.conftest import Color, ListSource, png
from tests.engines import Fair, ViewModel
from tests.service.conftest import running, with_settings

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
EXPECTED_NOISE = "Failed to load resource: "  # which tests bring about

CATEGORIES = ("Bags", "Shirts", "Watches")
HOSTILE = (
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    '"><svg/onload="window.ran = 1">',
    "javascript:window.ran=1//{{7*7}}${7*7}",
    "control \x01\x07\x1b[31m \x7f\x85 \ufffe characters",
    "override \u202etxt.exe\u202c \u2066isolate \u200f mark",
    "unclosed \u202e\u202e\u2067\u2067 overrides",
    "long " + "abcdefghij" * 100,
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "حقيبة جلدية حمراء مع حزام كتف طويل وقابل للتعديل",
    "תיק עור אדום (XL) 50%",
    "赤い革のバッグ、ショルダーストラップ付き",
)


@dataclass(frozen=True)
class Site:
    """The service that runs: its address, and the colors of its items by name, in their order."""

    url: str
    colors: dict[str, Color]

    def nearest(self, color: Color, engine: str = "color") -> list[str]:
        """The names of all items, those first whose color is nearest by an engine."""
        scale = np.array([0.5, 1, 3] if engine == "mixed" else [1, 1, 1])
        query = np.array(color) * scale
        far = [np.linalg.norm(np.array(c) * scale - query) for c in self.colors.values()]
        return [list(self.colors)[i] for i in np.argsort(far, kind="stable")]


def photo(left: Color, right: Color | None = None, size: tuple[int, int] = (400, 300)) -> bytes:
    """A PNG file whose halves have two colors; as a whole it looks like the left one."""
    image = Image.new("RGB", size, left)
    image.paste(right or left, (size[0] // 2, 0, *size))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _offers() -> tuple[list[SourceItem], dict[str, Color]]:
    items, colors = [], {}
    for i in range(60):
        r, g, b = colorsys.hsv_to_rgb(i / 60, 0.9, 0.95)
        color = (round(255 * r), round(255 * g), round(255 * b))
        name = f"Thing {i:02}"
        if i < len(HOSTILE):
            name = HOSTILE[i]
        category = f"{name} of a kind" if i in (0, 5, 7) else CATEGORIES[i % 3]
        metadata = {
            "price": 10 + i,
            "maker": f"maker {i % 4}",
            name[:40] if i < 8 else "note": name,
        }
        photos = tuple(SourcePhoto(f"{i}-{n}.png", data=png(color, (4, 4 + n))) for n in range(2))
        items.append(SourceItem(f"key-{i}", name, category, photos, metadata))
        colors[name] = color
    return items, colors


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            models,
            "load",
            lambda name, folder, **_: ViewModel(name, fingerprint=folder.fingerprint),
        )
        fair = Fair(tmp_path_factory.mktemp("site"), ("color", "mixed"))
        items, colors = _offers()
        ingest(ListSource(items), fair.catalog, ImageLimits(min_side=1))
        for name in fair.config.engines:
            fair.index(name)
        settings = {"allow_addresses": ["127.0.0.0/8"]}
        with running(with_settings(fair.config, **settings)) as client:
            yield Site(f"http://127.0.0.1:{client.port}", colors)
        fair.catalog.close()


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"NO BROWSER at {CHROMIUM}: apt-get install chromium")
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield browser
    browser.close()


Visitor = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Visitor]:
    """Open an address in a new window: `visit("/", PHONE, color_scheme="dark")`.

    Afterwards no script of a name may have run, and no page may have complained.
    """
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_(path: str = "/", viewport: dict[str, int] = DESK, **options: object) -> Page:
        is_phone = viewport == PHONE
        context = browser.new_context(
            viewport=viewport, has_touch=is_phone, is_mobile=is_phone, base_url=site.url, **options
        )
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
        page.goto(path)
        return page

    yield open_
    ran = [page.url for c in contexts for page in c.pages if _has_run(page)]
    for context in contexts:
        context.close()
    assert not ran
    assert [fault for fault in faults if not fault.startswith(EXPECTED_NOISE)] == []


def _has_run(page: Page) -> bool:
    return bool(page.evaluate("'ran' in window"))


def give(page: Page, data: bytes, name: str = "photo.png") -> None:
    """Choose a photo, and wait for the answer."""
    file = {"name": name, "mimeType": "image/png", "buffer": data}
    page.set_input_files("label.primary input", file)
    settled(page)


def settled(page: Page) -> None:
    """Wait until an answer is shown."""
    page.wait_for_selector("#results:not([aria-busy])")


def names(page: Page, panel: str = "by.color") -> list[str]:
    """The names of a panel's hits, as they are seen."""
    return page.locator(f"[data-panel='{panel}'] .name").all_text_contents()


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))
