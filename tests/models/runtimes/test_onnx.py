"""Exported networks in ONNX Runtime, against Keras."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest

from pipeline.errors import DamagedArtifactError, WeightsError
from pipeline.models.autoencoder import model, network
from pipeline.models.keras_runtime import dtype_policy, fresh_names_and_seeds, keras
from pipeline.models.runtimes import publish
from pipeline.models.runtimes.base import difference, max_rounding
from pipeline.models.runtimes.export import export
from pipeline.models.runtimes.onnx import OnnxNetwork, open_published
from pipeline.models.runtimes.publish import drawn_photos, write_networks
from pipeline.models.store import CHAIN, DECODER, ENCODER, WEIGHTS
from pipeline.models.weights import save_weights


def mobile() -> Any:
    """Depthwise and pointwise convolutions, batch normalization, and a preprocessing."""
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.ReLU(6)(layers.BatchNormalization()(x))
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3)(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(24, 1)(x))
    features = keras.Model(image, layers.Dense(200)(x))
    pixels = keras.Input((32, 32, 3))
    preprocessed = keras.applications.mobilenet.preprocess_input(pixels)
    return keras.Model(pixels, features(preprocessed))


def autoencoder(architecture: str, size: int) -> Callable[[], Any]:
    return lambda: model.encoder(network.build(architecture, size, 5, standardize=True))


NETWORKS: dict[str, Callable[[], Any]] = {
    "mobile": mobile,
    "article": autoencoder("article", 32),
    "strided": autoencoder("strided", 40),
    "descriptor": autoencoder("descriptor", 32),
}


@pytest.fixture(params=NETWORKS)
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A network from raw pixels to vectors, whose weights are in a file; none is left as it was."""
    with fresh_names_and_seeds(3), dtype_policy("float32"):
        built = NETWORKS[request.param]()
    random = np.random.default_rng(1)
    for weight in built.weights:
        if "kernel" not in weight.path:  # means, variances, scales and biases are 0 or 1
            noise = random.uniform(-0.2, 0.2, weight.shape)
            weight.assign(np.asarray(weight) + noise.astype(weight.dtype))
    save_weights(built, tmp_path / WEIGHTS)
    return built


def test_vectors_are_those_of_keras_alone_and_beside_others(encoder: Any, tmp_path: Path) -> None:
    export(encoder, tmp_path / ENCODER, tmp_path / WEIGHTS, "uint8")
    photos = drawn_photos(*encoder.input_shape[1:3])
    vectors = OnnxNetwork(tmp_path / ENCODER)(photos)
    expected = np.asarray(encoder(photos.astype(np.float32), training=False))
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert np.abs(vectors - expected).max() <= 1e-5 * np.abs(expected).max()
    assert len(np.unique(vectors.round(6), axis=0)) == len(photos)
    again = OnnxNetwork(tmp_path / ENCODER)
    for rows in (slice(0, 1), slice(3, 6), slice(15, 16), slice(0, 0)):
        assert (again(photos[rows]) == vectors[rows]).all()
        assert again(photos[rows]).shape == expected[rows].shape


def test_an_export_has_the_same_bytes_each_time_and_no_second_copy_of_weights(
    encoder: Any, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("one.onnx", "two.onnx")]
    for file in files:
        export(encoder, file, tmp_path / WEIGHTS, "uint8")
    assert files[0].read_bytes() == files[1].read_bytes()
    large = [weight for weight in map(np.asarray, encoder.weights) if weight.nbytes >= 2**14]
    exported = onnx.load(files[0], load_external_data=False).graph.initializer
    places = [
        {entry.key: entry.value for entry in tensor.external_data}
        for tensor in exported
        if tensor.external_data
    ]
    assert {place["location"] for place in places} == {WEIGHTS}
    assert len(places) == len(large)
    stored = (tmp_path / WEIGHTS).read_bytes()
    for place in places:
        at = int(place["offset"])
        data = stored[at : at + int(place["length"])]
        assert any(data == weight.tobytes() for weight in large)
    small = sum(weight.nbytes for weight in map(np.asarray, encoder.weights)) - sum(
        weight.nbytes for weight in large
    )
    assert files[0].stat().st_size < small + 200_000


