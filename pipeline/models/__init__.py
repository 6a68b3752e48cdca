"""What turns a photo into a vector. A new kind of model is a module here and a line in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config import AutoencoderSettings, PretrainedSettings
from pipeline.models import autoencoder, pretrained, runtimes
from pipeline.models.network_model import NetworkModel
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


def load(name: str, folder: ModelFolder) -> NetworkModel:
    """Open a model folder in the runtime that is best for it here, without TensorFlow.

    Raises:
        DamagedArtifactError: its files are not what was published.
    """
    return NetworkModel(name, folder, runtimes.open_encoder(folder))


def load_on_gpu(name: str, folder: ModelFolder) -> NetworkModel | None:
    """Open a model folder in Keras, to embed many photos; None where there is no GPU.

    Raises:
        DamagedArtifactError: its files are not what was published.
    """
    from pipeline.models.runtimes.keras import KerasNetwork, has_gpu

    if not has_gpu():
        return None
    load_encoder = {"autoencoder": autoencoder.load_encoder, "pretrained": pretrained.load_encoder}
    return NetworkModel(name, folder, KerasNetwork(load_encoder[folder.embedding["type"]](folder)))
