"""Chains of 3×3 convolutions, which VGG16 and VGG19 are: what one is, found in a Keras network."""

from __future__ import annotations

from itertools import takewhile
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from pipeline.models.keras_runtime import keras

F32Array = npt.NDArray[np.float32]
F64Array = npt.NDArray[np.float64]

PROBES = 2
"""Photos of random pixels on which what is taken for the preprocessing is compared with it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Convolution(_Part):
    """3×3, stride 1, zeros around the edges."""

    type: Literal["convolution"] = "convolution"
    name: str
    filters: int
    bias: bool
    activation: Literal["linear", "relu"]


class MaxPooling(_Part):
    """The largest of 2×2; a last odd row or column is dropped."""

    type: Literal["max_pooling"] = "max_pooling"


class Dense(_Part):
    """Of all inputs to all units."""

    name: str
    units: int
    bias: bool
    activation: Literal["linear", "relu", "softmax"]


class Chain(_Part):
    """Pixels → scaled pixels → maps → one vector → a vector of each dense layer.

    Scaled pixels are `pixels @ mixing + offset`, over the channels. Layers are known by their
    names in the Keras network, whose file of weights has them.
    """

    input_size: tuple[int, int] = Field(strict=False)
    mixing: list[list[float]]
    offset: list[float]
    maps: list[Annotated[Convolution | MaxPooling, Field(discriminator="type")]]
    end: Literal["flatten", "average", "max"]
    dense: list[Dense]

    @property
    def convolutions(self) -> list[Convolution]:
        """Those of its layers that have weights, but the dense ones."""
        return [layer for layer in self.maps if isinstance(layer, Convolution)]

    @property
    def features(self) -> int:
        """Length of the vector that the maps end in."""
        channels = self.convolutions[-1].filters
        halvings = len(self.maps) - len(self.convolutions)
        height, width = (side >> halvings for side in self.input_size)
        return height * width * channels if self.end == "flatten" else channels


def find_chain(network: Any) -> Chain | None:
    """Describe a `keras.Model` from pixels to vectors if it is such a chain, else return None.

    Before the convolutions there may be any layers and operations that together scale and shift
    the channels of pixels or mix them, as `preprocess_input` does. The convolutions may be in the
    network itself, or in one that is called behind these.

        find_chain(keras.Model(pixels, features(preprocess_input(pixels))))
    """
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        return None
    last, layers = _split(keras.Model(network.input, network.output))
    described = _describe(layers)
    size = network.inputs[0].shape[1:]
    if described is None or None in size or len(size) != 3 or not _is_called_once(last):
        return None
    scaling = _scaling(keras.Model(network.input, last.output), tuple(size))
    if scaling is None:
        return None
    return Chain(input_size=tuple(size[:2]), **scaling, **described)


def _split(model: Any) -> tuple[Any, list[Any]]:
    """The last operation before the first convolution, and the layers from there on, in order.

    Operations are in topological order and each is on the way to the one output. So if each of
    the latter ones takes one tensor, they are a chain, which begins at the end of the others.
    """
    operations = model.operations
    if isinstance(operations[-1], keras.Model):
        nested = operations[-1]
        model = keras.Model(nested.input, nested.output)
        return operations[-2], model.operations[1:]
    first = next((i for i, op in enumerate(operations) if _is_map_layer(op)), len(operations))
    return operations[first - 1], operations[first:]


def _is_map_layer(layer: Any) -> bool:
    return type(layer) in (keras.layers.Conv2D, keras.layers.MaxPooling2D)


def _describe(layers: list[Any]) -> dict[str, Any] | None:
    layers_of_maps = list(takewhile(_is_map_layer, layers))
    rest = layers[len(layers_of_maps) :]
    maps = [_map_layer(layer) for layer in layers_of_maps]
    end = _end(rest[0]) if rest else None
    dense = [_dense(layer) for layer in rest[1:]]
    known = end is not None and None not in maps and None not in dense
    convolves = any(isinstance(layer, Convolution) for layer in maps)
    if not (known and convolves and all(map(_is_plain, layers))):
        return None
    return {"maps": maps, "end": end, "dense": dense}


def _is_plain(layer: Any) -> bool:
    """Whether it computes in float32, on channels behind the pixels, and is called once."""
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return channels_last and layer.compute_dtype == "float32" and _is_called_once(layer)


def _is_called_once(operation: Any) -> bool:
    return len(operation._inbound_nodes) == 1


def _map_layer(layer: Any) -> Convolution | MaxPooling | None:
    if type(layer) is keras.layers.MaxPooling2D:
        pooling = (layer.pool_size, layer.strides, layer.padding)
        return MaxPooling() if pooling == ((2, 2), (2, 2), "valid") else None
    window = (layer.kernel_size, layer.strides, layer.dilation_rate, layer.groups, layer.padding)
    activation = keras.activations.serialize(layer.activation)
    if window != ((3, 3), (1, 1), (1, 1), 1, "same") or activation not in ("linear", "relu"):
        return None
    bias = bool(layer.use_bias)
    return Convolution(name=layer.name, filters=layer.filters, bias=bias, activation=activation)


def _end(layer: Any) -> str | None:
    ends = {
        keras.layers.Flatten: "flatten",
        keras.layers.GlobalAveragePooling2D: "average",
        keras.layers.GlobalMaxPooling2D: "max",
    }
    return None if getattr(layer, "keepdims", False) else ends.get(type(layer))


def _dense(layer: Any) -> Dense | None:
    if type(layer) is not keras.layers.Dense:
        return None
    activation = keras.activations.serialize(layer.activation)
    if activation not in ("linear", "relu", "softmax"):
        return None
    bias = bool(layer.use_bias)
    return Dense(name=layer.name, units=layer.units, bias=bias, activation=activation)


def _scaling(preprocessing: Any, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """`mixing` and `offset` of what comes before the convolutions; None if it is something else.

    Found from a black photo and from one of each pure color, then compared on random pixels.
    """
    if preprocessing.output_shape[1:] != shape:
        return None
    colors = np.vstack([np.zeros(shape[2]), 255 * np.eye(shape[2])]).astype(np.float32)
    photos = np.broadcast_to(colors[:, np.newaxis, np.newaxis], (len(colors), *shape))
    black, *pure = preprocessing(photos, training=False).numpy()[:, 0, 0]
    mixing, offset = _rounded((np.array(pure) - black) / 255), _rounded(black)
    pixels = np.random.default_rng(0).integers(0, 256, (PROBES, *shape)).astype(np.float32)
    expected = preprocessing(pixels, training=False).numpy()
    error = np.abs(pixels @ mixing + offset - expected).max()
    if not error <= 1e-6 * np.abs(expected).max():
        return None
    return {"mixing": mixing.tolist(), "offset": offset.tolist()}


def _rounded(values: F32Array) -> F64Array:
    """Rounded to the seven digits of float32: ((255 − 103.939) + 103.939) / 255 is 1 again."""
    digits = [float(f"{value:.7g}") for value in values.flat]
    return np.array(digits).reshape(values.shape)
