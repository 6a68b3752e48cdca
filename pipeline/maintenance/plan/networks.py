"""What is known of an engine's vectors and its time, where nothing has been measured."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from pipeline.config import (
    AutoencoderSettings,
    Config,
    HeadSettings,
    OnnxSettings,
    PretrainedSettings,
    ReducedSettings,
    source_of,
)
from pipeline.derived.head import DIM
from pipeline.engine import Engine
from pipeline.errors import NotBuiltError

TYPICAL_SIDE = 224  # pixels of the photos for which the times below hold
_UNKNOWN_DIM, _UNKNOWN_SECONDS = 1024, 0.08
_DIMS = {"fc1": 4096, "fc2": 4096, "predictions": 1000}
_NETWORKS = {  # dimensions of the pooled last layer, seconds of a core for a photo
    "VGG16": (512, 0.136),
    "VGG19": (512, 0.17),
    "MobileNetV2": (1280, 0.0096),
    "ResNet50": (2048, 0.08),
    "EfficientNetB0": (1280, 0.015),
    "InceptionV3": (2048, 0.06),
}
_AUTOENCODERS = {  # seconds of a core for a photo of 64×64: to its vector, and a step of training
    "article": (0.012, 0.06),
    "strided": (0.00024, 0.002),
    "descriptor": (0.001, 0.003),
    "stem": (0.01, 0.003),
}
_AUTOENCODER_PIXELS = 64**2
TRAINED_SHARE = 0.8  # of the photos; the others are held out
QUERY_FACTOR = 1.3  # a photo alone takes longer than one of a batch


@dataclass(frozen=True)
class Network:
    """An engine, as far as its settings tell."""

    name: str
    dim: int
    photo_seconds: float
    """Of a core, for a photo, from its pixels to its vector."""
    query_seconds: float
    """For a photo that is searched with."""
    sees_photos: bool
    """False: its vectors are made of another engine's."""
    epochs: int = 0
    """Passes over the photos in training."""
    step_seconds: float = 0.0
    """Of a core, for a photo in each of them."""
    is_known: bool = True
    """False: nothing is known of such a network, and the numbers are guesses."""


def network(name: str, config: Config) -> Network:
    """Return what an engine's model, if it has one, and its settings say.

    network("vgg16", config).dim

    Raises:
        DamagedArtifactError: its model is not what was written.
    """
    said = _said(name, config)
    with suppress(NotBuiltError):
        return replace(said, dim=Engine(name, config).model.dim)
    return said


def _said(name: str, config: Config) -> Network:
    """Return what the settings of an engine say."""
    settings = config.engines[name]
    if isinstance(settings, PretrainedSettings):
        return _pretrained(name, settings)
    if isinstance(settings, AutoencoderSettings):
        scale = settings.input_size**2 / _AUTOENCODER_PIXELS
        photo, step = (scale * one for one in _AUTOENCODERS[settings.architecture])
        epochs, query = settings.training.epochs, QUERY_FACTOR * photo
        return Network(name, settings.latent_dim, photo, query, True, epochs, step)
    if isinstance(settings, OnnxSettings):
        query = QUERY_FACTOR * _UNKNOWN_SECONDS
        return Network(name, _UNKNOWN_DIM, _UNKNOWN_SECONDS, query, True, is_known=False)
    source = _said(str(source_of(settings)), config)
    return Network(name, _derived_dim(settings, source.dim), 0.0, 0.0, False)


def _pretrained(name: str, settings: PretrainedSettings) -> Network:
    is_known = settings.network in _NETWORKS
    pooled, seconds = _NETWORKS.get(settings.network, (_UNKNOWN_DIM, _UNKNOWN_SECONDS))
    dim = _DIMS.get(settings.layer or "", pooled)
    if settings.layer is None and settings.include_top:
        dim = _DIMS["predictions"]
    seconds *= (settings.input_size / TYPICAL_SIDE) ** 2
    return Network(name, dim, seconds, QUERY_FACTOR * seconds, True, is_known=is_known)


def _derived_dim(settings: ReducedSettings | HeadSettings, source_dim: int) -> int:
    return min(settings.dim or DIM, source_dim)
