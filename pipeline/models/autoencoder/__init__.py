"""Convolutional autoencoders: settings → a network, trained on the catalog → an embedding model."""

from pipeline.models.autoencoder.model import embedding, load_encoder, recipe
from pipeline.models.autoencoder.network import build
from pipeline.models.autoencoder.stem import Stem, check_stem

__all__ = ["Stem", "build", "check_stem", "embedding", "load_encoder", "recipe"]
