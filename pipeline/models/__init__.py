"""What turns a photo into a vector. A new kind of model is a module here and a line in each."""

from __future__ import annotations

from typing import Any

from pipeline.config import AutoencoderSettings, PretrainedSettings
from pipeline.models import autoencoder, pretrained
from pipeline.models.base import EmbeddingModel
from pipeline.store.models import ModelFolder


def recipe(
    settings: AutoencoderSettings | PretrainedSettings, *, read_file: bool = True
) -> dict[str, Any]:
    """Return what decides a model's weights and vectors, the photos it is trained on aside.

    Without `read_file`, the checksum of a local file of weights is left out: it costs reading it.
    """
    if isinstance(settings, AutoencoderSettings):
        return autoencoder.recipe(settings)
    return pretrained.recipe(settings, read_file=read_file)


def load(name: str, folder: ModelFolder) -> EmbeddingModel:
    """Open a model folder.

    Raises:
        DamagedArtifactError: its weights are not those it was published with.
    """
    kinds = {"autoencoder": autoencoder.load, "pretrained": pretrained.load}
    return kinds[folder.embedding["type"]](name, folder)
