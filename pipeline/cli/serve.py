"""Commands that answer over HTTP."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from pipeline.cli.app import app, load_config
from pipeline.cli.options import AsJson, ConfigFile, Overrides
from pipeline.cli.output import print_json, print_line, talk
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.service.server import Address

_EXTRA = ("starlette", "uvicorn", "python_multipart", "prometheus_client", "segno")


@app.command(
    epilog="Examples: imgsearch serve --port 8000 | imgsearch serve --host 0.0.0.0 --new-token"
)
def serve(
    host: Annotated[str, Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    tls_cert: Annotated[
        Path | None, Option(help="Certificate for HTTPS, in PEM.", metavar="FILE")
    ] = None,
    tls_key: Annotated[Path | None, Option(help="Its key, in PEM.", metavar="FILE")] = None,
    new_token: Annotated[
        bool, Option("--new-token", help="Draw a token for this run, and ask for it.")
    ] = False,
    open_: Annotated[
        bool, Option("--open", help="Let whoever reaches it ask, without a token.")
    ] = False,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Answer searches over HTTP, with a page for phones and desks."""
    _check_extra()
    from pipeline.service.app import create_app
    from pipeline.service.published import PublishedState
    from pipeline.service.server import Address, Server, return_memory
    from pipeline.service.tokens import hash_token
    from pipeline.service.tokens import new_token as draw_token

    settings = load_config(config, set_)
    if (tls_cert is None) != (tls_key is None):
        raise ConfigError("a certificate and its key go together", hint="give both")
    address = Address(host, port, tls_cert, tls_key)
    token = draw_token() if new_token else None
    settings = _for_this_run(settings, address, hash_token(token) if token else None, open_)
    return_memory()
    with address.listen() as listener:
        server = Server(
            create_app(settings, PublishedState(settings), local=not address.is_public),
            address,
            settings.serve.grace,
        )
        _log_to_stderr()
        _greet(settings, address, listener.getsockname()[1], token)
        server.run([listener])


@app.command(epilog="Example: imgsearch token --json")
def token(as_json: AsJson = False) -> None:
    """Draw a token for the HTTP service: who asks sends it; its hash goes into the settings."""
    _check_extra()
    from pipeline.service.tokens import hash_token, new_token

    drawn = new_token()
    if as_json:
        print_json({"token": drawn, "hash": hash_token(drawn)})
        return
    print_line(drawn)
    talk("give it to who may ask; the settings hold its hash:")
    talk(f"  serve: {{token_hashes: [{hash_token(drawn)}]}}")


def _check_extra() -> None:
    """Raise a ConfigError if the packages of the extra `serve` are not installed."""
    try:
        for name in _EXTRA:
            importlib.import_module(name)
    except ImportError as error:
        hint = "pip install 'imgsearch[serve]'"
        raise ConfigError(f"{error.name} is not installed", hint=hint) from error


def _for_this_run(
    settings: Config, address: Address, token_hash: str | None, is_open: bool
) -> Config:
    """Add the token of this run; refuse to let strangers ask, unless that is wanted."""
    serve = settings.serve
    hashes = (*serve.token_hashes, *filter(None, [token_hash]))
    if is_open and hashes:
        raise ConfigError("--open asks for no token, and there are tokens", hint="leave one out")
    if address.is_public and not (hashes or is_open):
        raise ConfigError(
            "others could search, and see all photos, without a token",
            where=f"--host {address.host}",
            hint="--new-token asks for one, --open lets everyone in",
        )
    changes = {"token_hashes": hashes, "show_paths": serve.show_paths and not is_open}
    return settings.model_copy(update={"serve": serve.model_copy(update=changes)})


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("pipeline.service", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO if name.startswith("pipeline") else logging.WARNING)


def _greet(settings: Config, address: Address, port: int, token: str | None) -> None:
    """Say where it is; to phones of the same network by a QR code, with the token of this run."""
    talk(f"{settings.catalog} is served at {address.url(port)}; Ctrl-C ends it")
    if token:
        talk(f"the token of this run: {token}")
    if not address.is_public:
        return
    url = address.url(port, from_others=True) + (f"login?token={token}" if token else "")
    talk(f"on a phone in this network: {url}")
    if not address.certificate:
        talk("over http a page may not open the camera itself; --tls-cert and --tls-key give https")
    if sys.stderr.isatty():
        import segno

        segno.make(url, micro=False).terminal(out=sys.stderr, compact=True)
