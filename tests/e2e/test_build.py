"""build.py: which stages run again when settings or weights change, and which refuse to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline import models
from pipeline.config import AutoencoderSettings, Config
from pipeline.embeddings.embed import EmbedReport
from pipeline.engine import Engine
from pipeline.errors import DamagedArtifactError, NotBuiltError, WeightsError
from pipeline.maintenance.clean import clean
from pipeline.maintenance.verify import verify
from pipeline.models.autoencoder import training
from pipeline.models.keras_runtime import keras
from pipeline.progress import Silent
from pipeline.search.engine_searcher import open_engine
from pipeline.search.query import Item
from pipeline.stages import EngineReport, Stage, build
from tests.conftest import tree

ENGINE = "mobilenet"


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def settings(root: Path, **engine: object) -> Config:
    small: dict[str, Any] = {
        "type": "pretrained",
        "network": "MobileNet",
        "weights": "random",
        "include_top": False,
        "layer": "conv_pw_1_relu",
        "pooling": "avg",
        "input_size": 32,
    }
    return Config.model_validate(
        {
            "root": str(root),
            "source": {"type": "sample", "photos": 6, "near_duplicates": 0, "size": 48},
            "engines": {ENGINE: {**small, **engine}},
        }
    )


def run(config: Config) -> EngineReport:
    return build(config).engines[ENGINE]


def nearest(config: Config) -> list[int]:
    with open_engine(config, ENGINE) as searcher:
        return [hit.item.id for hit in searcher.search(Item(1), 5).hits]


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights that seed 7 draws, in a file."""
    keras.utils.set_random_seed(7)
    network = keras.applications.MobileNet(
        weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
    )
    file = tmp_path_factory.mktemp("weights") / "mobile.weights.h5"
    network.save_weights(file)
    return file


@pytest.mark.parametrize("stage", ["embed", "index"])
@pytest.mark.parametrize("change", [{"resize": "box"}, {"seed": 8}, {"normalize": False}])
def test_a_model_of_other_settings_is_neither_embedded_with_nor_indexed(
    built: Config, stage: Stage, change: dict[str, object]
) -> None:
    changed = built.engines[ENGINE].model_copy(update=change)
    config = built.model_copy(update={"engines": {**built.engines, ENGINE: changed}})
    before = tree(built.folder)
    with pytest.raises(
        NotBuiltError, match=rf"than engines\.{ENGINE} has now; run `imgsearch train`"
    ):
        build(config, [stage])
    assert tree(built.folder) == before


