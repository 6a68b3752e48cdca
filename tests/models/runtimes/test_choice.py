"""Which runtime a model is opened in, and that all agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import models
from pipeline.embedding import embed_photos
from pipeline.errors import DamagedArtifactError
from pipeline.models import runtimes
from pipeline.models.keras_runtime import keras
from pipeline.models.network_model import NetworkModel
from pipeline.models.runtimes import keras as keras_network
from pipeline.models.runtimes import ncnn
from pipeline.models.runtimes.publish import drawn_photos, write_networks
from pipeline.models.store import CHAIN, ENCODER, WEIGHTS, ModelFolder, ModelStore
from pipeline.models.weights import save_weights
from pipeline.progress import Silent
from tests.conftest import ENGINE, ColorModel, Shop

EMBEDDING = {"type": "pretrained", "input_size": 24, "resize": "bilinear", "normalize": True}


def chain() -> object:
    """From raw pixels by two convolutions of 3×3 to a vector."""
    keras.utils.set_random_seed(4)
    pixels = keras.Input((24, 24, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(pixels / 255.0)
    x = keras.layers.MaxPooling2D(2)(keras.layers.Conv2D(12, 3, padding="same")(x))
    return keras.Model(pixels, keras.layers.Dense(30)(keras.layers.Flatten()(x)))


@pytest.fixture(scope="module")
def network() -> object:
    return chain()


@pytest.fixture
def folder(network: object, tmp_path: Path) -> ModelFolder:
    """A model of it, as it is published."""

    def write(folder: Path) -> None:
        save_weights(network, folder / WEIGHTS)
        write_networks(folder, network)

    content = {"recipe": {}, "embedding": EMBEDDING, "dim": 30, "weights": "of seed 4"}
    return ModelStore(tmp_path).publish(content, write)


def vectors_by_keras(network: object, folder: ModelFolder) -> np.ndarray:
    model = NetworkModel("a", folder, keras_network.KerasNetwork(network))
    return model.encode(drawn_photos(24, 24))


@pytest.mark.skipif(bool(ncnn.unavailable()), reason="ncnn is not installed here")
def test_a_chain_of_convolutions_is_run_by_ncnn(network: object, folder: ModelFolder) -> None:
    model = models.load("a", folder)
    assert model.runtime == runtimes.runtime_of(folder) == ncnn.runtime()
    assert runtimes.missing_runtime(folder) is None
    expected = vectors_by_keras(network, folder)
    found = model.encode(drawn_photos(24, 24))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    (folder.path / CHAIN).write_text("{}")
    with pytest.raises(DamagedArtifactError, match=CHAIN):
        models.load("a", folder)


@pytest.mark.skipif(bool(ncnn.unavailable()), reason="ncnn is not installed here")
def test_where_ncnn_gives_other_vectors_the_exported_network_answers(
    network: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_network = ncnn.open_network

    def slightly_off(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
        right = open_network(folder)
        return lambda pixels: right(pixels) * np.float32(1.0001)

    monkeypatch.setattr(ncnn, "open_network", slightly_off)
    save_weights(network, tmp_path / WEIGHTS)
    write_networks(tmp_path, network)
    assert not (tmp_path / CHAIN).exists()
    assert (tmp_path / ENCODER).exists()


def test_without_ncnn_the_same_vectors_come_from_onnx_runtime(
    network: object, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ncnn, "unavailable", lambda: "No module named 'ncnn'")
    model = models.load("a", folder)
    assert model.runtime == runtimes.runtime_of(folder)
    assert model.runtime.startswith("onnxruntime ")
    assert "No module named 'ncnn'" in (runtimes.missing_runtime(folder) or "")
    expected = vectors_by_keras(network, folder)
    found = model.encode(drawn_photos(24, 24))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", [ENCODER, WEIGHTS])
def test_files_that_changed_on_disk_are_refused(
    name: str, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ncnn, "unavailable", lambda: "absent")
    data = bytearray((folder.path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder.path / name).write_bytes(data)
    with pytest.raises(DamagedArtifactError, match="its content has changed"):
        models.load("a", folder)


def test_keras_embeds_where_tensorflow_sees_a_gpu(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models.load_on_gpu("a", folder) is None  # or these tests run where there is one
    monkeypatch.setattr(keras_network, "has_gpu", lambda: True)
    monkeypatch.setattr(models.pretrained, "load_encoder", lambda folder: chain())
    on_gpu = models.load_on_gpu("a", folder)
    assert on_gpu is not None
    assert on_gpu.runtime == f"keras {keras.__version__}"
    expected = on_gpu.encode(drawn_photos(24, 24))
    found = models.load("a", folder).encode(drawn_photos(24, 24))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_embedding_says_once_that_a_faster_runtime_is_missing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ncnn, "unavailable", lambda: "no wheel")

    def load(name: str, folder: ModelFolder, **_: object) -> ColorModel:
        return ColorModel(name, runtime=runtimes.runtime_of(folder))

    monkeypatch.setattr(models, "load", load)
    content = {
        "recipe": models.recipe(shop.config.engines[ENGINE]),
        "embedding": {"type": "pretrained", "input_size": 4, "resize": "nearest"},
        "dim": 3,
        "weights": "any",
    }
    shop.engine.models.publish(content, lambda folder: (folder / CHAIN).write_text("{}"))
    shop.offer({"a": [(1, 2, 3), (3, 2, 1)], "b": [(4, 5, 6)]})
    notes = Notes()
    assert embed_photos(shop.engine, shop.catalog, notes).embedded == 3
    (said,) = notes.said
    assert said.startswith("color: ncnn, twice as fast, cannot be used here (no wheel); ")
    assert embed_photos(shop.engine, shop.catalog, notes).already == 3
    assert len(notes.said) == 1
