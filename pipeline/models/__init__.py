"""What turns a photo into a vector. A new kind of model is a module here and a line in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config import AutoencoderSettings, PretrainedSettings
from pipeline.models import pretrained
from pipeline.models.autoencoder import network as autoencoder
from pipeline.models.base import EmbeddingModel
from pipeline.models.store import ModelFolder

EngineSettings = AutoencoderSettings | PretrainedSettings


def recipe(
    settings: EngineSettings,
    engines: Mapping[str, EngineSettings] | None = None,
    *,
    read_file: bool = True,
) -> dict[str, Any]:
    """Return what decides a model's weights and vectors, the photos it is trained on aside.

    That of its teacher, one of `engines`, is part of it. Without `read_file`, the checksum of a
    local file of weights is left out: it costs reading it.
    """
    if isinstance(settings, PretrainedSettings):
        return pretrained.recipe(settings, read_file=read_file)
    own = autoencoder.recipe(settings)
    if settings.teacher and engines:
        taught = recipe(engines[settings.teacher], read_file=read_file)
        # Side by side with its own: a model's recipe may hold more than settings tell.
        own |= {f"teacher's {key}": value for key, value in taught.items()}
    return own


def load(name: str, folder: ModelFolder) -> EmbeddingModel:
    """Open a model folder.

    Raises:
        DamagedArtifactError: its weights are not those it was published with.
    """
    kinds = {"autoencoder": autoencoder.load, "pretrained": pretrained.load}
    return kinds[folder.embedding["type"]](name, folder)
