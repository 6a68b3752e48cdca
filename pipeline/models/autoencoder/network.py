"""Convolutional autoencoders: the article's network, and two for machines without a GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import AutoencoderSettings
from pipeline.models.autoencoder import descriptors
from pipeline.models.autoencoder.noise import layer as noise_layer
from pipeline.models.base import VARIANCE_EPS, KerasModel, import_keras, load_weights
from pipeline.models.store import ModelFolder
from pipeline.progress import Advance, ignored

U8Photos = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64]
F64Matrix = npt.NDArray[np.float64]

LATENT, DESCRIPTORS = "latent_space", "descriptors"
_WIDTH, _HIDDEN = 64, 512
_ADAPTED = 2000  # photos by which descriptors are scaled
_BATCH = 64  # photos rebuilt at a time


def embedding(settings: AutoencoderSettings) -> dict[str, Any]:
    """Return the settings that decide, with the weights, what a photo's vector is."""
    fields = {
        *("type", "architecture", "input_size", "latent_dim", "standardize", "resize", "normalize")
    }
    return {"version": 1, **settings.model_dump(mode="json", include=fields)}


def recipe(settings: AutoencoderSettings) -> dict[str, Any]:
    """Return the settings that decide what the weights are, photos aside."""
    training = settings.training.model_dump(mode="json", exclude={"retrain_share"})
    return {**embedding(settings), "training": training}


def build(
    architecture: str, size: int, latent: int, *, standardize: bool = False, noise: float = 0
) -> Any:
    """Return an untrained `keras.Model`: (n, size, size, 3) float32 in 0..1 → the same.

    Its layer `latent_space` has `latent` numbers a photo, each of a variance of about 1 over the
    photos trained on if `standardize`, and of an arbitrary one if not. `noise` is the deviation of
    what is added to descriptors, where there are any, in training.
    """
    if architecture == "descriptor":
        return _descriptor(size, latent, standardize, noise)
    return {"article": _article, "strided": _strided}[architecture](size, latent, standardize)


def network_of(embedding: Mapping[str, Any]) -> Any:
    """Build the network that an `embedding` describes."""
    return build(
        embedding["architecture"],
        embedding["input_size"],
        embedding["latent_dim"],
        standardize=embedding["standardize"],
    )


def load(name: str, folder: ModelFolder) -> KerasModel:
    """Open a trained autoencoder as an embedding model: its encoder, from pixels to the latent."""
    spec = folder.embedding
    network = network_of(spec)
    load_weights(network, folder)
    return KerasModel(
        name=name,
        dim=spec["latent_dim"],
        input_size=(spec["input_size"], spec["input_size"]),
        fingerprint=folder.fingerprint,
        resize=spec["resize"],
        normalize=spec["normalize"],
        network=encoder(network),
        rebuild=network,
    )


def adapt(network: Any, photos: U8Photos) -> None:
    """Center and scale the descriptors of an untrained network, if it has any, by some photos.

    `photos` is (n, size, size, 3) uint8; each descriptor gets the same total variance.
    """
    if DESCRIPTORS not in [layer.name for layer in network.layers]:
        return
    rows = np.unique(np.linspace(0, len(photos) - 1, _ADAPTED).astype(np.int64))
    parts = descriptors.described(photos, rows)
    numbers = sum(part.shape[1] for part in parts.values())
    means, scales = [], []
    for part in parts.values():
        spread = max(float(np.sqrt(part.var(axis=0).sum())), 1e-6)
        means.append(part.mean(axis=0))
        scales.append(np.full(part.shape[1], np.sqrt(numbers / len(parts)) / spread, np.float32))
    network.get_layer(DESCRIPTORS).set_weights([np.concatenate(means), np.concatenate(scales)])


def encoder(network: Any) -> Any:
    """(n, size, size, 3) float32 in 0..255 → (n, latent): the first half of an autoencoder."""
    keras = import_keras()
    pixels = keras.Input(network.input_shape[1:])
    inner = keras.Model(network.input, network.get_layer(LATENT).output)
    return keras.Model(pixels, inner(pixels / 255.0))


def errors(network: Any, photos: U8Photos, rows: Ids, advance: Advance = ignored) -> F64Matrix:
    """Rebuild some rows of (n, h, w, 3) uint8 → (rows, 2) float64.

    The columns are the two measures of `EmbeddingModel.reconstruction_errors`. Memory holds
    a batch of photos.
    """
    found = [np.empty((0, 2))]
    for start in range(0, len(rows), _BATCH):
        pixels = photos[rows[start : start + _BATCH]].astype(np.float32) / np.float32(255)
        rest = np.asarray(network(pixels, training=False)) - pixels
        error = np.square(rest).mean(axis=(1, 2, 3), dtype=np.float64)
        variance = pixels.var(axis=(1, 2), dtype=np.float64).mean(axis=1)
        found.append(np.column_stack([error, error / (variance + VARIANCE_EPS)]))
        advance(len(pixels))
    return np.concatenate(found)


