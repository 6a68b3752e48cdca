"""A layer of a `keras.applications` network as an embedding model."""

from __future__ import annotations

import re
import socket
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import sha256_file
from pipeline.config import PretrainedSettings, expand
from pipeline.errors import ConfigError, WeightsError
from pipeline.models import applications
from pipeline.models.keras_runtime import dtype_policy, fresh_names_and_seeds, keras
from pipeline.models.store import WEIGHTS, ModelFolder, ModelStore
from pipeline.models.weights import load_weights, save_weights, weights_digest
from pipeline.progress import SILENT, Progress

F32Array = npt.NDArray[np.float32]


class _UnavailableError(WeightsError):
    """The weights are not available here; `when_unavailable` decides what to do."""


def embedding(settings: PretrainedSettings) -> dict[str, Any]:
    """Return the settings that decide, with the weights, what a photo's vector is."""
    origin = {"weights", "sha256", "when_unavailable", "seed"}
    return {"version": 1, **settings.model_dump(mode="json", exclude=origin)}


def recipe(settings: PretrainedSettings, *, read_file: bool = True) -> dict[str, Any]:
    """Return the settings that decide what the weights are; a file is identified by its SHA-256."""
    origin: dict[str, Any] = {"weights": settings.weights}
    must_be_obtained = settings.when_unavailable == "fail"
    if settings.weights == "random":
        origin["seed"] = settings.seed
    elif settings.weights != "imagenet":
        file = expand(Path(settings.weights))
        origin["weights"] = "file"
        is_here = read_file and file.is_file()
        must_be_obtained |= is_here  # random weights only stand in while the file is missing
        if settings.sha256:
            origin["sha256"] = settings.sha256
        elif is_here:
            origin["sha256"] = sha256_file(file)
    if must_be_obtained:
        origin["obtained"] = True
    return {**embedding(settings), **origin}


def fetch(
    name: str, settings: PretrainedSettings, store: ModelStore, progress: Progress = SILENT
) -> ModelFolder:
    """Get the weights and publish a model folder with them, so that they are downloaded only once.

        model = fetch("vgg16", settings, ModelStore(folder))

    Raises:
        WeightsError: the weights cannot be downloaded or read, do not fit the network, or its
            exported network gives other vectors.
        ConfigError: `keras.applications` has no such network, or the network no such layer.
    """
    with fresh_names_and_seeds(settings.seed), dtype_policy("float32"):
        # With random weights first: what is wrong with the settings shows before a download.
        features = _features(name, settings, _network(name, settings))
        obtained = True
        if settings.weights != "random":
            try:
                features = _features(name, settings, _with_weights(name, settings))
            except _UnavailableError as error:
                if settings.when_unavailable == "fail":
                    raise
                obtained = False
                progress.note(str(error))
        from_pixels = _from_raw_pixels(features, settings)
    content = {
        "recipe": {**recipe(settings), "obtained": obtained},
        "embedding": embedding(settings),
        "dim": int(features.output_shape[-1]),
        "weights": weights_digest(features),
        "random_weights": settings.weights == "random" or not obtained,
        "parameters": int(features.count_params()),
    }

    from pipeline.models.runtimes.publish import write_networks

    def write(folder: Path) -> None:
        save_weights(features, folder / WEIGHTS)
        write_networks(folder, from_pixels)

    return store.publish(content, write)


def load_encoder(folder: ModelFolder) -> Any:
    """Load a fetched network into Keras; raises what `load_weights` raises.

    Returns a `keras.Model`: (n, size, size, 3) float32 in 0..255 → (n, dim).
    """
    spec = {key: value for key, value in folder.embedding.items() if key != "version"}
    settings = PretrainedSettings.model_validate({**spec, "weights": "random"})
    with fresh_names_and_seeds(), dtype_policy("float32"):
        name = settings.network
        features = _features(name, settings, _network(name, settings))
        network = _from_raw_pixels(features, settings)
    load_weights(features, folder)
    return network


