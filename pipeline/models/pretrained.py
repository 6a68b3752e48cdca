"""A layer of a `keras.applications` network as an embedding model."""

from __future__ import annotations

import re
import socket
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from pipeline.artifacts import digest, publish, sha256_file
from pipeline.config import PretrainedSettings, expand
from pipeline.errors import ConfigError, WeightsError
from pipeline.models.base import (
    KerasModel,
    import_keras,
    load_weights,
    save_weights,
    weights_digest,
)
from pipeline.models.store import WEIGHTS, ModelFolder, ModelStore
from pipeline.progress import SILENT, Progress

_DOWNLOAD_TIMEOUT = 60.0  # seconds without an answer


class _UnavailableError(WeightsError):
    """The weights cannot be had here; other weights may do."""


def embedding(settings: PretrainedSettings) -> dict[str, Any]:
    """Return the settings that decide, with the weights, what a photo's vector is."""
    origin = {"weights", "sha256", "when_unavailable", "seed"}
    return {"version": 1, **settings.model_dump(mode="json", exclude=origin)}


def recipe(settings: PretrainedSettings, *, read_file: bool = True) -> dict[str, Any]:
    """Return the settings that decide what the weights are.

    A weights file is known by its content, not by its path; reading it can be left out.
    """
    origin: dict[str, Any] = {"weights": settings.weights}
    to_be_had = settings.when_unavailable == "fail"
    if settings.weights == "random":
        origin["seed"] = settings.seed
    elif settings.weights != "imagenet":
        file = expand(Path(settings.weights))
        origin["weights"] = "file"
        is_here = read_file and file.is_file()
        to_be_had |= is_here  # then random ones will not do any longer
        if settings.sha256:
            origin["sha256"] = settings.sha256
        elif is_here:
            origin["sha256"] = sha256_file(file)
    if to_be_had:
        origin["obtained"] = True
    return {**embedding(settings), **origin}


def fetch(
    name: str, settings: PretrainedSettings, store: ModelStore, progress: Progress = SILENT
) -> ModelFolder:
    """Get the weights and keep them in a model folder of our own, which needs no network again.

    Raises:
        WeightsError: the weights cannot be downloaded or read, or do not fit the network.
        ConfigError: `keras.applications` has no such network, or the network no such layer.
    """
    import_keras().utils.set_random_seed(settings.seed)
    network = _network(name, settings)
    features = _features(name, settings, network)  # what is wrong shows before a download
    obtained = True
    if settings.weights != "random":
        try:
            features = _features(name, settings, _with_weights(name, settings))
        except _UnavailableError as error:
            if settings.when_unavailable == "fail":
                raise
            obtained = False
            progress.note(str(error))
    weights = weights_digest(features)
    content = {
        "recipe": {**recipe(settings), "obtained": obtained},
        "embedding": embedding(settings),
        "dim": int(features.output_shape[-1]),
        "weights": weights,
        "random_weights": settings.weights == "random" or not obtained,
        "parameters": int(features.count_params()),
    }
    folder = store.folder / digest([content["recipe"], weights])
    with publish(folder, content) as aside:
        save_weights(features, aside / WEIGHTS)
    return store.use(store.open(folder.name))


def load(name: str, folder: ModelFolder) -> KerasModel:
    """Open a fetched network as an embedding model."""
    keras = import_keras()
    spec = {key: value for key, value in folder.embedding.items() if key != "version"}
    settings = PretrainedSettings.model_validate({**spec, "weights": "random"})
    features = _features(name, settings, _network(name, settings))
    load_weights(features, folder)
    side = settings.input_size
    pixels = keras.Input((side, side, 3))
    return KerasModel(
        name=name,
        dim=folder.dim,
        input_size=(side, side),
        fingerprint=folder.fingerprint,
        resize=settings.resize,
        normalize=settings.normalize,
        network=keras.Model(pixels, features(_preprocess(settings)(pixels))),
    )


