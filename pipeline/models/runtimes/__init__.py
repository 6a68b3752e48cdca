"""Libraries that run a trained network, beside each other, and which of them does.

A model folder holds its network as ONNX files, which ONNX Runtime runs everywhere. ncnn is twice as
fast for chains of 3×3 convolutions.
"""

from __future__ import annotations

from pipeline.models.runtimes import onnx
from pipeline.models.runtimes.base import Decoder, Network
from pipeline.models.store import CHAIN, DECODER, ENCODER, WEIGHTS, ModelFolder


def open_encoder(folder: ModelFolder, *, for_queries: bool = False) -> Network:
    """Open a model's network in the runtime that is best for it here.

    With `for_queries`, a photo alone takes less time where it may be rounded differently.

    Raises:
        DamagedArtifactError: its files are not what was published.
    """
    folder.check(WEIGHTS)
    if _is_for_ncnn(folder):
        from pipeline.models.runtimes import ncnn

        folder.check(CHAIN)
        return ncnn.open_network(folder.path, for_queries=for_queries)
    return onnx.open_published(folder.check(ENCODER))


def open_decoder(folder: ModelFolder) -> Decoder | None:
    """Open what rebuilds photos from a model's vectors; None if nothing does. Raises the same."""
    if DECODER not in folder.manifest["files"]:
        return None
    folder.check(WEIGHTS)
    return onnx.open_published(folder.check(DECODER))


def runtime_of(folder: ModelFolder) -> str:
    """Return which runtime `open_encoder` takes, and its version, without loading the network."""
    if _is_for_ncnn(folder):
        from pipeline.models.runtimes import ncnn

        return ncnn.runtime()
    return onnx.runtime()


def missing_runtime(folder: ModelFolder) -> str | None:
    """Say in one line why a faster runtime than that of `open_encoder` cannot be had here."""
    if CHAIN not in folder.manifest["files"] or _is_for_ncnn(folder):
        return None
    from pipeline.models.runtimes import ncnn

    return f"ncnn, twice as fast, cannot be used here ({ncnn.unavailable()})"


def _is_for_ncnn(folder: ModelFolder) -> bool:
    if CHAIN not in folder.manifest["files"]:
        return False
    from pipeline.models.runtimes import ncnn

    return ncnn.unavailable() is None
