"""What an autoencoder is known by, and its two halves."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.config import AutoencoderSettings
from pipeline.models.autoencoder import network as networks
from pipeline.models.autoencoder.stem import Stem
from pipeline.models.keras_runtime import compiled, dtype_policy, fresh_names_and_seeds, keras, tf
from pipeline.models.reconstruction import Rebuild
from pipeline.models.store import ModelFolder
from pipeline.models.weights import load_weights


def embedding(settings: AutoencoderSettings, stem: Stem | None = None) -> dict[str, Any]:
    """Return the settings that decide, with the weights, what a photo's vector is."""
    fields = "type architecture input_size latent_dim standardize resize normalize"
    spec = {"version": 1, **settings.model_dump(mode="json", include={*fields.split()})}
    return spec | ({"stem": [stem.network, stem.layer]} if stem else {})


def recipe(settings: AutoencoderSettings) -> dict[str, Any]:
    """Return the settings that decide what the weights are, photos aside."""
    training = settings.training.model_dump(mode="json", exclude={"retrain_share"})
    stem = {"stem_layer": settings.stem_layer} if settings.stem_layer else {}
    return {**embedding(settings), **stem, "training": training}


def load_encoder(folder: ModelFolder) -> Any:
    """Load the encoder of a trained autoencoder into Keras; raises what `load_weights` raises."""
    spec = folder.embedding
    architecture, size, dim = (spec[key] for key in ("architecture", "input_size", "latent_dim"))
    stem = Stem(*spec["stem"]) if "stem" in spec else None
    with fresh_names_and_seeds(), dtype_policy("float32"):
        network = networks.build(
            architecture, size, dim, standardize=spec["standardize"], stem=stem
        )
        half = encoder(network)
    load_weights(network, folder)
    return half


def encoder(network: Any) -> Any:
    """The first half of an autoencoder: (n, size, size, 3) float32 in 0..255 → (n, latent_dim)."""
    pixels = keras.Input(network.input_shape[1:])
    inner = keras.Model(network.input, network.get_layer(networks.LATENT).output)
    return keras.Model(pixels, inner(pixels / 255.0))


def decoder(network: Any) -> Any:
    """The second half of an autoencoder: (n, latent_dim) → (n, size, size, 3) float32 in 0..1."""
    return keras.Model(network.get_layer(networks.LATENT).output, network.output)


def rebuild(network: Any) -> Rebuild:
    """An autoencoder as a function that rebuilds photos, in Keras."""

    def from_pixels(pixels: Any) -> Any:
        return network(tf.cast(pixels, tf.float32) / 255.0, training=False)

    compiled_ = compiled(from_pixels, network.input_shape[1:], tf.uint8)
    return lambda pixels: np.asarray(compiled_(pixels))
