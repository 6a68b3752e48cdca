"""What turns a photo into a vector. A new kind of model is a module here and a line in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config import AutoencoderSettings, PretrainedSettings
from pipeline.models import autoencoder, pretrained
from pipeline.models.base import EmbeddingModel
from pipeline.models.store import ModelFolder

EngineSettings = AutoencoderSettings | PretrainedSettings


def recipe(
    settings: EngineSettings,
    engines: Mapping[str, EngineSettings] | None = None,
    *,
    read_file: bool = True,
) -> dict[str, Any]:
    """Return the settings that decide a model's weights and vectors; the photos decide the rest.

    The recipe of its teacher, one of `engines`, is part of it. Without `read_file`, a local file of
    weights is not read to compute its checksum.
    """
    if isinstance(settings, PretrainedSettings):
        return pretrained.recipe(settings, read_file=read_file)
    recipe_ = autoencoder.recipe(settings)
    if settings.teacher and engines:
        teacher = recipe(engines[settings.teacher], read_file=read_file)
        # Not as one nested value: `ModelFolder.is_made_by` compares key by key.
        recipe_ |= {f"teacher's {key}": value for key, value in teacher.items()}
    return recipe_


def load(name: str, folder: ModelFolder) -> EmbeddingModel:
    """Open a model folder; a `DamagedArtifactError` is raised if its weights were altered."""
    kinds = {"autoencoder": autoencoder.load, "pretrained": pretrained.load}
    return kinds[folder.embedding["type"]](name, folder)
