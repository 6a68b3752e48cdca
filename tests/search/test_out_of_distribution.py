"""What is unlike anything in the catalog is said to be, by an autoencoder too."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import models
from pipeline.artifacts import digest, publish
from pipeline.config import Config, SearchSettings
from pipeline.models.store import RECONSTRUCTION_ERRORS, WEIGHTS, ModelFolder
from pipeline.search.engine_searcher import EngineSearcher, open_engine
from pipeline.search.query import Item
from pipeline.search.result import EngineResult
from pipeline.sources.sample.source import SampleSource
from pipeline.stages import build
from tests.conftest import ENGINE, ColorModel, Shop, png

GRAY, WHITE = (60, 0, 0), (250, 0, 0)


class Rebuilding(ColorModel):
    """Loses the more, the redder a photo is, and by another measure, the greener."""

    def reconstruction_errors(self, pixels: np.ndarray) -> np.ndarray:  # type: ignore[override]
        red, green, _ = pixels[:, 0, 0].astype(np.float32).T
        return np.stack([red, green / 100], axis=1)


@pytest.fixture
def rebuilding(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A catalog whose model knows what 100 held-out photos lose: 0 to 99, and 0 to 0.99."""

    def load(name: str, folder: ModelFolder, **_: object) -> Rebuilding:
        return Rebuilding(name, fingerprint=folder.fingerprint)

    monkeypatch.setattr(models, "load", load)
    use_losses(shop, 100)
    return shop


def use_losses(shop: Shop, count: int) -> None:
    recipe = models.recipe(shop.config.engines[ENGINE])
    content = {"recipe": recipe, "embedding": {}, "dim": 3, "weights": f"{count}"}
    store = shop.engine.models
    with publish(store.folder / digest(content), content) as aside:
        (aside / WEIGHTS).write_text("weights")
        usual = np.arange(count)[:, np.newaxis] * np.float32([1, 0.01])
        np.save(aside / RECONSTRUCTION_ERRORS, usual.astype(np.float32))
    shop.model = store.use(store.open(digest(content)))
    shop.build({f"item {n}": [(n, 0, 0)] for n in range(0, 256, 5)})


def test_ood_percentile_is_the_share_of_held_out_photos_that_are_reconstructed_better(
    rebuilding: Shop,
) -> None:
    with rebuilding.searcher() as searcher:
        gray, white = searcher.search(png(GRAY), 1), searcher.search(png(WHITE), 1)
        assert (gray.ood_percentile, white.ood_percentile) == (60, 100)
        assert not gray.no_match
        assert white.no_match  # though an item of this very color is there
        assert white.hits[0].distance == 0
        assert searcher.search(png((60, 81, 0)), 1).ood_percentile == 81
        both = list(searcher.search_all([png(WHITE), Item(1), png(GRAY)], 1))
        found = [one.ood_percentile for one in both if isinstance(one, EngineResult)]
        assert found == [100, None, 60]
        vector = np.array(WHITE, np.float32)
        assert searcher.search(vector, 1).ood_percentile is None


def test_there_is_no_ood_percentile_where_it_is_off_or_too_little_is_known(
    rebuilding: Shop,
) -> None:
    def ood_percentile() -> float | None:
        with rebuilding.searcher() as searcher:
            return searcher.search(png(WHITE), 1).ood_percentile

    off = SearchSettings(out_of_distribution=False)
    rebuilding.config = rebuilding.config.model_copy(update={"search": off})
    assert ood_percentile() is None
    rebuilding.config = rebuilding.config.model_copy(update={"search": SearchSettings()})
    assert ood_percentile() == 100
    use_losses(rebuilding, 29)
    assert ood_percentile() is None
    use_losses(rebuilding, 30)
    assert ood_percentile() == 100


# -- With a network --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineSearcher]:
    """An autoencoder trained on drawn photos."""
    config = Config.model_validate(
        {
            "root": str(tmp_path_factory.mktemp("indexes")),
            "source": {"type": "sample", "photos": 160, "near_duplicates": 0, "size": 48},
            "engines": {
                "autoencoder": {
                    "type": "autoencoder",
                    "architecture": "strided",
                    "input_size": 32,
                    "resize": "bilinear",
                    "training": {
                        **{"batch_size": 8, "epochs": 30, "learning_rate": 0.003},
                        **{"schedule": "cosine", "validation_split": 0.3, "patience": None},
                        "augment": {"flip": False, "shift": 0, "zoom": 0, "noise": 0},
                    },
                }
            },
        }
    )
    build(config)
    with open_engine(config, "autoencoder") as opened:
        yield opened


def flagged(searcher: EngineSearcher, photos: list[bytes]) -> float:
    answers = list(searcher.search_all(photos, 1))
    return float(np.mean([one.no_match for one in answers if isinstance(one, EngineResult)]))


def test_noise_is_flagged_and_more_of_the_same_is_not(
    searcher: EngineSearcher, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    noise = [encoded(rng.integers(0, 256, (250, 250, 3))) for _ in range(40)]
    blocks = [encoded(rng.integers(0, 256, (6, 6, 3)).repeat(8, 0).repeat(8, 1)) for _ in range(40)]
    assert flagged(searcher, noise) == 1
    assert flagged(searcher, blocks) == 1
    more = [photo.data for item in SampleSource(80, 0, 48, 9).items() for photo in item.photos]
    # Nearly none would be, if the limits were known from more than 48 photos.
    assert flagged(searcher, [data for data in more if data]) <= 0.15
    only_distances = SearchSettings(out_of_distribution=False)
    blind = open_engine(
        searcher.config.model_copy(update={"search": only_distances}), "autoencoder"
    )
    with blind:  # what this is good for
        assert flagged(blind, noise) < 1


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