def layer_weights(folder: ModelFolder) -> dict[str, list[F32Array]]:
    """Return the weights of a fetched network's layers, by name; raises as `load_encoder`."""
    features = load_encoder(folder).layers[-1]
    return {layer.name: layer.get_weights() for layer in features.layers}


def _from_raw_pixels(features: Any, settings: PretrainedSettings) -> Any:
    pixels = keras.Input((settings.input_size, settings.input_size, 3))
    return keras.Model(pixels, features(applications.preprocess(settings.network, pixels)))


def _network(name: str, settings: PretrainedSettings, weights: str | None = None) -> Any:
    """Build the whole network; `weights` is None or `imagenet`."""
    known = sorted(n for n in dir(keras.applications) if n[:1].isupper())
    if settings.network not in known:
        raise ConfigError(
            f"keras.applications has no {settings.network!r}",
            where=f"engines.{name}.network",
            hint=f"it has {', '.join(known)}",
        )
    try:
        return applications.build(
            settings.network,
            settings.input_size,
            include_top=settings.include_top,
            weights=weights,
        )
    except ValueError as error:
        problem = f"{settings.network}: {_one_line(error)}"
        raise ConfigError(problem, where=f"engines.{name}") from error


def _with_weights(name: str, settings: PretrainedSettings) -> Any:
    key = f"engines.{name}.weights"
    if settings.weights == "imagenet":
        return _download(name, settings)
    file = expand(Path(settings.weights))
    if not file.is_file():
        hint = "give 'imagenet', 'random' or a path"
        raise _UnavailableError(f"there is no file {file}", where=key, hint=hint)
    if settings.sha256 and sha256_file(file) != settings.sha256:
        raise WeightsError(
            f"{file} has not the SHA-256 that engines.{name}.sha256 gives",
            where=key,
            hint="it is another file, or was cut short on its way: get it again",
        )
    network = _network(name, settings)
    try:
        network.load_weights(file)
    except Exception as error:  # h5py and Keras raise many types for a file that does not fit
        raise WeightsError(
            f"{file} does not hold weights of {settings.network} with"
            f" include_top={settings.include_top}: {_one_line(error)}",
            where=key,
        ) from error
    return network


def _download(name: str, settings: PretrainedSettings) -> Any:
    """Build the network with ImageNet weights, which Keras downloads unless it has done before."""
    key = f"engines.{name}.weights"
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(60.0)  # seconds without a byte: dropped packets must not hang us
    try:
        with redirect_stdout(sys.stderr):  # Keras prints its progress, and stdout is for data
            return _network(name, settings, weights="imagenet")
    except ConfigError:
        raise
    except Exception as error:  # Keras raises a bare Exception when a download fails
        url = re.search(r"https?://[^\s:]+", str(error))
        raise _UnavailableError(
            f"cannot download the ImageNet weights of {settings.network}: {_one_line(error)}",
            where=key,
            hint=f"fetch {url[0] if url else 'the file'} where there is a network and set {key} to"
            " its path, or to 'random' to try the pipeline without them",
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _features(name: str, settings: PretrainedSettings, network: Any) -> Any:
    """Cut the network at its layer, and pool the layer's output if it is a map."""
    layers = [layer.name for layer in network.layers]
    layer = settings.layer or layers[-1]
    if layer not in layers:
        raise ConfigError(
            f"{settings.network} has no {layer!r}",
            where=f"engines.{name}.layer",
            hint=f"its last layers are {', '.join(layers[-6:])}",
        )
    output = network.get_layer(layer).output
    if settings.pooling != "none" and len(output.shape) == 4:
        pool = {"avg": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D"}[settings.pooling]
        output = getattr(keras.layers, pool)()(output)
    if len(output.shape) != 2:
        raise ConfigError(
            f"{layer!r} gives {tuple(output.shape[1:])} a photo, not a vector",
            where=f"engines.{name}.pooling",
            hint="set pooling to avg or max",
        )
    return applications.cut(network, output)


def _one_line(error: Exception) -> str:
    """Return the first 200 characters of an error in one line."""
    return " ".join(str(error).split())[:200]
