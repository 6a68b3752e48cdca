"""What tests of models share."""

from __future__ import annotations

import pytest


@pytest.fixture
def not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave networks in Keras's files: an export takes seconds, and not every test runs one."""
    for module in ("runtimes.publish", "autoencoder.training"):
        monkeypatch.setattr(f"pipeline.models.{module}.write_networks", lambda *_: None)
