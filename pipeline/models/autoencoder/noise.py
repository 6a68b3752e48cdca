"""Noise on what a layer gives, in training only, that a resumed run draws as an undisturbed one."""

from __future__ import annotations

from typing import Any

from pipeline.models.base import import_keras, import_tensorflow


def layer(deviation: float, seed: int = 0) -> Any:
    """Return a Keras layer that adds normal noise; which one follows from the steps so far.

    Keras's own keeps the state of its generator where no weights file has it.
    """
    keras, tf = import_keras(), import_tensorflow()

    class Noise(keras.layers.Layer):  # type: ignore[name-defined,misc]
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
