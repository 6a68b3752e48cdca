"""The stem: a pretrained network's first layers, computed once, and never moved by training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import ingest
from pipeline.config import AutoencoderSettings
from pipeline.errors import ConfigError
from pipeline.images import ImageLimits
from pipeline.models import autoencoder, load
from pipeline.models.autoencoder.batches import feature_batches
from pipeline.models.autoencoder.stem import Stem, build_stem, check_stem, compute_features
from pipeline.models.autoencoder.training import train
from pipeline.models.base import F32Matrix, U8Batch
from pipeline.models.keras_runtime import keras
from pipeline.models.store import ModelFolder, ModelStore
from pipeline.progress import Advance, Silent
from pipeline.sources.sample.source import SampleSource

LIMITS, SIDE, LAYER = ImageLimits(), 32, "block2_pool"
PHOTOS = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def network() -> object:
    """Random weights: what a stem computes does not depend on whether they know anything."""
    return keras.applications.VGG16(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))


@pytest.fixture(scope="module")
def stem(network: object) -> Stem:
    layers = network.layers  # type: ignore[attr-defined]
    return Stem("VGG16", LAYER, {layer.name: layer.get_weights() for layer in layers})


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    with Catalog(tmp_path_factory.mktemp("catalog"), create=True) as catalog:
        ingest(SampleSource(24, 0, 64), catalog, LIMITS)
        yield catalog


def settings(epochs: int = 3) -> AutoencoderSettings:
    return AutoencoderSettings.model_validate(
        {
            "architecture": "stem",
            "stem_layer": LAYER,
            "input_size": SIDE,
            "standardize": True,
            "training": {
                "epochs": epochs,
                "patience": None,
                "distillation": {"teacher": "t", "components": 4, "neighbors": 2},
                "augment": {
                    **{"shift": 0, "zoom": 0, "noise": 0},
                    **{"clean_target": True, "descriptor_noise": 0.5},
                },
            },
        }
    )


def vectors(photos: U8Batch) -> F32Matrix:
    """A teacher: the first bytes of a photo's hash."""
    return photos[:, :8].astype(np.float32)


def pooled(network: object, photos: U8Batch) -> F32Matrix:
    """What a network gives at the layer, as means over 4×4 cells: computed by hand."""
    layer = network.get_layer(LAYER)  # type: ignore[attr-defined]
    front = keras.Model(network.input, layer.output)  # type: ignore[attr-defined]
    maps = np.asarray(front(keras.applications.vgg16.preprocess_input(photos.astype(np.float32))))
    side = maps.shape[1] // 4
    cells = maps.reshape(len(maps), 4, side, 4, side, -1).mean((2, 4))
    means: F32Matrix = cells.reshape(len(maps), -1)
    return means


def test_features_are_what_the_network_gives_for_a_photo_and_its_mirror_image(
    network: object, stem: Stem, tmp_path: Path
) -> None:
    found = compute_features(build_stem(stem, SIDE), PHOTOS, tmp_path / "f" / "0.npy")
    assert found.shape == (5, 2, 4 * 4 * 128)
    expected = np.stack([pooled(network, PHOTOS), pooled(network, PHOTOS[:, :, ::-1])], axis=1)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_features_are_computed_once(stem: Stem, tmp_path: Path) -> None:
    file, counted = tmp_path / "f" / "0.npy", []
    first = compute_features(build_stem(stem, SIDE), PHOTOS, file)
    again = compute_features(
        build_stem(stem, SIDE), PHOTOS, file, lambda n, _="": counted.append(n)
    )
    np.testing.assert_array_equal(first, again)
    assert not counted


def test_batches_take_the_mirror_image_where_they_are_told() -> None:
    features = np.arange(5 * 2 * 3, dtype=np.float16).reshape(5, 2, 3)
    is_mirrored = np.array([False, True, False, True, False])
    (first, second) = feature_batches(PHOTOS, features, np.array([1, 4, 3]), 2, is_mirrored)
    inputs, expected, rows = (np.concatenate(pair) for pair in zip(first, second, strict=True))
    np.testing.assert_array_equal(rows, [1, 4, 3])
    np.testing.assert_array_equal(inputs, [features[1, 1], features[4, 0], features[3, 1]])
    np.testing.assert_allclose(expected, PHOTOS[[1, 4, 3]] / np.float32(255), rtol=1e-6)


