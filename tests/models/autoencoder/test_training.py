"""Training: seeded, resumable, and keeping the best epoch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import images, models
from pipeline.artifacts import digest
from pipeline.catalog.catalog import Catalog, Photo
from pipeline.catalog.ingest import ingest
from pipeline.config import AutoencoderSettings, TrainingSettings
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import DamagedArtifactError, TrainingError
from pipeline.images import ImageLimits
from pipeline.models import autoencoder
from pipeline.models.autoencoder import fit, network
from pipeline.models.autoencoder import training as training_module
from pipeline.models.autoencoder.batches import batches_of
from pipeline.models.autoencoder.checkpoint import History
from pipeline.models.autoencoder.distillation import DistillationTargets
from pipeline.models.autoencoder.fit import Examples
from pipeline.models.autoencoder.training import covers, split, train
from pipeline.models.store import WEIGHTS, ModelFolder, ModelStore
from pipeline.progress import SILENT, Advance, Silent
from pipeline.sources.sample.source import SampleSource

LIMITS = ImageLimits()
SIDE = 16  # smaller than settings allow, so that networks have few layers


def settings(**training: object) -> AutoencoderSettings:
    augment = {"flip": True, "shift": 0.1, "zoom": 0.1, "noise": 0.05}
    defaults = {
        **{"batch_size": 8, "epochs": 4, "learning_rate": 0.001, "patience": None},
        "augment": augment,
    }
    whole = AutoencoderSettings(
        type="autoencoder",
        architecture="strided",
        resize="nearest",
        training=TrainingSettings.model_validate({**defaults, **training}),
    )
    return whole.model_copy(update={"input_size": SIDE})


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    with Catalog(tmp_path_factory.mktemp("catalog"), create=True) as catalog:
        ingest(SampleSource(30, 0, 64), catalog, LIMITS)
        yield catalog


@pytest.fixture(scope="module")
def model(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """Four undisturbed epochs."""
    store = ModelStore(tmp_path_factory.mktemp("model"))
    return train("ae", settings(), catalog, store, LIMITS)


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


class Stop(Exception):
    """Stands for whatever ends a process."""


class StopAfter(Silent):
    """Ends the run when an epoch has been reported."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.done = Counter[tuple[str, int | None]]()

    @contextmanager
    def task(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        def advance(count: int, status: str = "") -> None:
            self.done[label, total] += count

        yield advance

    def note(self, text: str) -> None:
        if f"epoch {self.epoch}:" in text:
            raise Stop


@pytest.mark.usefixtures("not_exported")
def test_the_same_seed_gives_the_same_weights(
    model: ModelFolder, catalog: Catalog, tmp_path: Path
) -> None:
    again = train("ae", settings(), catalog, ModelStore(tmp_path / "again"), LIMITS)
    other = train("ae", settings(seed=8), catalog, ModelStore(tmp_path / "other"), LIMITS)
    assert again.manifest["weights"] == model.manifest["weights"] != other.manifest["weights"]


@pytest.mark.usefixtures("not_exported")
def test_a_stopped_run_resumes_after_its_last_epoch(
    model: ModelFolder, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ModelStore(tmp_path)
    for epoch in (1, 3):
        with pytest.raises(Stop):
            train("ae", settings(), catalog, store, LIMITS, progress=StopAfter(epoch))
        # It keeps its division of the photos, whatever another one would be now.
        monkeypatch.setattr(training_module, "split", lambda photos, _: (photos[::2], photos[1::2]))
    assert store.current() is None
    saved = next(tmp_path.glob("**/last.npz"))
    whole = saved.read_bytes()
    saved.write_bytes(whole[:40] + bytes([whole[40] ^ 4]) + whole[41:])
    with pytest.raises(DamagedArtifactError, match=r"last\.npz: damaged: its content has changed"):
        train("ae", settings(), catalog, store, LIMITS)
    saved.write_bytes(whole)
    progress = StopAfter(3)
    resumed = train("ae", settings(), catalog, store, LIMITS, progress=progress)
    photos_left = len(model.photos("training"))  # one bar for all epochs that are left
    assert progress.done["ae: training", photos_left] == photos_left
    for name in (WEIGHTS, "history.json", "training.npy", "validation.npy"):
        assert (resumed.path / name).read_bytes() == (model.path / name).read_bytes(), name
    assert resumed.path.name == model.path.name
    assert resumed.manifest["weights"] == model.manifest["weights"]
    assert not list(tmp_path.glob(".*.training"))


DISTILLED = {
    "distillation": {"lab_histogram": 0.5, "components": 16, "neighbors": 3},
    "augment": {
        **{"flip": True, "shift": 0, "zoom": 0, "noise": 0.05},
        **{"clean_target": True, "descriptor_noise": 0.3},
    },
    "weight_decay": 0.01,
}


def test_a_run_with_distillation_is_resumed_to_the_same_bytes(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(epochs=4, **DISTILLED).model_copy(
        update={"architecture": "descriptor", "standardize": True}
    )
    with monkeypatch.context() as patch:
        patch.setattr(training_module, "write_networks", lambda *_: None)
        whole = train("ae", chosen, catalog, ModelStore(tmp_path / "whole"), LIMITS)
    store = ModelStore(tmp_path / "part")
    with pytest.raises(Stop):
        train("ae", chosen, catalog, store, LIMITS, progress=StopAfter(1))
    resumed = train("ae", chosen, catalog, store, LIMITS)
    assert resumed.path.name == whole.path.name
    for name in (WEIGHTS, "history.json"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    history = json.loads((whole.path / "history.json").read_text())
    assert history["loss"][-1] < history["loss"][0]
    loaded = models.load("ae", resumed)
    seen = np.stack([_pixels(photo, chosen) for photo in catalog.photos()])
    assert (loaded.encode(seen) == loaded.encode(seen)).all()  # and no noise


@pytest.mark.parametrize(("size", "taken"), [(1, 2), (7, 6)])
def test_a_batch_of_distillation_holds_whole_pairs(
    size: int, taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def batches(photos: Any, order: Any, batch: int, *_: object, **__: object) -> Any:
        seen.append((order, batch))
        return batches_of(photos, order, batch)

    monkeypatch.setattr(fit, "batches_of", batches)
    photos = np.random.default_rng(0).integers(0, 256, (9, SIDE, SIDE, 3), np.uint8)
    neighbors = (np.arange(9)[:, np.newaxis] + [1, 2]) % 9
    examples = Examples(photos, DistillationTargets(np.zeros((9, 2), np.float32), neighbors))
    training = settings(batch_size=size, epochs=1, distillation={}).training
    make = partial(autoencoder.build, "strided", SIDE, 2)
    fit.Fit("ae", make, training, tmp_path, SILENT).run(examples, examples)
    assert [batch for _, batch in seen] == [taken, taken]
    for order, batch in seen:
        assert len(order) == 18
        for start in range(0, 18, batch):
            anchors, positives = np.split(order[start : start + batch], 2)
            assert set(((positives - anchors) % 9).tolist()) <= {1, 2}


def _pixels(photo: Photo, chosen: AutoencoderSettings) -> np.ndarray:
    image = Image.open(photo.path).convert("RGB")
    return images.resize(image, (chosen.input_size,) * 2, chosen.resize)


def test_a_teacher_decides_what_is_near(catalog: Catalog, tmp_path: Path) -> None:
    """One whose vectors say nothing but how bright a photo is."""
    photos = list(catalog.photos())
    bright = np.array([np.asarray(Image.open(p.path)).mean() for p in photos], np.float32)
    vectors = EmbeddingStore(tmp_path / "vectors")
    for part in np.array_split(np.arange(len(photos)), 3):
        vectors.write([photos[at].sha256 for at in part], bright[part, np.newaxis])
    distillation = {
        "teacher": "t",
        "hog": 0,
        "foreground_mask": 0,
        "neighbors": 3,
        "target_weight": 1,
    }
    unchanged = {"flip": False, "shift": 0, "zoom": 0, "noise": 0}
    chosen = settings(epochs=40, distillation=distillation, augment=unchanged, learning_rate=3e-3)
    model = train(
        "ae", chosen, catalog, ModelStore(tmp_path / "model"), LIMITS, teacher=vectors.gather
    )
    known = {row.tobytes() for row in model.photos("training")}
    seen = [at for at, photo in enumerate(photos) if photo.sha256 in known]
    latents = models.load("ae", model).encode(
        np.stack([_pixels(photos[at], chosen) for at in seen])
    )
    apart = np.linalg.norm(latents[:, np.newaxis] - latents, axis=2)
    np.fill_diagonal(apart, np.inf)
    own = bright[seen]
    off = np.abs(own[apart.argmin(axis=1)] - own).mean()
    assert off < 0.25 * np.abs(own[:, np.newaxis] - own).mean()


@pytest.mark.usefixtures("not_exported")
def test_a_run_begun_on_other_photos_is_begun_again(catalog: Catalog, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "model")
    short = settings(epochs=2)
    with pytest.raises(Stop):
        train("ae", short, catalog, store, LIMITS, progress=StopAfter(1))
    (work,) = store.folder.glob(".*.training")
    assert work.name == f".{digest(models.recipe(short))}.training"
    with Catalog(tmp_path / "grown", create=True) as grown:
        ingest(SampleSource(36, 0, 64), grown, LIMITS)
        model = train("ae", short, grown, store, LIMITS)
        photos = {photo.sha256 for photo in grown.photos()}
    known = [row.tobytes() for part in ("training", "validation") for row in model.photos(part)]
    assert len(known) == 36
    assert set(known) == photos
    assert not work.exists()


def test_the_best_epoch_is_kept_and_its_loss_is_true(model: ModelFolder, catalog: Catalog) -> None:
    history = json.loads((model.path / "history.json").read_text())
    assert len(history["loss"]) == len(history["val_loss"]) == 4
    assert model.manifest["validation_mse"] == pytest.approx(min(history["val_loss"]), rel=1e-5)
    held_out = {row.tobytes() for row in model.photos("validation")}
    unseen = np.stack([_pixels(p, settings()) for p in catalog.photos() if p.sha256 in held_out])
    rebuilding = models.load("ae", model)
    lost = rebuilding.reconstruction_errors(unseen)
    assert lost is not None
    np.testing.assert_allclose(model.reconstruction_errors(), np.sort(lost, axis=0), rtol=1e-4)
    assert rebuilding.rebuild is not None
    photos = unseen / np.float32(255)
    rest = (rebuilding.rebuild(unseen) - photos) ** 2
    error = rest.mean(axis=(1, 2, 3))
    assert lost[:, 0] == pytest.approx(error, rel=1e-3)
    variance = np.array([one.reshape(-1, 3).var(axis=0).mean() for one in photos])
    assert lost[:, 1] == pytest.approx(error / (variance + 1e-3), rel=1e-3)

    whole = autoencoder.build("strided", SIDE, 16)
    whole.load_weights(model.weights_file)
    held_out = {row.tobytes() for row in model.photos("validation")}
    photos = [
        np.asarray(Image.open(photo.path).resize((SIDE, SIDE), Image.Resampling.NEAREST)) / 255
        for photo in catalog.photos()
        if photo.sha256 in held_out
    ]
    pixels = np.stack(photos).astype(np.float32)
    error = np.mean((np.asarray(whole(pixels)) - pixels) ** 2)
    assert error == pytest.approx(model.manifest["validation_mse"], rel=1e-4)


def test_the_model_folder_describes_itself(model: ModelFolder, catalog: Catalog) -> None:
    for name in ("loss.png", "photos.png"):
        with Image.open(model.path / name) as picture:
            assert picture.width > 300
    trained, held_out = model.photos("training"), model.photos("validation")
    known = {row.tobytes() for row in np.concatenate([trained, held_out])}
    assert known == {photo.sha256 for photo in catalog.photos()}
    assert len(trained) + len(held_out) == 30
    assert model.weights_file.stat().st_size < 5 * model.manifest["parameters"] + 200_000


@pytest.mark.usefixtures("not_exported")
def test_patience_ends_a_run_that_no_longer_improves(catalog: Catalog, tmp_path: Path) -> None:
    hopeless = settings(epochs=30, patience=2, learning_rate=1e-12, schedule="constant")
    model = train("ae", hopeless, catalog, ModelStore(tmp_path), LIMITS)
    assert model.manifest["epochs"] < 30
    history = History(**json.loads((model.path / "history.json").read_text()))
    assert history.epochs - 1 - history.best == 2


@pytest.mark.parametrize(
    ("losses", "patience", "over"),
    [([], 1, False), ([3, 2, 1], 2, False), ([1, 2, 3], 2, True), ([1, 2, 3], None, False)],
)
def test_a_run_is_over_when_patience_is_spent(
    losses: list[float], patience: int | None, over: bool
) -> None:
    training = TrainingSettings(epochs=9, patience=patience)
    assert History(losses, losses).is_over(training) is over


def test_a_loss_that_explodes_is_said(catalog: Catalog, tmp_path: Path) -> None:
    work = ModelStore(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        original = network.build

        def infinite(architecture: str, size: int, latent: int, **more: Any) -> object:
            broken = original(architecture, size, latent, **more)
            broken.set_weights([np.full_like(w, np.nan) for w in broken.get_weights()])
            return broken

        patch.setattr(network, "build", infinite)
        with pytest.raises(TrainingError, match=r"lower training\.learning_rate"):
            train("ae", settings(), catalog, work, LIMITS)
    assert work.current() is None


def test_one_photo_is_too_few(tmp_path: Path) -> None:
    with Catalog(tmp_path, create=True) as catalog:
        ingest(SampleSource(1, 0, 64), catalog, LIMITS)
        with pytest.raises(TrainingError, match="1 readable photos are too few"):
            train("ae", settings(), catalog, ModelStore(tmp_path / "model"), LIMITS)


def photos(count: int) -> list[Photo]:
    random = np.random.default_rng(count)
    return [Photo(n, random.bytes(32), Path("x")) for n in range(count)]


def test_first_holds_out_what_keras_holds_out() -> None:
    training, validation = split(
        photos(18_322), TrainingSettings(validation_split=0.2, split="first")
    )
    assert (len(training), len(validation)) == (14_658, 3_664)  # the article's numbers
    assert [photo.id for photo in validation] == list(range(3_664))


def test_hash_never_moves_a_photo_to_the_other_side() -> None:
    half, all_of_them = photos(4_000)[:2_000], photos(4_000)
    seen, held_out = split(all_of_them, TrainingSettings(validation_split=0.2))
    assert len(held_out) == pytest.approx(800, rel=0.1)
    assert {p.sha256 for p in seen}.isdisjoint(p.sha256 for p in held_out)
    some_seen, some_held_out = split(half, TrainingSettings(validation_split=0.2))
    assert set(some_seen) <= set(seen)
    assert set(some_held_out) <= set(held_out)


def test_a_model_covers_a_catalog_until_too_much_is_new(model: ModelFolder, tmp_path: Path) -> None:
    with Catalog(tmp_path, create=True) as grown:
        ingest(SampleSource(40, 0, 64), grown, LIMITS)  # begins with the 30 it was trained on
        assert covers(model, grown, 0.25)
        assert not covers(model, grown, 0.24)