def test_equal_weights_of_another_origin_are_settled_by_one_build(
    weights_file: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copy.weights.h5"
    shutil.copy(weights_file, copied)
    by_seed, by_file, by_copy = (
        settings(tmp_path / "indexes", weights=str(weights))
        for weights in ("random", weights_file, copied)
    )
    first = run(by_seed)
    assert first.embedding is not None
    assert first.embedding.embedded == 6
    answer = nearest(by_seed)
    assert sorted(answer) == [2, 3, 4, 5, 6]
    assert nearest(by_file) == answer
    for config, is_new in ((by_file, True), (by_copy, False), (by_seed, False), (by_copy, False)):
        for again in (False, True):
            report = run(config)
            assert report.new_model is (is_new and not again)
            assert report.embedding is not None
            assert (report.embedding.already, report.embedding.embedded) == (6, 0)
            assert nearest(config) == answer
        with open_engine(config, ENGINE) as searcher:
            assert bool(searcher.warning) is (config is by_seed)
    index = by_copy.index.model_copy(update={"keep_publications": 1})
    assert clean(by_copy.model_copy(update={"index": index}))
    assert verify(by_copy).problems == []
    assert nearest(by_copy) == answer
    assert not run(by_copy).new_model


def test_random_weights_give_way_to_the_file_that_was_missing(
    weights_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "later.weights.h5"
    lenient = settings(tmp_path / "indexes", weights=str(file), when_unavailable="random", seed=8)
    strict = settings(tmp_path / "indexes", weights=str(file), when_unavailable="fail", seed=8)
    notes = Notes()
    for _ in range(2):
        build(lenient, progress=notes)
        assert f"{ENGINE}: RANDOM weights" in notes.said[-1]
    assert sum("there is no file" in text for text in notes.said) == 1
    with open_engine(lenient, ENGINE) as searcher:
        assert searcher.warning == notes.said[-1]
        assert searcher.build.manifest["random_weights"] is True

    before = tree(lenient.folder / ENGINE)
    with pytest.raises(WeightsError, match="there is no file"):
        build(strict)
    with pytest.raises(NotBuiltError, match="made with other settings"):
        build(strict, ["embed", "index"])
    assert nearest(strict), "what is published answers"
    assert tree(lenient.folder / ENGINE) == before

    shutil.copy(weights_file, file)
    report = run(lenient)
    assert report.new_model
    assert report.model is not None
    assert not report.model.has_random_weights
    for config in (lenient, strict):
        assert not run(config).new_model
        with open_engine(config, ENGINE) as searcher:
            assert searcher.warning is None


# -- An engine that another one teaches ------------------------------------------------------------


def taught(root: Path, **teacher: object) -> Config:
    config = settings(root, **teacher)
    guide = {"teacher": ENGINE, "neighbors": 2, "components": 4}
    guide |= {"hog": 0, "foreground_mask": 0, "lab_histogram": 0}
    pupil = AutoencoderSettings.model_validate(
        {
            "type": "autoencoder",
            "architecture": "strided",
            "input_size": 32,
            "training": {"batch_size": 4, "epochs": 2, "distillation": guide},
        }
    )
    return config.model_copy(update={"engines": {"pupil": pupil, **config.engines}})


@pytest.fixture(scope="module")
def taught_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of both, built from nothing; not to be changed."""
    root = tmp_path_factory.mktemp("taught")
    built = build(taught(root)).engines
    assert built[ENGINE].embedding == EmbedReport(0, 6, 0)  # by the one look that there was
    return root


def test_a_teacher_looks_at_the_photos_before_its_pupil_is_trained(
    taught_folder: Path, tmp_path: Path
) -> None:
    config = taught(tmp_path)
    build(config, ("ingest",))
    notes = Notes()
    trained = build(config, ("train",), notes).engines
    assert any("teacher mobilenet has RANDOM weights" in note for note in notes.said)
    assert trained["pupil"].new_model
    assert trained[ENGINE].embedding is not None
    assert trained[ENGINE].embedding.embedded == 6
    done = build(config).engines
    assert not done["pupil"].new_model
    assert done[ENGINE].embedding == EmbedReport(6, 0, 0)
    assert verify(config).problems == []
    assert verify(taught(taught_folder)).problems == []
    with open_engine(config, "pupil") as searcher:
        assert len(searcher.search(Item(1), 5).hits) == 5


def test_another_teacher_is_another_pupil(tmp_path: Path) -> None:
    def recipe(**teacher: object) -> dict[str, Any]:
        engines = taught(tmp_path, **teacher).engines
        return models.recipe(engines["pupil"], engines)

    assert recipe() == recipe()
    assert recipe(seed=8) != recipe() != recipe(pooling="max")
    alone = taught(tmp_path).engines["pupil"]
    assert models.recipe(alone).items() < recipe().items()


# -- Damaged model folders -------------------------------------------------------------------------


def test_a_damaged_pretrained_model_is_fetched_again(tmp_path: Path) -> None:
    config = settings(tmp_path)
    model = run(config).model
    assert model is not None
    answer = nearest(config)
    model.weights_file.write_bytes(model.weights_file.read_bytes()[:-1])
    again = run(config)
    assert again.new_model
    assert again.embedding == EmbedReport(already=6, embedded=0, failed=0)
    assert nearest(config) == answer
    assert verify(config).problems == []


def test_a_damaged_trained_model_is_not_trained_again_unasked(
    taught_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(taught_folder, tmp_path, dirs_exist_ok=True)
    config = taught(tmp_path)
    model = Engine("pupil", config).models.current()
    assert model is not None
    model.weights_file.write_bytes(model.weights_file.read_bytes()[:-1])
    with pytest.raises(DamagedArtifactError, match=f"delete {model.path} and run"):
        build(config)
    shutil.rmtree(model.path)
    monkeypatch.setattr(training, "write_networks", lambda *_: None)  # nothing is embedded with it
    assert build(config, ("train",)).engines["pupil"].new_model
