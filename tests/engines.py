"""A catalog with labels and several engines, each of which sees a color in its own way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline import models
from pipeline.artifacts import digest
from pipeline.artifacts import publish as publish_folder
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import ingest
from pipeline.config import Config
from pipeline.engine import Engine
from pipeline.images import ImageLimits
from pipeline.index.build import build_index
from pipeline.models.base import EmbeddingModel
from pipeline.models.store import WEIGHTS, ModelFolder
from pipeline.publish import publish
from pipeline.publish.publish import GateVerdict
from pipeline.search.engine_searcher import EngineSearcher, open_engine
from pipeline.sources.base import SourceItem, SourcePhoto
from pipeline.workspace import Workspace
from tests.conftest import Color, ColorModel, ListSource, embed_by, png

View = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""(n, 3) colors → (n, 3) vectors."""

VIEWS: dict[str, View] = {
    "color": lambda colors: colors,
    "red": lambda colors: colors * np.float32([1, 0, 0]),
    "mixed": lambda colors: colors[:, ::-1] * np.float32([3, 1, 0.5]),
    "blind": lambda colors: colors * 0 + 7,
}


@dataclass(frozen=True)
class Thing:
    """An item to offer."""

    colors: Sequence[Color]
    category: str = ""
    metadata: Mapping[str, str | int | None] = field(default_factory=dict)


@dataclass
class ViewModel(ColorModel):
    def encode(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(VIEWS[self.name](super().encode(pixels)), np.float32)


class Fair:
    """Taken through the real stages with the engines that a test names."""

    def __init__(self, root: Path, engines: Sequence[str] = ("color", "mixed")) -> None:
        self.config = Config.model_validate(
            {
                "name": "fair",
                "root": str(root),
                "source": {"type": "sample"},
                "images": {"min_side": 1},
                "engines": {name: {"type": "pretrained", "weights": "random"} for name in engines},
            }
        )
        self.catalog = Catalog(self.config.folder, create=True)

    def build(self, things: Mapping[str, Thing]) -> None:
        self.offer(things)
        self.index_all()

    def offer(self, things: Mapping[str, Thing]) -> None:
        items = [
            SourceItem(
                key,
                key.title(),
                thing.category,
                tuple(SourcePhoto(f"{key}-{c}.png", data=png(c)) for c in thing.colors),
                thing.metadata,
            )
            for key, thing in things.items()
        ]
        ingest(ListSource(items), self.catalog, ImageLimits())

    def index_all(self) -> None:
        """Build every engine's index, and publish them together."""
        for name in self.config.engines:
            self.build_only(name)
        self.publish()

    def index(self, name: str) -> None:
        """Build one engine's index, and publish it with those of the others."""
        self.build_only(name)
        self.publish()

    def build_only(self, name: str) -> None:
        engine = Engine(name, self.config)
        recipe = models.recipe(self.config.engines[name])
        content = {"recipe": recipe, "embedding": {"type": "pretrained"}, "dim": 3, "weights": name}
        with publish_folder(engine.models.folder / digest(content), content) as aside:
            (aside / WEIGHTS).write_text(name)
        model = engine.models.use(engine.models.open(digest(content)))
        vectors = engine.embeddings(model.fingerprint)
        embed_by(ViewModel(name), self.catalog, vectors)
        build_index(name, model, self.catalog, vectors, engine.builds, self.config.index)

    def publish(self) -> None:
        """Publish whatever indexes there are, once every engine has one."""
        ws = Workspace(self.config, self.catalog)
        if all(engine.builds.current() for engine in ws.engines.values()):
            publish.publish(ws, lambda *_: GateVerdict({}))

    def searcher(self, name: str) -> EngineSearcher:
        return open_engine(self.config, name)

    def id_of(self, key: str) -> int:
        item = self.catalog.item_by_key(key)
        assert item is not None
        return item.id


Opener = Callable[..., Fair]


@contextmanager
def fairs(root: Path) -> Iterator[Opener]:
    """Open empty catalogs; models see colors, and no network is loaded."""

    def load(name: str, folder: ModelFolder, **_: object) -> EmbeddingModel:
        return ViewModel(name, fingerprint=folder.fingerprint)

    opened: list[Fair] = []

    def open_(*engines: str) -> Fair:
        fair = Fair(root / f"{len(opened)}", engines or ("color", "mixed"))
        opened.append(fair)
        return fair

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "load", load)
        yield open_
    for fair in opened:
        fair.catalog.close()


@pytest.fixture
def open_fair(tmp_path: Path) -> Iterator[Opener]:
    """Open empty catalogs for one test."""
    with fairs(tmp_path) as open_:
        yield open_
