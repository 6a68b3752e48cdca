"""imgsearch serve and token: who is let in, and what is missing, is said before anything runs."""

from __future__ import annotations

import hashlib
import importlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import serve
from pipeline.cli.commands import app
from pipeline.config import load_config
from pipeline.errors import ConfigError, NotBuiltError
from pipeline.service.server import Address


def run(*arguments: str) -> Exception | None:
    """Run the command where nothing is built; return its error."""
    error = CliRunner().invoke(app, ["serve", "--port", "0", *arguments]).exception
    assert error is None or isinstance(error, Exception)
    return error


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("host", "is_public"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("192.168.1.5", True),
        ("shop.example", True),
        ("", True),
    ],
)
def test_others_are_let_in_by_a_token_or_on_purpose(host: str, is_public: bool) -> None:
    address = Address(host, 0)
    assert address.is_public is is_public
    settings = load_config(None, [])
    if is_public:
        with pytest.raises(ConfigError, match="--new-token asks for one, --open lets everyone in"):
            serve._for_this_run(settings, address, None, False)
    else:
        assert serve._for_this_run(settings, address, None, False).serve == settings.serve
    with_token = serve._for_this_run(settings, address, "a" * 64, False).serve
    assert with_token.token_hashes == ("a" * 64,)
    assert with_token.show_paths
    assert not serve._for_this_run(settings, address, None, True).serve.show_paths
    with pytest.raises(ConfigError, match="--open"):
        serve._for_this_run(settings, address, "a" * 64, True)


def test_what_is_wrong_is_said_before_anything_runs() -> None:
    assert isinstance(run("--host", "0.0.0.0"), ConfigError)
    assert isinstance(run("--tls-cert", "cert.pem"), ConfigError)
    assert isinstance(run("--tls-cert", "cert.pem", "--tls-key", "key.pem"), ConfigError)
    assert isinstance(run(), NotBuiltError)


def test_an_address_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: Address already in use; choose"):
            Address("127.0.0.1", port).listen()


def test_without_its_packages_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = importlib.import_module

    def missing(name: str, *arguments: Any) -> Any:
        if name == "uvicorn":
            raise ModuleNotFoundError("No module named 'uvicorn'", name=name)
        return imported(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert str(run()) == "uvicorn is not installed; pip install 'imgsearch[serve]'"


def test_a_token_comes_with_its_hash() -> None:
    drawn = json.loads(CliRunner().invoke(app, ["token", "--json"]).stdout)
    assert len(drawn["token"]) >= 43
    assert drawn["hash"] == hashlib.sha256(drawn["token"].encode()).hexdigest()
    load_config(None, [f"serve.token_hashes=[{drawn['hash']}]"])