def _network(name: str, settings: PretrainedSettings, weights: str | None = None) -> Any:
    """Build the whole network; `weights` is None or `imagenet`."""
    applications = import_keras().applications
    function = getattr(applications, settings.network, None)
    if function is None or not settings.network[:1].isupper():
        known = ", ".join(sorted(n for n in dir(applications) if n[:1].isupper()))
        raise ConfigError(
            f"engines.{name}.network: keras.applications has no {settings.network!r};"
            f" it has {known}"
        )
    try:
        return function(
            weights=weights,
            include_top=settings.include_top,
            input_shape=(settings.input_size, settings.input_size, 3),
        )
    except ValueError as error:
        raise ConfigError(f"engines.{name}: {settings.network}: {_line(error)}") from error


def _with_weights(name: str, settings: PretrainedSettings) -> Any:
    key = f"engines.{name}.weights"
    if settings.weights == "imagenet":
        return _downloaded(name, settings)
    file = expand(Path(settings.weights))
    if not file.is_file():
        raise _UnavailableError(
            f"{key}: there is no file {file}; give 'imagenet', 'random' or a path"
        )
    if settings.sha256 and sha256_file(file) != settings.sha256:
        raise WeightsError(
            f"{key}: {file} has not the SHA-256 that engines.{name}.sha256 gives; it is another"
            " file, or was cut short on its way: get it again"
        )
    network = _network(name, settings)
    try:
        network.load_weights(file)
    except Exception as error:  # h5py and Keras raise many types for a file that does not fit
        raise WeightsError(
            f"{key}: {file} does not hold weights of {settings.network} with"
            f" include_top={settings.include_top}: {_line(error)}"
        ) from error
    return network


def _downloaded(name: str, settings: PretrainedSettings) -> Any:
    key = f"engines.{name}.weights"
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)  # a network that drops packets must not hang us
    try:
        with redirect_stdout(sys.stderr):  # Keras talks there, and stdout is data
            return _network(name, settings, weights="imagenet")
    except ConfigError:
        raise
    except Exception as error:  # Keras raises a bare Exception when a download fails
        url = re.search(r"https?://[^\s:]+", str(error))
        raise _UnavailableError(
            f"{key}: cannot download the ImageNet weights of {settings.network}:"
            f" {_line(error)}; fetch {url[0] if url else 'the file'} where there is a network"
            f" and set {key} to its path, or to 'random' to try the pipeline without them"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)


def _features(name: str, settings: PretrainedSettings, network: Any) -> Any:
    """Cut the network at its layer, and pool what is still a picture."""
    keras = import_keras()
    layers = [layer.name for layer in network.layers]
    layer = settings.layer or layers[-1]
    if layer not in layers:
        raise ConfigError(
            f"engines.{name}.layer: {settings.network} has no {layer!r}; its last layers are"
            f" {', '.join(layers[-6:])}"
        )
    output = network.get_layer(layer).output
    if settings.pooling != "none" and len(output.shape) == 4:
        pool = {"avg": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D"}[settings.pooling]
        output = getattr(keras.layers, pool)()(output)
    if len(output.shape) != 2:
        raise ConfigError(
            f"engines.{name}.pooling: {layer!r} gives {tuple(output.shape[1:])} a photo, not a"
            " vector; set pooling to avg or max"
        )
    cut = keras.Model(network.input, output)
    # The layers beyond the cut would live on as successors of those before it.
    features = keras.models.clone_model(cut)
    features.set_weights(cut.get_weights())
    return features


def _preprocess(settings: PretrainedSettings) -> Any:
    """Return the network's own `preprocess_input`, which stands in the module that defines it."""
    function = getattr(import_keras().applications, settings.network)
    return sys.modules[function.__module__].preprocess_input


def _line(error: Exception) -> str:
    """Return the first sentence of an error, in one line."""
    return " ".join(str(error).split())[:200]
