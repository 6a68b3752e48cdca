"""Networks and their model folders."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import models
from pipeline.config import AutoencoderSettings, PretrainedSettings
from pipeline.errors import ConfigError, DamagedArtifactError, WeightsError
from pipeline.models import autoencoder, pretrained
from pipeline.models.autoencoder.model import encoder
from pipeline.models.keras_runtime import keras
from pipeline.models.store import WEIGHTS, ModelFolder, ModelStore
from pipeline.models.weights import save_weights, weights_digest
from pipeline.progress import Silent

SMALL = PretrainedSettings(
    type="pretrained",
    network="MobileNet",
    weights="random",
    include_top=False,
    layer="conv_pw_1_relu",
    pooling="avg",
    input_size=32,
    when_unavailable="fail",
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
    half = keras.Model(network.input, network.get_layer("latent_space").output)
    expected = half.predict(pixels / np.float32(255), verbose=0)
    found = np.asarray(encoder(network)(pixels.astype(np.float32)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def whole_mobilenet(seed: int) -> Any:
    keras.utils.set_random_seed(seed)
    return keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))


def mobilenet(seed: int) -> Any:
    """SMALL's network."""
    whole = whole_mobilenet(seed)
    maps = whole.get_layer(SMALL.layer).output
    return keras.Model(whole.input, keras.layers.GlobalAveragePooling2D()(maps))


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """SMALL; not to be changed."""
    return pretrained.fetch("mobile", SMALL, ModelStore(tmp_path_factory.mktemp("fetched")))


def test_a_fetched_model_gives_the_vectors_of_its_network(fetched: ModelFolder) -> None:
    model = models.load("mobile", fetched)
    photo = Image.effect_noise((50, 40), 90).convert("RGB")
    pixels = model.prepare(photo)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == np.asarray(photo.resize((32, 32), Image.Resampling.BICUBIC))).all()

    network = mobilenet(SMALL.seed)
    prepared = keras.applications.mobilenet.preprocess_input(pixels[np.newaxis].astype(np.float32))
    expected = network.predict(prepared, verbose=0)[0]
    found = model.encode(np.stack([pixels, pixels]))
    assert found.shape == (2, model.dim) == (2, 64)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


@pytest.mark.usefixtures("not_exported")
def test_random_weights_follow_from_their_seed(fetched: ModelFolder, tmp_path: Path) -> None:
    again = pretrained.fetch("a", SMALL, ModelStore(tmp_path / "2"))
    other = pretrained.fetch("a", SMALL.model_copy(update={"seed": 8}), ModelStore(tmp_path / "3"))
    assert fetched.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.usefixtures("not_exported")
@pytest.mark.parametrize(
    "change", [{"resize": "box"}, {"normalize": False}, {"layer": "conv_dw_2"}]
)
def test_what_changes_a_vector_changes_the_fingerprint(
    change: dict[str, object], fetched: ModelFolder, tmp_path: Path
) -> None:
    after = pretrained.fetch("a", SMALL.model_copy(update=change), ModelStore(tmp_path / "after"))
    assert fetched.fingerprint != after.fingerprint


