"""A layer of noise, for training only, whose values a resumed run draws again."""

from __future__ import annotations

from typing import Any

from pipeline.models.keras_runtime import keras, tf


def noise_layer(deviation: float, seed: int = 0) -> Any:
    """Return a Keras layer that adds normal noise of a standard deviation, in training only.

    The noise follows from `seed` and the number of training steps, which is a weight of the layer.
    Keras's `GaussianNoise` keeps its state outside the weights, so a resumed run could not draw the
    same noise.
    """

    class Noise(keras.layers.Layer):  # type: ignore[misc]
        def build(self, _: Any) -> None:
            self.step = self.add_weight(
                name="step",
                shape=(),
                dtype="int32",
                initializer="zeros",
                trainable=False,
                aggregation="only_first_replica",
            )

        def call(self, x: Any, training: bool = False) -> Any:
            if not training or not deviation:
                return x
            state = tf.stack([seed, tf.convert_to_tensor(self.step)])
            noise = tf.cast(tf.random.stateless_normal(tf.shape(x), state), x.dtype)
            self.step.assign_add(1)
            return x + deviation * noise

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return Noise(name="noise")
