"""Image encoders of other projects: an ONNX file as an embedding model."""

from pipeline.models.onnx_file.model import fetch, open_network, recipe
from pipeline.models.onnx_file.text_tower import TextTower, open_tower

__all__ = ["TextTower", "fetch", "open_network", "open_tower", "recipe"]
