"""README.md, CONTRIBUTING.md and docs/: their links lead somewhere, their examples are valid."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from pipeline.catalog.records import ItemRecord, State
from pipeline.cli.commands import app
from pipeline.config import load_config
from pipeline.search.result import EngineResult, Hit, SearchResult

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAX_README_LINES = 150


def blocks(*languages: str) -> Iterator[Any]:
    """Yield the code blocks in these languages, as parameters of a test."""
    for page in PAGES:
        found = [
            text for language, text in BLOCK.findall(page.read_text()) if language in languages
        ]
        for number, text in enumerate(found, 1):
            yield pytest.param(text, id=f"{page.name}-{number}")


def commands() -> Iterator[Any]:
    """Yield every command line of imgsearch in a console block."""
    for block in blocks("console"):
        (text,) = block.values
        lines = [line for line in str(text).splitlines() if line.startswith("$ imgsearch ")]
        for number, line in enumerate(lines, 1):
            yield pytest.param(line.removeprefix("$ "), id=f"{block.id}-{number}")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = re.sub(BLOCK, "", page.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(BLOCK, "", page.read_text())
    for target in LINK.findall(text):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    readme = PAGES[0].read_text()
    assert [page.name for page in PAGES[1:] if page.name not in readme] == []


def test_readme_is_a_front_page() -> None:
    assert len(PAGES[0].read_text().splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_a_page_begins_with_whom_it_is_for(page: Path) -> None:
    paragraphs = page.read_text().split("\n\n")
    assert paragraphs[0].startswith("# ")
    assert paragraphs[1].startswith("For everyone who")


def test_the_listing_of_the_package_is_complete() -> None:
    listing = (ROOT / "docs" / "architecture.md").read_text().split("```")[1]
    entries = (path for path in (ROOT / "pipeline").iterdir() if path.name != "__pycache__")
    names = [path.name for path in entries if path.is_dir() or path.suffix == ".py"]
    assert [name for name in names if name not in listing and name != "__main__.py"] == []


@pytest.mark.parametrize("line", commands())
def test_command_lines_can_be_parsed(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    group: Any = typer.main.get_command(app)
    if words[0].startswith("-"):
        parameters = [option for p in group.get_params(_context(group, None)) for option in p.opts]
        assert words[0] in parameters
        return
    command = group.get_command(_context(group, None), words[0])
    assert command is not None, words[0]
    if not {"--help", "-h"} & set(words):
        _context(command, words[1:])


def _context(command: Any, words: list[str] | None) -> Any:
    """Parse a command line without running it; without one, only make the command's context."""
    if words is None:
        return command.context_class(command, info_name="imgsearch")
    return command.make_context(command.name, words)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_settings_are_valid(text: str, tmp_path: Path) -> None:
    """A block may be a part of a file: the rest is that of the built-in sample."""
    settings = yaml.safe_load(text)
    settings.setdefault("source", {"type": "sample"})
    settings.setdefault("engines", {"vgg16": {"type": "pretrained"}})
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    load_config(file)


@pytest.mark.parametrize("text", blocks("python"))
def test_python_compiles(text: str) -> None:
    compile(text, "example", "exec")


@pytest.mark.parametrize("text", blocks("json"))
def test_json_is_what_to_dict_returns(text: str) -> None:
    shown = json.loads(text)
    engines = {}
    for name, engine in shown["engines"].items():
        hits = [
            Hit(
                **hit
                | {"item": ItemRecord(**hit["item"], state=State.AVAILABLE, reason="")}
                | {"photo": Path(hit["photo"])}
            )
            for hit in engine["hits"]
        ]
        engines[name] = EngineResult(**engine | {"engine": name, "hits": tuple(hits)})
    result = SearchResult(
        shown["query"], shown["publication"], engines, notes=tuple(shown["notes"])
    )
    assert result.to_dict() == shown
