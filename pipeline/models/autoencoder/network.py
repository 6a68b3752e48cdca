"""Convolutional autoencoders: the article's network, and three for machines without a GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pipeline.models.autoencoder import descriptors
from pipeline.models.autoencoder.stem import FEATURES, Stem, build_stem
from pipeline.models.base import F32Matrix, U8Batch
from pipeline.models.keras_runtime import keras, tf

LATENT, DESCRIPTORS, STANDARDIZED = "latent_space", "descriptors", "standardized"
_WIDTH, _HIDDEN_UNITS = 64, 512
_MAX_ADAPT_PHOTOS = 2000  # more give the same means and variances


def build(
    architecture: str,
    size: int,
    latent_dim: int,
    *,
    standardize: bool = False,
    noise: float = 0,
    stem: Stem | None = None,
) -> Any:
    """Return an untrained `keras.Model`: (n, size, size, 3) float32 in 0..1 → the same.

    The output of its layer `latent_space` is (n, latent_dim). If `standardize`, each axis has a
    variance of about 1 over the photos trained on, otherwise an arbitrary one. `noise` is the
    standard deviation of the noise that training adds to descriptors or to what the stem gives,
    where there are any. `stem` is for the architecture of that name.

        network = build("strided", 64, 16)

    Raises:
        ConfigError: the stem cannot be cut there.
    """
    if stem is not None:
        return _on_stem(size, latent_dim, standardize, noise, stem)
    if architecture == "descriptor":
        return _descriptor(size, latent_dim, standardize, noise)
    return {"article": _article, "strided": _strided}[architecture](size, latent_dim, standardize)


def adapt(network: Any, photos: U8Batch) -> None:
    """Center and scale the descriptors of an untrained network, if it has any, by some photos.

    `photos` is (n, size, size, 3) uint8; each descriptor gets the same total variance.
    """
    if DESCRIPTORS not in [layer.name for layer in network.layers]:
        return
    rows = np.unique(np.linspace(0, len(photos) - 1, _MAX_ADAPT_PHOTOS).astype(np.int64))
    parts = descriptors.extract(photos, rows)
    dim = sum(part.shape[1] for part in parts.values())
    means, scales = [], []
    for part in parts.values():
        spread = max(float(np.sqrt(part.var(axis=0).sum())), 1e-6)
        means.append(part.mean(axis=0))
        scales.append(np.full(part.shape[1], np.sqrt(dim / len(parts)) / spread, np.float32))
    network.get_layer(DESCRIPTORS).set_weights([np.concatenate(means), np.concatenate(scales)])


def trained_input(network: Any) -> Any:
    """Return the tensor that training begins at: behind the stem if there is one, else photos."""
    names = [layer.name for layer in network.layers]
    return network.get_layer(FEATURES).output if FEATURES in names else network.input


def adapt_to_stem(network: Any, features: F32Matrix) -> None:
    """Center and scale what the stem gives, by its output for some photos: (n, dim) float32."""
    spread = max(float(np.sqrt(features.var(axis=0).mean())), 1e-6)
    scale = np.full(features.shape[1], 1 / spread, np.float32)
    network.get_layer(STANDARDIZED).set_weights([features.mean(axis=0), scale])


def _article(size: int, latent_dim: int, standardize: bool) -> Any:
    """The published graph, 138,507,923 parameters at 256×256.

    The article's code gives its third encoder convolution the input again, so the first two play
    no part; this is what it really trains. LeakyReLU has the slope 0.3 that Keras had then, and
    convolutions but the last start from a normal distribution of deviation 0.05
    (`kernel_initializer='normal'`).
    """
    layers = keras.layers

    def block(convolution: Any, filters: int, x: Any) -> Any:
        start = keras.initializers.RandomNormal(stddev=0.05)
        x = convolution(filters, 3, padding="same", kernel_initializer=start)(x)
        x = layers.LeakyReLU(negative_slope=0.3)(x)
        return layers.BatchNormalization()(x)

    image = keras.Input((size, size, 3))
    x = block(layers.Conv2D, 64, image)
    shape = x.shape[1:]
    x = _latent(layers.Flatten()(x), latent_dim, standardize)
    x = layers.Reshape(shape)(layers.Dense(math.prod(shape))(x))
    for filters in (64, 64, 32):
        x = block(layers.Conv2DTranspose, filters, x)
    x = layers.Conv2DTranspose(3, 3, padding="same")(x)
    x = layers.Activation("sigmoid", name="decoder", dtype="float32")(x)
    return keras.Model(image, x, name="autoencoder")


def _strided(size: int, latent_dim: int, standardize: bool) -> Any:
    """A network for machines without a GPU: 1.2 million parameters at 64×64.

    A latent of 16 axes can rebuild a photo only coarsely, so all work is done at a quarter of the
    photo's resolution and below: patches of 4×4 pixels, then strides of 2 down to a map of at most
    4×4, with batch normalization and ReLU between. The decoder mirrors that.
    """
    layers = keras.layers
    border, widths = _pyramid(size, _WIDTH)
    image = keras.Input((size, size, 3))
    x = layers.ZeroPadding2D(((0, border), (0, border)))(image)
    x = _active(layers.Conv2D(widths[0], 4, strides=4)(x))
    for width in widths[1:]:
        x = _active(layers.Conv2D(width, 3, strides=2, padding="same")(x))
    x = _latent(layers.Flatten()(x), latent_dim, standardize)
    return keras.Model(image, _decoded(x, size, _WIDTH), name="autoencoder")


def _descriptor(size: int, latent_dim: int, standardize: bool, noise: float) -> Any:
    """An encoder whose first layers are fixed: for catalogs too small to learn good ones from.

    Descriptors of the photo (`descriptors.py`), a hidden layer of 512 units, and the latent; the
    decoder is that of `strided` at half its width. 1.8 million trainable weights at 64×64.
    """
    image = keras.Input((size, size, 3))
    x = _noise_layer(noise)(descriptors.layer(DESCRIPTORS)(image))
    x = _active(keras.layers.Dense(_HIDDEN_UNITS)(x))
    x = _latent(x, latent_dim, standardize)
    return keras.Model(image, _decoded(x, size, _WIDTH // 2), name="autoencoder")


def _on_stem(size: int, latent_dim: int, standardize: bool, noise: float, stem: Stem) -> Any:
    """An encoder whose first layers are those of a pretrained network: for any catalog.

    What they give, pooled to 4×4 cells, goes through a hidden layer of 512 units to the latent. The
    decoder is that of `descriptor` at half the size, enlarged: what 16 axes can rebuild is coarse.
    """
    image = keras.Input((size, size, 3))
    x = keras.layers.Flatten(name=FEATURES)(build_stem(stem, size)(image))
    x = _noise_layer(noise)(_standardized_layer()(x))
    x = _active(keras.layers.Dense(_HIDDEN_UNITS)(x))
    x = _latent(x, latent_dim, standardize)
    small = _decoded(x, size // 2, _WIDTH // 2)
    rebuilt = keras.layers.UpSampling2D(2, interpolation="bilinear", dtype="float32")(small)
    return keras.Model(image, rebuilt, name="autoencoder")


def _standardized_layer() -> Any:
    """Return a Keras layer (n, dim) → (n, dim): (x - mean) · scale, which training does not move.

    `adapt_to_stem` sets its weights; initially they change nothing.
    """

    class Standardized(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            weight = {"shape": shape[1:], "trainable": False}
            self.mean = self.add_weight(name="mean", initializer="zeros", **weight)
            self.scale = self.add_weight(name="scale", initializer="ones", **weight)

        def call(self, x: Any) -> Any:
            return (x - tf.cast(self.mean, x.dtype)) * tf.cast(self.scale, x.dtype)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return Standardized(name=STANDARDIZED, dtype="float32")


def _noise_layer(deviation: float) -> Any:
    """Return a Keras layer that adds normal noise of a standard deviation, in training only.

    The noise follows from the number of training steps, a weight of the layer. Keras's
    `GaussianNoise` keeps its state outside the weights: a resumed run would draw other noise.
    """

    class Noise(keras.layers.Layer):  # type: ignore[misc]
        def build(self, _: Any) -> None:
            count = {"dtype": "int32", "trainable": False, "aggregation": "only_first_replica"}
            self.step = self.add_weight(name="step", shape=(), initializer="zeros", **count)

        def call(self, x: Any, training: bool = False) -> Any:
            if not training or not deviation:
                return x
            state = tf.stack([0, tf.convert_to_tensor(self.step)])
            noise = tf.cast(tf.random.stateless_normal(tf.shape(x), state), x.dtype)
            self.step.assign_add(1)
            return x + deviation * noise

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return Noise(name="noise")


def _latent(x: Any, latent_dim: int, standardize: bool) -> Any:
    if not standardize:
        return keras.layers.Dense(latent_dim, name=LATENT)(x)
    scaled = keras.layers.BatchNormalization(momentum=0.9, center=False, scale=False, name=LATENT)
    return scaled(keras.layers.Dense(latent_dim)(x))


def _decoded(x: Any, size: int, first_width: int) -> Any:
    """From the latent to pixels; kernels twice their stride wide overlap, so that no grid shows."""
    layers = keras.layers
    border, widths = _pyramid(size, first_width)
    side = (size + border) // (4 * 2 ** (len(widths) - 1))
    shape = (side, side, widths[-1])
    x = _active(layers.Reshape(shape)(layers.Dense(math.prod(shape))(x)))
    for width in reversed(widths[:-1]):
        x = _active(layers.Conv2DTranspose(width, 4, strides=2, padding="same")(x))
    x = layers.Conv2DTranspose(3, 8, strides=4, padding="same")(x)
    x = layers.Activation("sigmoid", dtype="float32")(x)
    return layers.Cropping2D(((0, border), (0, border)))(x)


def _pyramid(size: int, width: int) -> tuple[int, list[int]]:
    """Return the padding of a side in pixels, and the channels of each map, each half as large."""
    halvings = max(0, math.ceil(math.log2(size / 16)))
    return -size % (4 * 2**halvings), [width * 2 ** min(stage, 2) for stage in range(halvings + 1)]


def _active(x: Any) -> Any:
    return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
