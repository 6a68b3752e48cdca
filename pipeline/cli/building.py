"""Commands that write a catalogue: each stage, and all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import DEFAULT, ConfigOption, JsonOption, SetOption, app, load_config

if TYPE_CHECKING:
    from pipeline.build import Stage
    from pipeline.config import Config


def _run(
    config: Config, stages: tuple[Stage, ...] | None, as_json: bool, retry_failed: bool = False
) -> None:
    from pipeline import console
    from pipeline.build import STAGES, Report, build

    report, progress = Report(), console.progress()
    try:
        build(config, stages or STAGES, progress, retry_failed=retry_failed, report=report)
    except BaseException:
        for line in console.report_lines(report):  # what is finished stays finished
            console.talk(line)
        raise
    if as_json:
        console.print_json(console.report_facts(report))
    else:
        console.print_report(report)


@app.command(epilog="Example: imgsearch ingest --set 'source={type: folder, path: photos}'")
def ingest(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Bring the catalogue up to date with its source, and count what became of every item."""
    _run(load_config(config, set_), ("ingest",), as_json)


@app.command(epilog="Example: imgsearch download --config config/flipkart.yaml --retry-failed")
def download(
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try those that failed again, and no others.")
    ] = False,
    config: ConfigOption = DEFAULT,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch the photos that are at URLs; each ends available, failed or rejected, with a reason."""
    _run(load_config(config, set_), ("download",), as_json, retry_failed)


@app.command(epilog="Example: imgsearch train --set engines.autoencoder.training.epochs=40")
def train(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Train the autoencoders on the catalogue, and fetch the weights of pretrained networks."""
    _run(load_config(config, set_), ("train",), as_json)


@app.command(epilog="Example: imgsearch embed --set embedding.batch_size=64")
def embed(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Give every photo that has none its vector, by every engine."""
    _run(load_config(config, set_), ("embed",), as_json)


@app.command(epilog="Example: imgsearch index --config config/flipkart.yaml")
def index(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Publish an index of the vectors there are, for every engine."""
    _run(load_config(config, set_), ("index",), as_json)


@app.command(epilog="Example: imgsearch build --config config/flipkart.yaml")
def build(
    config: ConfigOption = DEFAULT, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Ingest, download, train, embed and index, each only where it is out of date."""
    _run(load_config(config, set_), None, as_json)
