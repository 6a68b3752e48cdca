"""The command that answers over HTTP."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from pipeline.cli.app import app, load_config
from pipeline.cli.options import ConfigFile, Overrides
from pipeline.cli.output import talk


@app.command(epilog="Example: imgsearch serve --port 8000")
def serve(
    host: Annotated[str, Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Answer searches over HTTP, with a page for phones and desks."""
    from pipeline.service.app import create_app
    from pipeline.service.published import PublishedState
    from pipeline.service.server import Address, Server

    settings = load_config(config, set_)
    published = PublishedState(settings)
    address = Address(host, port)
    server = Server(create_app(settings, published), address, settings.serve.grace)
    talk(f"serving {settings.catalog} at {address.url}")
    server.run()
