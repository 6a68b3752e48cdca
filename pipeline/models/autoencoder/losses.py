"""Losses of training: squared errors of pixels alone, or with distillation."""

from __future__ import annotations

from typing import Any

from pipeline.config import DistillationSettings
from pipeline.models.autoencoder.network import LATENT, trained_input
from pipeline.models.keras_runtime import keras, tf


class PixelLoss:
    """The mean squared error of rebuilt pixels, as in the article."""

    def __init__(self, network: Any) -> None:
        self.model = network
        """A `keras.Model`: the network, and the further layers that only training needs."""

    def __call__(
        self, inputs: Any, expected: Any, rows: Any, targets: Any, *, training: bool
    ) -> Any:
        """Return the mean loss over the photos of a batch, a scalar tensor.

        `inputs` and `expected` are (n, h, w, 3) float32 in 0..1. `rows` are (n,) int64, the
        photos' rows in `targets`, which is (photos, components) float32, or None without
        distillation.
        """
        rebuilt = tf.cast(self.model(inputs, training=training), tf.float32)
        return tf.reduce_mean(tf.square(rebuilt - expected))


class DistillationLoss:
    """Rebuild pixels and targets, keep neighbors near, and decorrelate the axes of the latent.

    - The squared errors of pixels and targets are divided by the variance of each.
    - InfoNCE: of all photos in the batch, each one's neighbor has to be the nearest to it, by
      exp(−‖s·z−s·y‖²) (van den Oord, Li and Vinyals, Representation learning with contrastive
      predictive coding, 2018, with the Gaussian kernel of stochastic neighbor embedding). The
      scale s is learned.
    - Squared correlations between axes are added up, as by Bardes, Ponce and LeCun, VICReg,
      ICLR 2022: without this term a few axes carry everything.
    """

    def __init__(
        self, network: Any, settings: DistillationSettings, components: int, variance: float
    ) -> None:
        self.settings, self.variance = settings, variance
        latent = network.get_layer(LATENT).output
        targets = keras.layers.Dense(components, name="targets")(latent)
        outputs = [network.output, targets, latent, _scale_layer()(latent)]
        self.model = keras.Model(trained_input(network), outputs, name="distillation")

    def __call__(
        self, inputs: Any, expected: Any, rows: Any, targets: Any, *, training: bool
    ) -> Any:
        """Return the weighted sum; the batch is arranged by `distillation.pairs`."""
        rebuilt, rebuilt_targets, latent, scaled = (
            tf.cast(output, tf.float32) for output in self.model(inputs, training=training)
        )
        pixel_error = tf.reduce_mean(tf.square(rebuilt - expected)) / self.variance
        difference = rebuilt_targets - tf.gather(targets, rows)
        target_error = tf.reduce_mean(tf.reduce_sum(tf.square(difference), axis=1))
        return (
            self.settings.pixel_weight * pixel_error
            + self.settings.target_weight * target_error
            + info_nce(scaled)
            + self.settings.decorrelation_weight * squared_correlations(latent)
        )


TrainingLoss = PixelLoss | DistillationLoss


def info_nce(latents: Any) -> Any:
    """(2n, d) → a scalar: −log of the share that each of the first n gives to its neighbor.

    Row n + i is the neighbor of row i; the share is among all rows but i.
    """
    half = tf.shape(latents)[0] // 2
    anchors, positives = latents[:half], latents[half:]
    candidates = tf.concat([anchors, positives], axis=0)
    squared_distances = (
        tf.reduce_sum(anchors**2, 1)[:, tf.newaxis]
        + tf.reduce_sum(candidates**2, 1)
        - 2 * tf.matmul(anchors, candidates, transpose_b=True)
    )
    itself = tf.one_hot(tf.range(half), tf.shape(candidates)[0], on_value=1e9, off_value=0.0)
    logits = -tf.maximum(squared_distances, 0) - itself
    of_neighbor = tf.linalg.diag_part(logits[:, half:])
    return tf.reduce_mean(tf.reduce_logsumexp(logits, axis=1) - of_neighbor)


def squared_correlations(latent: Any) -> Any:
    """(n, d) → a scalar: the sum of squared correlations between different axes."""
    centered = latent - tf.reduce_mean(latent, axis=0)
    scaled = centered / tf.sqrt(tf.reduce_mean(centered**2, axis=0) + 1e-6)
    matrix = tf.matmul(scaled, scaled, transpose_a=True) / tf.cast(tf.shape(latent)[0], tf.float32)
    return tf.reduce_sum(matrix**2) - tf.reduce_sum(tf.linalg.diag_part(matrix) ** 2)


def _scale_layer() -> Any:
    """Return a Keras layer that multiplies by one positive number, which is learned."""

    class Scale(keras.layers.Layer):  # type: ignore[misc]
        def build(self, _: Any) -> None:
            self.exponent = self.add_weight(name="exponent", shape=(), initializer="zeros")

        def call(self, latent: Any) -> Any:
            return latent * tf.exp(self.exponent)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return Scale(name="scale")