@pytest.fixture(scope="module")
def model(stem: Stem, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """Undisturbed epochs."""
    store = ModelStore(tmp_path_factory.mktemp("model"))
    return train("ae", settings(), catalog, store, LIMITS, teacher=vectors, stem=stem)


def test_training_leaves_the_stem_as_it_is(stem: Stem, model: ModelFolder) -> None:
    assert model.embedding["stem"] == ["VGG16", LAYER]
    encoder = autoencoder.load_encoder(model)
    photos = np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    in_keras = np.asarray(encoder(photos.astype(np.float32)))
    np.testing.assert_allclose(load("ae", model).encode(photos), in_keras, atol=1e-4)
    (inner,) = (layer for layer in encoder.layers if isinstance(layer, keras.Model))
    (front,) = (layer for layer in inner.get_layer("stem").layers if isinstance(layer, keras.Model))
    assert stem.weights is not None
    convolutions = [layer for layer in front.layers if layer.weights]
    assert [layer.name for layer in convolutions] == [
        f"block{block}_conv{number}" for block in (1, 2) for number in (1, 2)
    ]
    for layer in convolutions:
        for found, expected in zip(layer.get_weights(), stem.weights[layer.name], strict=True):
            np.testing.assert_array_equal(found, expected)


class Stop(Exception):
    """Stands for whatever ends a process."""


class StopAfterTwoEpochs(Silent):
    def __init__(self) -> None:
        self.computed = 0

    @contextmanager
    def task(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        def advance(count: int, status: str = "") -> None:
            self.computed += count if label.endswith("stem") else 0

        yield advance

    def note(self, text: str) -> None:
        if "epoch 2:" in text:
            raise Stop


@pytest.mark.usefixtures("not_exported")
def test_a_stopped_run_goes_on_to_the_same_weights(
    stem: Stem, catalog: Catalog, model: ModelFolder, tmp_path: Path
) -> None:
    def run(progress: Silent) -> ModelFolder:
        store = ModelStore(tmp_path)
        return train(
            "ae", settings(), catalog, store, LIMITS, 2, progress, teacher=vectors, stem=stem
        )

    stopped, resumed = StopAfterTwoEpochs(), StopAfterTwoEpochs()
    with pytest.raises(Stop):
        run(stopped)
    assert run(resumed).manifest["weights"] == model.manifest["weights"]
    assert stopped.computed == 24
    assert not resumed.computed


@pytest.mark.parametrize(
    ("layer", "side", "message"),
    [
        ("block9_pool", 32, "VGG16 has no layer 'block9_pool'"),
        ("block4_pool", 32, "does not divide into 4×4 cells"),
        ("block2_pool", 36, "does not divide into 4×4 cells"),
    ],
)
def test_a_stem_that_cannot_be_cut_is_said(layer: str, side: int, message: str) -> None:
    with pytest.raises(ConfigError, match=f"engines.ae.stem_layer: .*{message}"):
        check_stem("ae", Stem("VGG16", layer), side)


def test_photos_too_small_for_the_network_are_said() -> None:
    with pytest.raises(ConfigError, match="InceptionV3 takes no photos of 64×64"):
        build_stem(Stem("InceptionV3", "mixed0"), 64)


def test_a_teacher_that_ends_before_the_stem_is_said(stem: Stem) -> None:
    assert stem.weights is not None
    first = {
        name: stem.weights[name] for name in ("input_layer", "block1_conv1") if name in stem.weights
    }
    with pytest.raises(ConfigError, match="the teacher's network is cut before 'block2_pool'"):
        build_stem(Stem("VGG16", LAYER, first), SIDE)
