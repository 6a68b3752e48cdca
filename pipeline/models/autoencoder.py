"""Convolutional autoencoders: the article's network, and one for machines without a GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import AutoencoderSettings
from pipeline.models.base import F32Vector, KerasModel, import_keras, load_weights
from pipeline.progress import Advance, ignored
from pipeline.store.models import ModelFolder

U8Photos = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64]

LATENT = "latent_space"
_BATCH = 64  # photos rebuilt at a time


def embedding(settings: AutoencoderSettings) -> dict[str, Any]:
    """Return the settings that decide, with the weights, what a photo's vector is."""
    fields = {"type", "architecture", "input_size", "latent", "resize", "normalise"}
    return {"version": 1, **settings.model_dump(mode="json", include=fields)}


def recipe(settings: AutoencoderSettings) -> dict[str, Any]:
    """Return the settings that decide what the weights are, photos aside."""
    training = settings.training.model_dump(mode="json", exclude={"retrain_share"})
    return {**embedding(settings), "training": training}


def build(architecture: str, size: int, latent: int) -> Any:
    """Return an untrained `keras.Model`: (n, size, size, 3) float32 in 0..1 → the same.

    Its layer `latent_space` has `latent` numbers a photo.
    """
    return {"article": _article, "strided": _strided}[architecture](size, latent)


def load(name: str, folder: ModelFolder) -> KerasModel:
    """Open a trained autoencoder as an embedding model: its encoder, from pixels to the latent."""
    spec = folder.embedding
    network = build(spec["architecture"], spec["input_size"], spec["latent"])
    load_weights(network, folder)
    return KerasModel(
        name=name,
        dim=spec["latent"],
        input_size=(spec["input_size"], spec["input_size"]),
        fingerprint=folder.fingerprint,
        resize=spec["resize"],
        normalise=spec["normalise"],
        network=encoder(network),
        rebuild=network,
    )


def encoder(network: Any) -> Any:
    """(n, size, size, 3) float32 in 0..255 → (n, latent): the first half of an autoencoder."""
    keras = import_keras()
    pixels = keras.Input(network.input_shape[1:])
    inner = keras.Model(network.input, network.get_layer(LATENT).output)
    return keras.Model(pixels, inner(pixels / 255.0))


def errors(network: Any, photos: U8Photos, rows: Ids, advance: Advance = ignored) -> F32Vector:
    """Rebuild some rows of (n, h, w, 3) uint8 → (rows,) float32, each one's mean squared error.

    Pixels are 0..1; memory holds a batch of them.
    """
    found = [np.empty(0, np.float32)]
    for start in range(0, len(rows), _BATCH):
        pixels = photos[rows[start : start + _BATCH]].astype(np.float32) / np.float32(255)
        rest = np.asarray(network(pixels, training=False)) - pixels
        found.append(np.square(rest).mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32))
        advance(len(pixels))
    return np.concatenate(found)


def _article(size: int, latent: int) -> Any:
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
    x = layers.Dense(latent, name=LATENT)(x)
    x = layers.Dense(shape[0] * shape[1] * shape[2])(x)
    x = layers.Reshape(shape)(x)
    for filters in (64, 64, 32):
        x = block(layers.Conv2DTranspose, filters, x)
    x = layers.Conv2DTranspose(3, 3, padding="same")(x)
    x = layers.Activation("sigmoid", name="decoder", dtype="float32")(x)
    return keras.Model(image, x, name="autoencoder")


def _strided(size: int, latent: int) -> Any:
    """A network for machines without a GPU: 1.2 million parameters at 64×64.

    What 16 numbers can rebuild of a photo is coarse, so all work is done at a quarter of its
    resolution and below: patches of 4×4 pixels, then strides of 2 down to a map of at most 4×4,
    with batch normalisation and ReLU between. The decoder mirrors that; its transposed kernels are
    twice their stride wide, so that neighbours overlap and no grid shows.
    """
    keras = import_keras()
    layers = keras.layers

    def active(x: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    halvings = max(0, math.ceil(math.log2(size / 16)))
    widths = [min(64 * 2**stage, 256) for stage in range(halvings + 1)]
    border = -size % (4 * 2**halvings)
    image = keras.Input((size, size, 3))
    x = layers.ZeroPadding2D(((0, border), (0, border)))(image)
    x = active(layers.Conv2D(widths[0], 4, strides=4)(x))
    for width in widths[1:]:
        x = active(layers.Conv2D(width, 3, strides=2, padding="same")(x))
    shape = x.shape[1:]
    x = layers.Dense(latent, name=LATENT)(layers.Flatten()(x))
    x = active(layers.Reshape(shape)(layers.Dense(math.prod(shape))(x)))
    for width in reversed(widths[:-1]):
        x = active(layers.Conv2DTranspose(width, 4, strides=2, padding="same")(x))
    x = layers.Conv2DTranspose(3, 8, strides=4, padding="same")(x)
    x = layers.Activation("sigmoid", dtype="float32")(x)
    x = layers.Cropping2D(((0, border), (0, border)))(x)
    return keras.Model(image, x, name="autoencoder")
