"""Put a trained or fetched Keras network into a model folder, for every runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.errors import WeightsError
from pipeline.models.base import U8Batch
from pipeline.models.runtimes import ncnn
from pipeline.models.runtimes.base import MAX_DIFFERENCE, difference
from pipeline.models.runtimes.export import export
from pipeline.models.runtimes.keras import KerasNetwork
from pipeline.models.runtimes.onnx import OnnxNetwork
from pipeline.models.store import CHAIN, DECODER, ENCODER, WEIGHTS

_PHOTOS = 16  # on which runtimes are compared


def write_networks(folder: Path, encoder: Any, decoder: Any = None) -> None:
    """Export networks into a model folder that holds their weights, and compare with Keras.

    `encoder` is a `keras.Model`, (n, h, w, 3) float32 in 0..255 → (n, dim); `decoder` one that
    rebuilds photos from that.

    Raises:
        WeightsError: an exported network gives other results, or Keras gives none that are finite.
            Where only ncnn gives others, the model is published without it.
    """
    photos = drawn_photos(*encoder.input_shape[1:3])
    vectors = KerasNetwork(encoder)(photos)
    export(encoder, folder / ENCODER, folder / WEIGHTS, "uint8")
    _compare("ONNX Runtime", OnnxNetwork(folder / ENCODER)(photos), vectors)
    if ncnn.export(encoder, folder) and not ncnn.unavailable():
        found = ncnn.open_network(folder)(photos)
        if not difference(found, vectors) <= MAX_DIFFERENCE:
            (folder / CHAIN).unlink()  # ONNX Runtime computes this model everywhere
    if decoder is not None:
        export(decoder, folder / DECODER, folder / WEIGHTS)
        rebuilt = np.asarray(decoder(vectors, training=False))
        _compare("ONNX Runtime", OnnxNetwork(folder / DECODER)(vectors), rebuilt)


def drawn_photos(height: int, width: int) -> U8Batch:
    """Return (16, height, width, 3) uint8: spots of color, the same at each call."""
    random = np.random.default_rng(0)

    def draw() -> Iterator[npt.NDArray[np.uint8]]:
        for _ in range(_PHOTOS):
            spots = Image.fromarray(random.integers(0, 256, (7, 5, 3), np.uint8))
            yield np.asarray(spots.resize((width, height), Image.Resampling.BICUBIC))

    return np.stack(list(draw()))


def _compare(name: str, found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    if not np.isfinite(expected).all():
        problem = "its network gives numbers that are not finite"
        raise WeightsError(problem, hint="its weights are no good")
    apart = difference(found, expected)
    if not apart <= MAX_DIFFERENCE:
        raise WeightsError(
            f"the network exported for {name} gives other numbers than Keras: they differ by"
            f" {apart:.1e} of the largest, and may by {MAX_DIFFERENCE:.0e}",
            hint="choose another network or layer, or other versions of Keras and onnxruntime",
        )
