"""The commands about what is published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli.commands import app
from pipeline.errors import GateError, QueryError
from pipeline.publish import publish
from pipeline.publish.publish import GateVerdict
from pipeline.publish.store import PublicationStore
from pipeline.workspace import Workspace
from tests.conftest import Color, Shop

COLORS: dict[str, list[Color]] = {"a": [(10, 0, 0)], "b": [(20, 0, 0)], "c": [(30, 0, 0)]}


class Terminal:
    """Runs commands on one catalog."""

    def __init__(self, shop: Shop, file: Path) -> None:
        self.shop = shop
        file.write_text(yaml.safe_dump(shop.config.model_dump(mode="json")))
        self.settings = ["--config", str(file)]

    def run(self, *arguments: str) -> str:
        """Return what goes to stdout; an error is raised."""
        result = CliRunner().invoke(app, [*arguments, *self.settings], catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    def listed(self) -> list[tuple[int, bool, list[str]]]:
        """Number, whether it answers, and tags of all publications."""
        listed = json.loads(self.run("publications", "--json"))
        return [(one["number"], one["answers"], one["tags"]) for one in listed]


@pytest.fixture
def terminal(shop: Shop, tmp_path: Path) -> Terminal:
    for count in (1, 2, 3):
        shop.build(dict(list(COLORS.items())[:count]), keep=9)
    return Terminal(shop, tmp_path / "shop.yaml")


def test_going_back_and_forward(terminal: Terminal) -> None:
    assert terminal.listed() == [(3, True, []), (2, False, []), (1, False, [])]
    assert json.loads(terminal.run("rollback", "--json")) == {"answering": 2}
    terminal.run("tag", "sale")
    terminal.run("rollback", "3")
    assert terminal.listed() == [(3, True, []), (2, False, ["sale"]), (1, False, [])]
    terminal.run("rollback", "sale")
    assert terminal.listed()[1] == (2, True, ["sale"])
    terminal.run("tag", "sale", "1")
    assert terminal.listed()[1:] == [(2, True, []), (1, False, ["sale"])]
    terminal.run("tag", "sale", "--remove")
    assert [tags for *_, tags in terminal.listed()] == [[], [], []]
    with pytest.raises(QueryError, match="there is no publication sale"):
        terminal.run("rollback", "sale")


def test_a_list_for_people_tells_what_changed(terminal: Terminal) -> None:
    lines = terminal.run("publications").splitlines()
    row = next(line for line in lines if "answers" in line)
    assert "1 added" in row
    assert "color 3" in row


def test_what_was_refused_is_said_and_can_be_forced(terminal: Terminal) -> None:
    shop = terminal.shop
    shop.offer({**COLORS, "d": [(40, 0, 0)]})
    shop.embed()
    shop.build_only()
    with pytest.raises(GateError):
        publish.publish(
            Workspace(shop.config, shop.catalog), lambda *_: GateVerdict({}, ("it smells",))
        )
    assert "kept aside: it smells" in terminal.run("publications")
    assert "publication 3 answers; not published since: it smells" in terminal.run("info")
    terminal.run("publish", "--force")
    assert PublicationStore(shop.config).current_number() == 4
    assert "publication 4 answers" in terminal.run("info")


def test_publishing_what_is_built(terminal: Terminal) -> None:
    assert "publication 3 answers: nothing has changed" in terminal.run("publish")
    terminal.run("rollback")
    said = terminal.run("publish")
    assert "publication 2 answers, which was rolled back to; 3 holds what was built" in said
    terminal.shop.offer({"a": [(10, 0, 0)]})
    assert "publication 4 answers" in terminal.run("publish")
