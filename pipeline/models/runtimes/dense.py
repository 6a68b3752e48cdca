"""Dense layers by NumPy: a photo gets the same bits, whatever photos are beside it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pipeline.models.base import F32Matrix
from pipeline.models.runtimes.chain import Dense
from pipeline.models.runtimes.keras_weights import F32Array, KerasWeights

_BLOCK_ROWS = (32, 8)
_INPUTS = 2048
"""Rows of a kernel that are multiplied at a time; of fc1, 32 MB."""


class DenseLayer:
    """(n, inputs) float32 → (n, units) float32, with the weights of a Keras layer.

    layer = DenseLayer(Dense(name="fc1", units=4096, bias=True, activation="relu"), weights, 25088)

    With `quick_alone` a single row takes a fifth of the time, but is rounded differently than it
    would be beside others.
    """

    def __init__(
        self, layer: Dense, weights: KerasWeights, inputs: int, *, quick_alone: bool = False
    ) -> None:
        shapes = [(inputs, layer.units), (layer.units,)][: 1 + layer.bias]
        self._kernel, *self._bias = weights.arrays(layer.name, *shapes)
        self._activation, self._weights = layer.activation, weights
        self._quick_alone = quick_alone

    @cached_property
    def _rows(self) -> int:
        return block_rows(self._kernel)

    def __call__(self, features: F32Matrix) -> F32Matrix:
        """Multiply by the kernel, add the bias, and apply the activation."""
        output = self._product(features)
        for bias in self._bias:
            output += bias
        if self._activation == "relu":
            np.maximum(output, 0, out=output)
        elif self._activation == "softmax":
            np.exp(output - output.max(axis=1, keepdims=True, initial=-np.inf), out=output)
            output /= output.sum(axis=1, keepdims=True)
        return output

    def _product(self, features: F32Matrix) -> F32Matrix:
        """Multiply so many rows at a time, the last ones filled up with zeros; or a single one."""
        if self._quick_alone and len(features) == 1:
            return self._block_product(features)
        output = np.empty((len(features), self._kernel.shape[1]), np.float32)
        for start in range(0, len(features), self._rows):
            rows = features[start : start + self._rows]
            block = np.zeros((self._rows, features.shape[1]), np.float32)
            block[: len(rows)] = rows
            output[start : start + self._rows] = self._block_product(block)[: len(rows)]
        return output

    def _block_product(self, block: F32Matrix) -> F32Matrix:
        """Multiply by a part of the kernel at a time: memory never holds all of it."""
        product = np.zeros((len(block), self._kernel.shape[1]), np.float32)
        for start in range(0, len(self._kernel), _INPUTS):
            product += block[:, start : start + _INPUTS] @ self._kernel[start : start + _INPUTS]
            self._weights.release()
        return product


def block_rows(kernel: F32Array) -> int:
    """How many rows at a time are multiplied alike by a kernel, whichever of them a row is.

    BLAS libraries sum up in another order for other numbers of rows, and some of them, as OpenBLAS
    with AVX2, also for the last of 32 rows. The more the faster: a kernel of 411 MB is read once
    for all of them.
    """
    last = (len(kernel) - 1) // _INPUTS * _INPUTS
    parts = (kernel[:_INPUTS], kernel[last:])
    alike = (rows for rows in _BLOCK_ROWS if all(_are_alike(rows, part) for part in parts))
    return next(alike, 1)


def _are_alike(rows: int, kernel: F32Array) -> bool:
    """Whether so many equal rows have the same product, to the last bit."""
    row = np.random.default_rng(0).standard_normal((1, len(kernel)), np.float32)
    products = np.repeat(row, rows, axis=0) @ kernel
    return bool((products == products[0]).all())
