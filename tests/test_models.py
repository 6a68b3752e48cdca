"""Networks and their model folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import models
from pipeline.config import AutoencoderSettings, PretrainedSettings
from pipeline.errors import ConfigError, DamagedArtifactError, WeightsError
from pipeline.models import autoencoder, pretrained
from pipeline.models.base import import_keras
from pipeline.store.models import ModelStore

SMALL = PretrainedSettings(
    type="pretrained",
    network="MobileNet",
    weights="random",
    include_top=False,
    layer=None,
    pooling="avg",
    input_size=32,
)


def test_the_article_network_has_the_published_parameters() -> None:
    network = autoencoder.build("article", 256, 16)
    assert network.count_params() == 138_507_923
    trainable = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    assert trainable == 138_507_475
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == [
        "InputLayer",
        *("Conv2D", "LeakyReLU", "BatchNormalization", "Flatten", "Dense", "Dense", "Reshape"),
        *("Conv2DTranspose", "LeakyReLU", "BatchNormalization") * 3,
        *("Conv2DTranspose", "Activation"),
    ]


@pytest.mark.parametrize("size", [32, 33, 50, 64, 100, 128, 255, 256])
def test_the_strided_network_takes_any_size(size: int) -> None:
    network = autoencoder.build("strided", size, 16)
    assert network.output_shape == (None, size, size, 3)
    assert network.get_layer("latent_space").output.shape == (None, 16)
    rebuilt = np.asarray(network(np.zeros((1, size, size, 3), np.float32)))
    assert np.isfinite(rebuilt).all()


def test_an_encoder_takes_raw_pixels() -> None:
    network = autoencoder.build("strided", 32, 4)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    keras = import_keras()
    half = keras.Model(network.input, network.get_layer("latent_space").output)
    expected = half.predict(pixels / np.float32(255), verbose=0)
    found = np.asarray(autoencoder.encoder(network)(pixels.astype(np.float32)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_fetched_model_gives_the_vectors_of_its_network(tmp_path: Path) -> None:
    folder = pretrained.fetch("mobile", SMALL, ModelStore(tmp_path))
    model = models.load("mobile", folder)
    photo = Image.effect_noise((50, 40), 90).convert("RGB")
    pixels = model.prepare(photo)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == np.asarray(photo.resize((32, 32), Image.Resampling.BICUBIC))).all()

    keras = import_keras()
    keras.utils.set_random_seed(SMALL.seed)
    network = keras.applications.MobileNet(
        weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
    )
    prepared = keras.applications.mobilenet.preprocess_input(pixels[np.newaxis].astype(np.float32))
    expected = network.predict(prepared, verbose=0)[0]
    found = model.encode(np.stack([pixels, pixels]))
    assert found.shape == (2, model.dim) == (2, 1024)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_random_weights_follow_from_their_seed(tmp_path: Path) -> None:
    first = pretrained.fetch("a", SMALL, ModelStore(tmp_path / "1"))
    again = pretrained.fetch("a", SMALL, ModelStore(tmp_path / "2"))
    other = pretrained.fetch("a", SMALL.model_copy(update={"seed": 8}), ModelStore(tmp_path / "3"))
    assert first.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "change", [{"resize": "box"}, {"normalise": False}, {"layer": "conv_pw_13_relu"}]
)
def test_what_changes_a_vector_changes_the_fingerprint(
    change: dict[str, object], tmp_path: Path
) -> None:
    before = pretrained.fetch("a", SMALL, ModelStore(tmp_path / "before"))
    after = pretrained.fetch("a", SMALL.model_copy(update=change), ModelStore(tmp_path / "after"))
    assert before.fingerprint != after.fingerprint


def test_weights_that_changed_on_disk_are_refused(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    folder = pretrained.fetch("a", SMALL, store)
    other = pretrained.fetch("a", SMALL.model_copy(update={"seed": 8}), store)
    folder.weights_file.write_bytes(other.weights_file.read_bytes())
    with pytest.raises(DamagedArtifactError, match="not the weights that its manifest names"):
        models.load("a", folder)


def test_weights_are_read_from_a_file(tmp_path: Path) -> None:
    keras = import_keras()
    keras.utils.set_random_seed(1)
    network = keras.applications.MobileNet(
        weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
    )
    file = tmp_path / "mobile.weights.h5"
    network.save_weights(file)
    settings = SMALL.model_copy(update={"weights": str(file)})
    store = ModelStore(tmp_path / "model")
    model = models.load("a", pretrained.fetch("a", settings, store))
    pixels = np.full((1, 32, 32, 3), 200, np.uint8)
    expected = network.predict(pixels / np.float32(127.5) - 1, verbose=0)[0]
    found = model.encode(pixels)[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)

    file.unlink()  # the model folder has what it needs
    assert store.with_recipe(models.recipe(settings)) == [store.current()]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"network": "VGG61"}, ConfigError, "no 'VGG61'; it has .*VGG16"),
        ({"network": "vgg16"}, ConfigError, "no 'vgg16'"),
        ({"layer": "fc1"}, ConfigError, "no 'fc1'; its last layers are .*conv_pw_13_relu"),
        ({"pooling": "none"}, ConfigError, "set pooling to avg or max"),
        ({"weights": "nowhere.h5"}, WeightsError, "there is no file nowhere.h5"),
        ({"weights": __file__}, WeightsError, "does not hold weights of MobileNet"),
    ],
)
def test_what_cannot_be_fetched_is_said(
    change: dict[str, str], error: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        pretrained.fetch("a", SMALL.model_copy(update=change), ModelStore(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("URL fetch failure on https://weights.example/vgg16.h5: None -- closed")

    keras = import_keras()
    monkeypatch.setattr(keras.applications, "MobileNet", no_network)
    settings = SMALL.model_copy(update={"weights": "imagenet"})
    with pytest.raises(WeightsError) as raised:
        pretrained.fetch("mobile", settings, ModelStore(tmp_path))
    assert "https://weights.example/vgg16.h5" in str(raised.value)
    assert "set engines.mobile.weights to its path" in str(raised.value)


def test_the_training_settings_are_part_of_the_recipe() -> None:
    settings = AutoencoderSettings(type="autoencoder")
    longer = settings.model_copy(
        update={"training": settings.training.model_copy(update={"epochs": 101})}
    )
    assert models.recipe(settings) != models.recipe(longer)
    assert autoencoder.embedding(settings) == autoencoder.embedding(longer)