def _article(size: int, latent: int, standardize: bool) -> Any:
    """The published graph, 138,507,923 parameters at 256×256.

    The article's code gives its third encoder convolution the input again, so the first two play
    no part; this is what it really trains. LeakyReLU has the slope 0.3 that Keras had then, and
    convolutions but the last start from a normal distribution of deviation 0.05
    (`kernel_initializer='normal'`).
    """
    keras = import_keras()
    layers = keras.layers

    def block(convolution: Any, filters: int, x: Any) -> Any:
        start = keras.initializers.RandomNormal(stddev=0.05)
        x = convolution(filters, 3, padding="same", kernel_initializer=start)(x)
        x = layers.LeakyReLU(negative_slope=0.3)(x)
        return layers.BatchNormalization()(x)

    image = keras.Input((size, size, 3))
    x = block(layers.Conv2D, 64, image)
    shape = x.shape[1:]
    x = layers.Flatten()(x)
    x = _latent(x, latent, standardize)
    x = layers.Dense(shape[0] * shape[1] * shape[2])(x)
    x = layers.Reshape(shape)(x)
    for filters in (64, 64, 32):
        x = block(layers.Conv2DTranspose, filters, x)
    x = layers.Conv2DTranspose(3, 3, padding="same")(x)
    x = layers.Activation("sigmoid", name="decoder", dtype="float32")(x)
    return keras.Model(image, x, name="autoencoder")


def _strided(size: int, latent: int, standardize: bool) -> Any:
    """A network for machines without a GPU: 1.2 million parameters at 64×64.

    What 16 numbers can rebuild of a photo is coarse, so all work is done at a quarter of its
    resolution and below: patches of 4×4 pixels, then strides of 2 down to a map of at most 4×4,
    with batch normalization and ReLU between. The decoder mirrors that; its transposed kernels are
    twice their stride wide, so that neighbors overlap and no grid shows.
    """
    layers = import_keras().layers
    border, widths = _pyramid(size, _WIDTH)
    image = import_keras().Input((size, size, 3))
    x = layers.ZeroPadding2D(((0, border), (0, border)))(image)
    x = _active(layers.Conv2D(widths[0], 4, strides=4)(x))
    for width in widths[1:]:
        x = _active(layers.Conv2D(width, 3, strides=2, padding="same")(x))
    x = _latent(layers.Flatten()(x), latent, standardize)
    return import_keras().Model(image, _decoded(x, size, _WIDTH), name="autoencoder")


def _descriptor(size: int, latent: int, standardize: bool, noise: float) -> Any:
    """An encoder whose first layers are fixed: for catalogs too small to learn good ones from.

    Descriptors of the photo (`descriptors.py`), a hidden layer of 512, and the latent; the decoder
    is that of `strided` at half its width. 1.8 million weights to learn at 64×64.
    """
    layers = import_keras().layers
    image = import_keras().Input((size, size, 3))
    x = descriptors.layer(DESCRIPTORS)(image)
    x = noise_layer(noise)(x)
    x = _active(layers.Dense(_HIDDEN)(x))
    x = _latent(x, latent, standardize)
    return import_keras().Model(image, _decoded(x, size, _WIDTH // 2), name="autoencoder")


def _latent(x: Any, latent: int, standardize: bool) -> Any:
    layers = import_keras().layers
    if not standardize:
        return layers.Dense(latent, name=LATENT)(x)
    scaled = layers.BatchNormalization(momentum=0.9, center=False, scale=False, name=LATENT)
    return scaled(layers.Dense(latent)(x))


def _decoded(x: Any, size: int, width: int) -> Any:
    """From the latent to pixels; transposed kernels are twice their stride wide."""
    layers = import_keras().layers
    border, widths = _pyramid(size, width)
    side = (size + border) // (4 * 2 ** (len(widths) - 1))
    shape = (side, side, widths[-1])
    x = _active(layers.Reshape(shape)(layers.Dense(math.prod(shape))(x)))
    for own in reversed(widths[:-1]):
        x = _active(layers.Conv2DTranspose(own, 4, strides=2, padding="same")(x))
    x = layers.Conv2DTranspose(3, 8, strides=4, padding="same")(x)
    x = layers.Activation("sigmoid", dtype="float32")(x)
    return layers.Cropping2D(((0, border), (0, border)))(x)


def _pyramid(size: int, width: int) -> tuple[int, list[int]]:
    """The pixels to add to a side, and the widths of the maps, each half as large as the last."""
    halvings = max(0, math.ceil(math.log2(size / 16)))
    return -size % (4 * 2**halvings), [width * 2 ** min(stage, 2) for stage in range(halvings + 1)]


def _active(x: Any) -> Any:
    layers = import_keras().layers
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
