"""What a fork server imports once, so that each build that it forks starts at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.cli import main
from pipeline.models.keras_runtime import keras, tf

assert keras.layers
assert tf.nn


def nothing() -> None:
    """Wait for the fork server, and do nothing."""


def build(settings: Path, errors: Path) -> None:
    """Run `imgsearch build`, as in a process of its own, with what it prints in a file."""
    descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["imgsearch", "build", "--config", str(settings)]
    main()
