"""What turns a photo into a vector. A new kind of model is a module here and a line in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config import (
    AutoencoderSettings,
    DerivedSettings,
    OnnxSettings,
    PretrainedSettings,
    source_of,
)
from pipeline.models import autoencoder, onnx_file, pretrained, runtimes
from pipeline.models.network_model import NetworkModel
from pipeline.models.store import ModelFolder, ModelStore
from pipeline.progress import SILENT, Progress

EngineSettings = AutoencoderSettings | PretrainedSettings | OnnxSettings | DerivedSettings


def recipe(
    settings: EngineSettings,
    engines: Mapping[str, EngineSettings] | None = None,
    *,
    read_file: bool = True,
) -> dict[str, Any]:
    """Return the settings that decide a model's weights and vectors; the photos decide the rest.

    The recipe of its source or teacher, one of `engines`, is part of it. Without `read_file`, a
    local file of weights is not read to compute its checksum.
    """
    if isinstance(settings, PretrainedSettings):
        return pretrained.recipe(settings, read_file=read_file)
    if isinstance(settings, OnnxSettings):
        return onnx_file.recipe(settings, read_file=read_file)
    if isinstance(settings, AutoencoderSettings):
        recipe_, role = autoencoder.recipe(settings), "teacher"
    else:
        recipe_ = settings.model_dump(mode="json", exclude={"retrain_share"})
        role = "source"
    name = source_of(settings)
    if name and engines:
        source = recipe(engines[name], engines, read_file=read_file)
        # Not as one nested value: `ModelFolder.is_made_by` compares key by key.
        recipe_ |= {f"{role}'s {key}": value for key, value in source.items()}
    return recipe_


def stem(settings: AutoencoderSettings, teacher: ModelFolder) -> autoencoder.Stem | None:
    """Return the first layers of a teacher's network, if the settings take them over.

    Raises:
        DamagedArtifactError: the teacher's weights are not what was published.
    """
    if settings.stem_layer is None:
        return None
    weights = pretrained.layer_weights(teacher)
    return autoencoder.Stem(teacher.embedding["network"], settings.stem_layer, weights)


def check_stem(name: str, settings: AutoencoderSettings, teacher: EngineSettings) -> None:
    """Check that a teacher's network can be cut where the settings of an autoencoder say, if any.

    Raises:
        ConfigError: it has no such layer, or one that cannot be the last of a stem.
    """
    if settings.stem_layer is not None and isinstance(teacher, PretrainedSettings):
        stem_ = autoencoder.Stem(teacher.network, settings.stem_layer)
        autoencoder.check_stem(name, stem_, settings.input_size)


def fetch(
    name: str,
    settings: PretrainedSettings | OnnxSettings,
    store: ModelStore,
    progress: Progress = SILENT,
) -> ModelFolder:
    """Get a network that others have trained, and publish a model folder with it.

    Raises:
        WeightsError: it cannot be had, or is no network that can be used.
        ConfigError: the settings name a network or a layer that there is not.
    """
    if isinstance(settings, OnnxSettings):
        progress.note(f"{name}: taking {settings.file}")
        return onnx_file.fetch(name, settings, store)
    progress.note(f"{name}: getting the weights of {settings.network}")
    return pretrained.fetch(name, settings, store, progress)


def load(name: str, folder: ModelFolder, *, for_queries: bool = False) -> NetworkModel:
    """Open a model folder in the runtime that is best for it here, without TensorFlow.

    With `for_queries`, a photo alone takes less time where it may be rounded differently: not for
    vectors that are kept.

    Raises:
        DamagedArtifactError: its files are not what was published.
    """
    if folder.embedding["type"] == "onnx":
        network = onnx_file.open_network(folder)
    else:
        network = runtimes.open_encoder(folder, for_queries=for_queries)
    return NetworkModel(name, folder, network)


def load_text_tower(folder: ModelFolder) -> onnx_file.TextTower | None:
    """Open what encodes words, without the network for photos; None if the model has none.

    Raises:
        DamagedArtifactError: its files are not what was published.
        WeightsError: the library that it needs is not installed.
    """
    return onnx_file.open_tower(folder)


def load_on_gpu(name: str, folder: ModelFolder) -> NetworkModel | None:
    """Open a model folder in Keras, to embed many photos; None if there is no GPU, or no such one.

    Raises:
        DamagedArtifactError: its files are not what was published.
    """
    from pipeline.models.runtimes.keras import KerasNetwork, has_gpu

    load_encoder = {"autoencoder": autoencoder.load_encoder, "pretrained": pretrained.load_encoder}
    kind = folder.embedding["type"]
    if kind not in load_encoder or not has_gpu():
        return None
    return NetworkModel(name, folder, KerasNetwork(load_encoder[kind](folder)))
