"""The article's own extraction and search, written afresh, against ours."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Config, load_config
from pipeline.engine import Engine
from pipeline.models.keras_runtime import keras
from pipeline.models.runtimes.base import difference
from pipeline.search.engine_searcher import open_engine
from pipeline.sources.sample.source import SampleSource
from pipeline.stages import build

SIDE = 32
THINNER = 8
SETTINGS = """
root: {root}
source: {{type: folder, path: {photos}}}
engines:
  autoencoder:
    type: autoencoder
    architecture: article
    input_size: 32
    resize: nearest
    training: {{epochs: 1, split: first}}
  vgg16: {{type: pretrained, weights: "{weights}"}}
embedding: {{batch_size: 5, shard_size: 7}}
"""


class Article:
    """One photo at a time: the network's layer by `predict`, then NumPy."""

    def __init__(self, keras: Any, weights: Path) -> None:
        self.keras = keras
        base = keras.applications.VGG16(weights=None)
        base.load_weights(weights)
        self.fc1 = keras.Model(base.input, base.get_layer("fc1").output)
        self.autoencoder = self.network()
        latent = self.autoencoder.get_layer("latent_space").output
        self.encoder = keras.Model(self.autoencoder.input, latent)

    def network(self) -> Any:
        layers = self.keras.layers
        image = layers.Input(shape=(SIDE, SIDE, 3))
        x = layers.Conv2D(64, (3, 3), padding="same")(image)
        x = layers.LeakyReLU(0.3)(x)
        x = layers.BatchNormalization(axis=-1)(x)
        x = layers.Dense(16, name="latent_space")(layers.Flatten()(x))
        x = layers.Dense(SIDE * SIDE * 64)(x)
        x = layers.Reshape((SIDE, SIDE, 64))(x)
        for filters in (64, 64, 32):
            x = layers.Conv2DTranspose(filters, (3, 3), padding="same")(x)
            x = layers.LeakyReLU(0.3)(x)
            x = layers.BatchNormalization(axis=-1)(x)
        x = layers.Conv2DTranspose(3, (3, 3), padding="same")(x)
        return self.keras.Model(image, layers.Activation("sigmoid")(x))

    def latent(self, path: Path) -> np.ndarray:
        utils = self.keras.utils
        photo = utils.img_to_array(utils.load_img(path, target_size=(SIDE, SIDE))) / 255.0
        return self.encoder.predict(photo[np.newaxis], verbose=0)[0]

    def feature(self, path: Path) -> np.ndarray:
        photo = Image.open(path).resize((224, 224)).convert("RGB")
        x = np.expand_dims(self.keras.utils.img_to_array(photo), axis=0)
        x = self.keras.applications.vgg16.preprocess_input(x)
        feature = self.fc1.predict(x, verbose=0)[0]
        return feature / np.linalg.norm(feature)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Fifteen photos, not square, in three formats."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for number, item in enumerate(SampleSource(15, 0, 150).items()):
        path = folder / f"{number:02d}.{('jpg', 'png', 'bmp')[number % 3]}"
        original = item.photos[0].data or b""
        Image.open(io.BytesIO(original)).crop((0, 0, 150 - 3 * number, 140)).save(path)
        paths.append(path)
    return paths


class Thin:
    """Keras's layers, of which networks that take them from here have an eighth of the units."""

    def __getattr__(self, name: str) -> Any:
        layer = getattr(keras.layers, name)
        if name not in ("Conv2D", "Dense"):
            return layer
        return lambda units, *args, **kwargs: layer(units // THINNER, *args, **kwargs)


@pytest.fixture(scope="module", autouse=True)
def thin_vgg16(request: pytest.FixtureRequest) -> Iterator[None]:
    """VGG16 takes half a gigabyte, and a thin one a hundredth of it; with --soak it is whole."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.config.getoption("--soak"):
            module = sys.modules[keras.applications.VGG16.__module__]
            patch.setattr(module, "layers", Thin())
        yield


@pytest.fixture(scope="module")
def config(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A catalog of them, built with weights that are known to the oracle."""
    folder = tmp_path_factory.mktemp("article")
    keras.utils.set_random_seed(5)
    weights = folder / "vgg16.weights.h5"
    keras.applications.VGG16(weights=None).save_weights(weights)
    settings = folder / "settings.yaml"
    text = SETTINGS.format(root=folder / "indexes", photos=photos[0].parent, weights=weights)
    settings.write_text(text)
    config = load_config(settings)
    build(config)
    return config


@pytest.fixture(scope="module")
def article(config: Config) -> Article:
    """The oracle, with the same weights."""
    oracle = Article(keras, Path(config.engines["vgg16"].weights))
    model = Engine("autoencoder", config).models.current()
    assert model is not None
    oracle.autoencoder.load_weights(model.weights_file)
    return oracle


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["autoencoder", "vgg16"])
def test_vectors_and_neighbors_are_those_of_the_article(
    engine: str, config: Config, article: Article, photos: list[Path]
) -> None:
    extract = {"autoencoder": article.latent, "vgg16": article.feature}[engine]
    features = np.stack([extract(path) for path in photos])
    searcher = open_engine(config, engine)
    ours = searcher.index.vectors(np.arange(len(photos)))
    assert difference(ours, features) <= 1e-5

    for query, feature in zip(photos, features, strict=True):
        distances = np.linalg.norm(features - feature, axis=1)
        expected = [photos[row].name for row in np.argsort(distances)[:3]]
        found = searcher.search(query, k=3).hits
        assert [neighbor.item.key for neighbor in found] == expected
        assert [neighbor.distance for neighbor in found] == pytest.approx(
            np.sort(distances)[:3].tolist(),
            rel=1e-4,
            abs=1e-5 * float(np.linalg.norm(features, axis=1).max()),
        )
