"""Convolutional autoencoders: settings → a network, trained on the catalog → an embedding model."""

from pipeline.models.autoencoder.model import embedding, load_encoder, recipe
from pipeline.models.autoencoder.network import build

__all__ = ["build", "embedding", "load_encoder", "recipe"]
