"""Image encoders of other projects: an ONNX file as an embedding model."""

from pipeline.models.onnx_file.model import fetch, open_network, recipe

__all__ = ["fetch", "open_network", "recipe"]
