"""Convolutional autoencoders: settings → a network, trained on the catalog → an embedding model."""

from pipeline.models.autoencoder.model import embedding, load_encoder, recipe
from pipeline.models.autoencoder.network import build
from pipeline.models.autoencoder.training import covers, remove_unfinished, split, train

__all__ = [
    "build",
    "covers",
    "embedding",
    "load_encoder",
    "recipe",
    "remove_unfinished",
    "split",
    "train",
]
