"""What a step of training makes small: errors of pixels alone, or what a guide asks for too."""

from __future__ import annotations

from typing import Any, Protocol

from pipeline.config import DistillationSettings
from pipeline.models.autoencoder.network import LATENT
from pipeline.models.base import import_keras, import_tensorflow


class Objective(Protocol):
    """Knows what to train, and how far off it is."""

    trained: Any
    """A `keras.Model` that holds the network and all else that has weights to learn."""

    def loss(self, seen: Any, photos: Any, rows: Any, targets: Any, training: bool) -> Any:
        """Of a batch: (n, h, w, 3) as shown and as it should be, and (n,) their rows in `targets`.

        `targets` are those of a guide, (photos, components), or None. Returns a scalar, the mean
        over the batch's photos.
        """
        ...


class PixelError:
    """The mean squared error of rebuilt pixels, as in the article."""

    def __init__(self, network: Any) -> None:
        self.trained = network

    def loss(self, seen: Any, photos: Any, rows: Any, targets: Any, training: bool) -> Any:
        """Return the mean squared error."""
        tf = import_tensorflow()
        rebuilt = tf.cast(self.trained(seen, training=training), tf.float32)
        return tf.reduce_mean(tf.square(rebuilt - photos))


class Guided:
    """Rebuild pixels and targets, keep neighbors near, and use all axes of the latent alike.

    - Errors are shares of what there is to explain: of the pixels' variance, of the targets'.
    - Neighbors: a photo has to tell a neighbor of its own from those of the rest of the batch, by
      exp(−‖s·z−s·y‖²) (InfoNCE of van den Oord, Li and Vinyals, Representation learning with
      contrastive predictive coding, 2018, with the Gaussian kernel of stochastic neighbor
      embedding); s is learned.
    - Correlations between axes are squared and added up, as by Bardes, Ponce and LeCun, VICReg,
      ICLR 2022: without it a few axes carry everything.
    """

    def __init__(
        self, network: Any, settings: DistillationSettings, components: int, variance: float
    ) -> None:
        keras = import_keras()
        self.settings, self.variance = settings, variance
        latent = network.get_layer(LATENT).output
        targets = keras.layers.Dense(components, name="targets")(latent)
        scaled = _scale()(latent)
        outputs = [network.output, targets, latent, scaled]
        self.trained = keras.Model(network.input, outputs, name="guided")

    def loss(self, seen: Any, photos: Any, rows: Any, targets: Any, training: bool) -> Any:
        """Return the weighted sum; the batch is as `guide.pairs` arranges it."""
        tf, s = import_tensorflow(), self.settings
        rebuilt, rebuilt_targets, latent, scaled = (
            tf.cast(one, tf.float32) for one in self.trained(seen, training=training)
        )
        pixels = tf.reduce_mean(tf.square(rebuilt - photos)) / self.variance
        off = rebuilt_targets - tf.gather(targets, rows)
        target = tf.reduce_mean(tf.reduce_sum(tf.square(off), axis=1))
        return (
            s.pixel_weight * pixels
            + s.target_weight * target
            + _tell_apart(scaled)
            + s.decorrelation_weight * _correlation(latent)
        )


def _tell_apart(latents: Any) -> Any:
    """(2n, d): the first half has to find its neighbors, the second half, among all others."""
    tf = import_tensorflow()
    asking, answers = latents[: tf.shape(latents)[0] // 2], latents[tf.shape(latents)[0] // 2 :]
    every = tf.concat([asking, answers], axis=0)
    count = tf.shape(asking)[0]
    squared = (
        tf.reduce_sum(asking**2, 1)[:, tf.newaxis]
        + tf.reduce_sum(every**2, 1)
        - 2 * tf.matmul(asking, every, transpose_b=True)
    )
    itself = tf.one_hot(tf.range(count), tf.shape(every)[0], on_value=1e9, off_value=0.0)
    near = -tf.maximum(squared, 0) - itself
    right = tf.linalg.diag_part(near[:, count:])
    return tf.reduce_mean(tf.reduce_logsumexp(near, axis=1) - right)


def _correlation(latent: Any) -> Any:
    """(n, d) → the sum of squared correlations between its axes."""
    tf = import_tensorflow()
    centered = latent - tf.reduce_mean(latent, axis=0)
    scaled = centered / tf.sqrt(tf.reduce_mean(centered**2, axis=0) + 1e-6)
    matrix = tf.matmul(scaled, scaled, transpose_a=True) / tf.cast(tf.shape(latent)[0], tf.float32)
    return tf.reduce_sum(matrix**2) - tf.reduce_sum(tf.linalg.diag_part(matrix) ** 2)


def _scale() -> Any:
    """Return a Keras layer that multiplies by one positive number, which is learned."""
    keras, tf = import_keras(), import_tensorflow()

    class Scale(keras.layers.Layer):  # type: ignore[name-defined,misc]
        def build(self, _: Any) -> None:
            self.exponent = self.add_weight(name="exponent", shape=(), initializer="zeros")

        def call(self, latent: Any) -> Any:
            return latent * tf.exp(self.exponent)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return Scale(name="scale")
