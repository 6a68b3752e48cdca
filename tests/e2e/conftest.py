"""A small catalog built once, for every test that only reads it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.config import Config, load_config
from pipeline.stages import build

SETTINGS = """
root: {root}
source: {{type: sample, photos: 24, near_duplicates: 2, size: 96, seed: 3}}
engines:
  autoencoder:
    type: autoencoder
    architecture: strided
    input_size: 32
    resize: bilinear
    training: {{batch_size: 8, epochs: 2}}
  mobilenet:
    type: pretrained
    network: MobileNet
    weights: random
    include_top: false
    layer: conv_pw_1_relu
    pooling: avg
    input_size: 32
embedding: {{batch_size: 4, shard_size: 10, decoders: 2}}
"""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run one command in this process; return its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["imgsearch", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capfd.readouterr()
        code = exit_.value.code
        return (code if isinstance(code, int) else 0), out, err

    return run


@pytest.fixture(scope="session")
def write_settings() -> Callable[[Path], Path]:
    """Write a configuration of two small engines whose catalog lives in a folder."""

    def write(folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        file = folder / "settings.yaml"
        file.write_text(SETTINGS.format(root=folder / "indexes"))
        return file

    return write


@pytest.fixture(scope="session")
def settings_file(
    tmp_path_factory: pytest.TempPathFactory, write_settings: Callable[[Path], Path]
) -> Path:
    """The configuration of the catalog that `built` builds."""
    return write_settings(tmp_path_factory.mktemp("catalog"))


@pytest.fixture(scope="session")
def built(settings_file: Path) -> Config:
    """A built catalog of 26 drawn photos; read only."""
    config = load_config(settings_file)
    build(config)
    return config
