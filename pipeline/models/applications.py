"""Networks of `keras.applications`, built and cut."""

from __future__ import annotations

import sys
from typing import Any

from pipeline.models.keras_runtime import keras


def build(network: str, side: int, *, include_top: bool, weights: str | None = None) -> Any:
    """Build a whole network for photos of side × side; `weights` is None or `imagenet`.

        build("VGG16", 224, include_top=True)

    Raises:
        AttributeError: `keras.applications` has no such network.
        ValueError: the network takes no photos of this size.
    """
    function = getattr(keras.applications, network)
    return function(weights=weights, include_top=include_top, input_shape=(side, side, 3))


def preprocess(network: str, pixels: Any) -> Any:
    """(n, h, w, 3) float32 in 0..255 → the same, as the network takes them."""
    # `preprocess_input` is in the module that defines the network.
    module = sys.modules[getattr(keras.applications, network).__module__]
    return module.preprocess_input(pixels)


def cut(network: Any, output: Any) -> Any:
    """Return the part of a network from its input to `output`, with the same weights.

    It is a copy: the layers before the cut would keep those behind it in memory.
    """
    front = keras.Model(network.input, output)
    copy = keras.models.clone_model(front)
    copy.set_weights(front.get_weights())
    return copy