def test_weights_that_are_stored_in_chunks_are_copied(tmp_path: Path) -> None:
    encoder = autoencoder("strided", 32)()
    save_weights(encoder, tmp_path / "plain.weights.h5")
    with (
        h5py.File(tmp_path / "plain.weights.h5") as plain,
        h5py.File(tmp_path / WEIGHTS, "w") as chunked,
    ):

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                chunked.create_dataset(name, data=item[()], chunks=True if item.shape else None)

        plain.visititems(copy)
    export(encoder, tmp_path / ENCODER, tmp_path / WEIGHTS, "uint8")
    photos = drawn_photos(32, 32)
    expected = np.asarray(encoder(photos.astype(np.float32), training=False))
    assert difference(OnnxNetwork(tmp_path / ENCODER)(photos), expected) <= 1e-5


@pytest.mark.parametrize("architecture", ["article", "strided"])
def test_photos_are_rebuilt_as_by_keras(architecture: str, tmp_path: Path) -> None:
    whole = network.build(architecture, 32, 5)
    save_weights(whole, tmp_path / WEIGHTS)
    write_networks(tmp_path, model.encoder(whole), model.decoder(whole))
    assert not (tmp_path / CHAIN).exists()
    photos = drawn_photos(32, 32)
    vectors = OnnxNetwork(tmp_path / ENCODER)(photos)
    rebuilt = OnnxNetwork(tmp_path / DECODER)(vectors)
    expected = np.asarray(whole(photos / np.float32(255), training=False))
    assert rebuilt.shape == photos.shape
    np.testing.assert_allclose(rebuilt, expected, atol=1e-5)


@pytest.mark.parametrize("data", [b"", b"no network", bytes(200)])
def test_what_is_no_network_is_one_error(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / ENCODER
    file.write_bytes(data)
    with pytest.raises(DamagedArtifactError, match="no network that ONNX Runtime can run"):
        open_published(file)


def test_a_network_whose_weights_are_missing_is_one_error(tmp_path: Path) -> None:
    encoder = autoencoder("strided", 32)()
    save_weights(encoder, tmp_path / WEIGHTS)
    export(encoder, tmp_path / ENCODER, tmp_path / WEIGHTS, "uint8")
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(DamagedArtifactError, match="no network that ONNX Runtime can run"):
        open_published(tmp_path / ENCODER)


def test_a_network_that_differs_from_keras_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = autoencoder("strided", 32)()
    save_weights(encoder, tmp_path / WEIGHTS)

    def slightly_off(network: Any, file: Path, *rest: Any) -> None:
        kernel = next(weight for weight in network.weights if weight.path.endswith("kernel"))
        kernel.assign(np.asarray(kernel) * np.float32(1.001))
        save_weights(network, tmp_path / WEIGHTS)
        export(network, file, *rest)

    monkeypatch.setattr(publish, "export", slightly_off)
    with pytest.raises(WeightsError, match="the network exported for ONNX Runtime gives other"):
        write_networks(tmp_path, encoder)


def test_weights_that_are_not_finite_are_not_published(tmp_path: Path) -> None:
    encoder = autoencoder("strided", 32)()
    encoder.weights[0].assign(np.full(encoder.weights[0].shape, np.nan, np.float32))
    save_weights(encoder, tmp_path / WEIGHTS)
    with pytest.raises(WeightsError, match="not finite"):
        write_networks(tmp_path, encoder)


def test_the_rounding_of_runtimes_bounds_how_far_apart_they_put_a_photo() -> None:
    random = np.random.default_rng(0)
    for dim in (1, 16, 4096):
        vector = random.standard_normal(dim).astype(np.float32)
        off = np.abs(vector).max() * 1e-5 * random.choice([-1, 1], dim)
        assert 0 < np.linalg.norm(off) <= max_rounding(vector) * (1 + 1e-6)


def test_nothing_is_written_to_the_home_and_nobody_is_told(tmp_path: Path) -> None:
    """The library's telemetry would keep an identifier there, and send events."""
    encoder = autoencoder("strided", 32)()
    save_weights(encoder, tmp_path / WEIGHTS)
    export(encoder, tmp_path / ENCODER, tmp_path / WEIGHTS, "uint8")
    home = tmp_path / "home"
    home.mkdir()
    program = f"""
import os
from pathlib import Path
import numpy as np
from pipeline.models.runtimes.onnx import OnnxNetwork
OnnxNetwork(Path({str(tmp_path / ENCODER)!r}))(np.zeros((1, 32, 32, 3), np.uint8))
assert "ORT_DISABLE_TELEMETRY" not in os.environ
"""
    environment = {**os.environ, "HOME": str(home)}
    environment.pop("XDG_CACHE_HOME", None)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert list(home.iterdir()) == []