@pytest.mark.usefixtures("not_exported")
def test_weights_that_changed_on_disk_are_refused(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    folder = pretrained.fetch("a", SMALL, store)
    other = pretrained.fetch("a", SMALL.model_copy(update={"seed": 8}), store)
    folder.weights_file.write_bytes(other.weights_file.read_bytes())
    with pytest.raises(DamagedArtifactError, match="its content has changed"):
        models.load("a", folder)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of SMALL's network; not to be changed."""
    file = tmp_path_factory.mktemp("weights") / "mobile.weights.h5"
    whole_mobilenet(1).save_weights(file)
    return file


def weights_at(file: Path, **settings: object) -> PretrainedSettings:
    return SMALL.model_copy(update={"weights": str(file), **settings})


def test_weights_are_read_from_a_file(weights_file: Path, tmp_path: Path) -> None:
    network = mobilenet(1)
    file = tmp_path / "mobile.weights.h5"
    shutil.copy(weights_file, file)
    settings = SMALL.model_copy(update={"weights": str(file)})
    store = ModelStore(tmp_path / "model")
    model = models.load("a", pretrained.fetch("a", settings, store))
    pixels = np.full((1, 32, 32, 3), 200, np.uint8)
    expected = network.predict(pixels / np.float32(127.5) - 1, verbose=0)[0]
    found = model.encode(pixels)[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)

    file.unlink()  # the model folder has what it needs
    assert store.with_recipe(models.recipe(settings)) == [store.current()]


@pytest.mark.usefixtures("not_exported")
def test_a_file_of_weights_may_be_known_by_its_checksum(weights_file: Path, tmp_path: Path) -> None:
    checksum = hashlib.sha256(weights_file.read_bytes()).hexdigest()
    store = ModelStore(tmp_path)
    checked = weights_at(weights_file, sha256=checksum)
    folder = pretrained.fetch("a", checked, store)
    assert folder.manifest["random_weights"] is False
    # Told or computed, it is the same model, and so it is where the file cannot be read.
    assert store.with_recipe(models.recipe(weights_at(weights_file))) == [folder]
    assert store.with_recipe(models.recipe(checked, read_file=False)) == [folder]
    assert store.with_recipe(models.recipe(weights_at(tmp_path / "gone", sha256=checksum))) == [
        folder
    ]
    assert store.with_recipe(models.recipe(weights_at(weights_file, sha256="0" * 64))) == []


@pytest.mark.parametrize("when_unavailable", ["fail", "random"])
def test_a_file_with_another_checksum_is_refused(
    weights_file: Path, when_unavailable: str, tmp_path: Path
) -> None:
    settings = weights_at(weights_file, sha256="0" * 64, when_unavailable=when_unavailable)
    with pytest.raises(WeightsError, match=f"{weights_file} has not the SHA-256 that engines.a"):
        pretrained.fetch("a", settings, ModelStore(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("when_unavailable", ["fail", "random"])
def test_a_file_that_does_not_fit_is_refused(when_unavailable: str, tmp_path: Path) -> None:
    settings = weights_at(Path(__file__), when_unavailable=when_unavailable)
    with pytest.raises(WeightsError, match="does not hold weights of MobileNet"):
        pretrained.fetch("a", settings, ModelStore(tmp_path))


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.usefixtures("not_exported")
@pytest.mark.parametrize("checked", [False, True])
def test_random_weights_stand_in_for_a_missing_file_until_it_is_there(
    weights_file: Path, checked: bool, fetched: ModelFolder, tmp_path: Path
) -> None:
    checksum = hashlib.sha256(weights_file.read_bytes()).hexdigest() if checked else None
    file = tmp_path / "later.weights.h5"
    store, notes = ModelStore(tmp_path / "model"), Notes()
    lenient = weights_at(file, sha256=checksum, when_unavailable="random")
    strict = weights_at(file, sha256=checksum)

    with pytest.raises(WeightsError, match=f"there is no file {file}"):
        pretrained.fetch("a", strict, store)
    stand_in = pretrained.fetch("a", lenient, store, notes)
    assert any(f"there is no file {file}" in text for text in notes.said)
    assert stand_in.has_random_weights
    assert json.loads((stand_in.path / "manifest.json").read_bytes())["random_weights"] is True
    assert fetched.has_random_weights
    assert stand_in.fingerprint == fetched.fingerprint
    assert store.with_recipe(models.recipe(lenient)) == [stand_in]
    for read_file in (False, True):
        assert store.with_recipe(models.recipe(strict, read_file=read_file)) == []

    shutil.copy(weights_file, file)
    for settings in (lenient, strict):
        assert store.with_recipe(models.recipe(settings)) == []
    real = pretrained.fetch("a", lenient, store, notes)
    assert not real.has_random_weights
    assert real.fingerprint != stand_in.fingerprint
    for settings in (lenient, strict):
        assert store.with_recipe(models.recipe(settings)) == [real]
        assert store.with_recipe(models.recipe(settings, read_file=False))[0] == real


@pytest.mark.usefixtures("not_exported")
def test_equal_weights_of_another_path_or_recipe_are_found_again(
    weights_file: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copy.weights.h5"
    shutil.copy(weights_file, copied)
    store = ModelStore(tmp_path / "model")
    by_file, by_copy = weights_at(weights_file), weights_at(copied)
    by_seed = SMALL.model_copy(update={"seed": 1})
    file = pretrained.fetch("a", by_file, store)
    assert store.with_recipe(models.recipe(by_copy)) == [file]
    assert pretrained.fetch("a", by_copy, store).path == file.path
    seed = pretrained.fetch("a", by_seed, store)
    assert seed.path != file.path
    assert seed.fingerprint == file.fingerprint
    for settings, made in ((by_seed, seed), (by_copy, file), (by_file, file)):
        assert store.with_recipe(models.recipe(settings)) == [made]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EIO])
def test_a_disk_that_does_not_take_weights_is_said(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        pretrained.fetch("a", SMALL, ModelStore(tmp_path))
    assert (caught.value.errno, Path(caught.value.filename).name) == (number, WEIGHTS)
    assert not list(tmp_path.iterdir())


def test_weights_are_written_as_keras_reads_them(tmp_path: Path) -> None:
    network, other = mobilenet(1), mobilenet(2)
    assert weights_digest(network) != weights_digest(other)
    save_weights(network, tmp_path / WEIGHTS)
    other.load_weights(tmp_path / WEIGHTS)
    assert weights_digest(network) == weights_digest(other)


def test_how_vectors_are_made_has_a_version() -> None:
    for settings in (SMALL, AutoencoderSettings(type="autoencoder")):
        assert models.recipe(settings)["version"] >= 1


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


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras can build a MobileNet, and not download its weights."""
    whole = keras.applications.MobileNet

    @wraps(whole)  # the module of a network has its preprocessing
    def cut_off(*, weights: str | None, **settings: object) -> object:
        if weights is None:
            return whole(weights=None, **settings)
        raise Exception("URL fetch failure on https://weights.example/m.h5: None -- closed")

    monkeypatch.setattr(keras.applications, "MobileNet", cut_off)


@pytest.mark.usefixtures("no_network")
def test_a_failed_download_says_what_to_do(tmp_path: Path) -> None:
    settings = SMALL.model_copy(update={"weights": "imagenet"})
    with pytest.raises(WeightsError) as raised:
        pretrained.fetch("mobile", settings, ModelStore(tmp_path))
    assert "https://weights.example/m.h5" in str(raised.value)
    assert "set engines.mobile.weights to its path" in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("not_exported")
@pytest.mark.usefixtures("no_network")
def test_random_weights_stand_in_for_a_download_that_failed(tmp_path: Path) -> None:
    store, notes = ModelStore(tmp_path), Notes()
    lenient = SMALL.model_copy(update={"weights": "imagenet", "when_unavailable": "random"})
    folder = pretrained.fetch("mobile", lenient, store, notes)
    assert folder.has_random_weights
    assert any("https://weights.example/m.h5" in text for text in notes.said)
    assert store.with_recipe(models.recipe(lenient)) == [folder]
    strict = lenient.model_copy(update={"when_unavailable": "fail"})
    assert store.with_recipe(models.recipe(strict)) == []
    with pytest.raises(WeightsError, match="cannot download the ImageNet weights of MobileNet"):
        pretrained.fetch("mobile", strict, store)
    assert store.current() == folder


def test_the_training_settings_are_part_of_the_recipe() -> None:
    settings = AutoencoderSettings(type="autoencoder")
    longer = settings.model_copy(
        update={"training": settings.training.model_copy(update={"epochs": 101})}
    )
    assert models.recipe(settings) != models.recipe(longer)
    assert autoencoder.embedding(settings) == autoencoder.embedding(longer)


# -- Damaged folders -------------------------------------------------------------------------------


def damage(folder: ModelFolder) -> None:
    """Cut the weights short, as a full disk or a bad copy does."""
    folder.weights_file.write_bytes(folder.weights_file.read_bytes()[:-1])


def test_a_damaged_folder_that_is_not_in_use_is_skipped(store: ModelStore) -> None:
    old, used = (store.publish(content(weights), write) for weights in ("old", "used"))
    damage(old)
    assert store.with_recipe({"a": 1}) == [used]
    assert store.with_recipe({"a": 1}, remove_damaged=True) == [used]
    assert old.path.is_dir(), "it is left for `imgsearch verify` to report"
    # A model that gets its name replaces it.
    again = store.publish(content("old"), write)
    assert again.path == old.path
    assert store.with_recipe({"a": 1}) == [again, used]


def test_a_damaged_folder_in_use_is_refused_or_removed(store: ModelStore) -> None:
    old, used = (store.publish(content(weights), write) for weights in ("old", "used"))
    damage(used)
    with pytest.raises(DamagedArtifactError, match=f"{used.weights_file}: damaged: .*delete"):
        store.with_recipe({"a": 1})
    assert store.with_recipe({"a": 1}, remove_damaged=True) == [old]
    assert not used.path.exists()
    assert store.current() is None


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "model")


def content(weights: str) -> dict[str, object]:
    return {"recipe": {"a": 1}, "embedding": {}, "dim": 3, "weights": weights}


def write(folder: Path) -> None:
    (folder / WEIGHTS).write_text("weights")
