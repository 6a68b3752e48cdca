"""ncnn: for chains of 3×3 convolutions, on CPUs.

Winograd's F(4×4, 3×3) needs a quarter of the multiplications of a 3×3 convolution, so VGG16 takes
half the time that it takes in Keras. ncnn computes its convolutions, a photo on each core; NumPy
its dense layers. The weights are those in the file of Keras: there is no second copy on the disk.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from pipeline.artifacts import damaged, write_atomic
from pipeline.concurrency import cores, ordered_map
from pipeline.models.base import F32Matrix, U8Batch
from pipeline.models.runtimes.chain import Chain, find_chain
from pipeline.models.runtimes.dense import DenseLayer
from pipeline.models.runtimes.keras_weights import F32Array, KerasWeights
from pipeline.models.store import CHAIN, WEIGHTS


def runtime() -> str:
    """Return the runtime's name and version, without importing it."""
    return f"ncnn {version('ncnn')}"


@cache
def unavailable() -> str | None:
    """Say in one line why ncnn cannot be used here; None if it can.

    Where there is no wheel for the platform, it is not installed.
    """
    try:
        importlib.import_module("ncnn")
    except (ImportError, OSError) as error:  # missing; or built for another system
        return " ".join(str(error).split())
    return None


def export(network: Any, folder: Path) -> bool:
    """Write what ncnn needs to know of a `keras.Model` beside its weights, if it is a chain.

    `network` takes pixels, (n, h, w, 3) float32 in 0..255. Its weights, or those of the network
    that it calls behind its preprocessing, are or will be in the folder's `model.weights.h5`.
    Returns whether it is a chain of 3×3 convolutions; if not, nothing is written.

        if not ncnn.export(network, folder): onnx.export(network, folder)
    """
    chain = find_chain(network)
    if chain is not None:
        write_atomic(folder / CHAIN, chain.model_dump_json(indent=1).encode() + b"\n")
    return chain is not None


def open_network(
    folder: Path, threads: int | None = None, *, for_queries: bool = False
) -> NcnnNetwork:
    """Load a folder that `export` wrote into; `threads` photos at a time, by default one a core.

    With `for_queries`, a photo alone takes less time, and is rounded differently.

        network = open_network(model_folder.path)

    Raises:
        DamagedArtifactError: one of its two files cannot be read, or does not fit the other.
        ImportError: ncnn cannot be imported; ask `unavailable` before.
    """
    chain = _read_chain(folder / CHAIN)
    return NcnnNetwork(chain, folder / WEIGHTS, threads or cores(), for_queries)


def _read_chain(file: Path) -> Chain:
    try:
        return Chain.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError) as error:
        raise damaged(file, "it does not describe a network") from error


class NcnnNetwork:
    """A chain of convolutions and its dense layers, as a `Network`."""

    def __init__(
        self, chain: Chain, weights_file: Path, threads: int, for_queries: bool = False
    ) -> None:
        # Imports ncnn, which may not be installed.
        from pipeline.models.runtimes import ncnn_net

        self.runtime = runtime()
        self._chain, self._threads = chain, threads
        self._mixing = np.array(chain.mixing, np.float32)
        self._offset = np.array(chain.offset, np.float32)
        with KerasWeights(weights_file) as weights:
            self._convolutions = ncnn_net.Convolutions(chain, weights)
            inputs = [chain.features, *(layer.units for layer in chain.dense)]
            layers = zip(chain.dense, inputs, strict=False)
            self._dense = [
                DenseLayer(layer, weights, count, quick_alone=for_queries)
                for layer, count in layers
            ]

    def __call__(self, pixels: U8Batch) -> F32Matrix:
        """(n, height, width, 3) uint8 → (n, dim) float32, C-contiguous; n may be 0.

        A photo gets the same vector, to the last bit, whatever photos are beside it, but for a
        photo alone if opened `for_queries`.
        """
        vectors = np.empty((len(pixels), self._chain.features), np.float32)
        features = ordered_map(self._features, pixels, self._threads, ahead=2 * self._threads)
        for row, vector in enumerate(features):
            vectors[row] = vector
        for layer in self._dense:
            vectors = layer(vectors)
        return vectors

    def _features(self, pixels: U8Batch) -> F32Array:
        """The vector that the maps of a photo end in: (h, w, 3) uint8 → (features,) float32."""
        maps = self._convolutions(self._scaled(pixels))
        if self._chain.end == "flatten":
            return maps.transpose(1, 2, 0).reshape(-1)  # Keras has the channels last
        pooled: F32Array = maps.mean((1, 2)) if self._chain.end == "average" else maps.max((1, 2))
        return pooled

    def _scaled(self, pixels: U8Batch) -> F32Array:
        """(h, w, channels) uint8 → (channels, h, w) float32, as the first convolution takes it."""
        planes = np.einsum("hwi,io->ohw", pixels.astype(np.float32), self._mixing, optimize=False)
        return np.ascontiguousarray(planes + self._offset[:, np.newaxis, np.newaxis])
