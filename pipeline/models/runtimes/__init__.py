"""Libraries that run a trained network, beside each other, and which of them does.

A model folder holds its network as ONNX files, which ONNX Runtime runs everywhere.
"""

from __future__ import annotations

from pipeline.models.runtimes import onnx
from pipeline.models.runtimes.base import Decoder, Network
from pipeline.models.store import WEIGHTS, ModelFolder

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"


def open_encoder(folder: ModelFolder) -> Network:
    """Open a model's network in the runtime that is best for it here.

    Raises:
        DamagedArtifactError: its files are not what was published.
    """
    folder.check(WEIGHTS)
    return onnx.OnnxNetwork(folder.check(ENCODER))


def open_decoder(folder: ModelFolder) -> Decoder | None:
    """Open what rebuilds photos from a model's vectors; None if nothing does. Raises the same."""
    if DECODER not in folder.manifest["files"]:
        return None
    folder.check(WEIGHTS)
    return onnx.OnnxNetwork(folder.check(DECODER))


def runtime_of(folder: ModelFolder) -> str:
    """Return which runtime `open_encoder` takes, and its version, without loading it."""
    return onnx.runtime()
