"""What many tests need: photos of one color, a model that sees color, and catalogs of them.

A photo's vector is its color, so that a test chooses vectors by choosing colors, and can tell
exactly how far apart they are.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipeline import images, models
from pipeline.artifacts import digest
from pipeline.artifacts import publish as publish_folder
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import IngestReport, ingest
from pipeline.catalog.look import Look
from pipeline.config import Config
from pipeline.embeddings.embed import EmbedReport, embed
from pipeline.embeddings.shards import Embedder
from pipeline.embeddings.store import EmbeddingStore
from pipeline.engine import Engine
from pipeline.evaluation.gate import judge
from pipeline.images import ImageLimits
from pipeline.index.build import build_index
from pipeline.index.builds import Build
from pipeline.models.base import EmbeddingModel
from pipeline.models.store import WEIGHTS, ModelFolder
from pipeline.publish import publish
from pipeline.search.engine_searcher import EngineSearcher, open_engine
from pipeline.sources.base import SourceItem, SourcePhoto
from pipeline.workspace import Workspace

Color = tuple[int, int, int]
ENGINE = "color"
MEMORY, ROOM = Path("/dev/shm"), 2 << 30


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="try every case, not a sample")


def pytest_configure() -> None:
    """Let tests write to memory where there is room: at each flush they would wait for a disk."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether to try every case; tests that ask for this are marked `soak`."""
    return bool(request.config.getoption("--soak"))


def png(color: Color, size: tuple[int, int] = (4, 4)) -> bytes:
    """A PNG file of one color; another color or size is another content."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


@dataclass
class ListSource:
    """A source that offers what the test says."""

    offers: Sequence[SourceItem]
    version: str | None = None

    @property
    def total(self) -> int:
        return len(self.offers)

    def items(self) -> Iterator[SourceItem]:
        yield from self.offers


@dataclass
class ColorModel:
    """A photo's vector is its color (and zeros, if `dim` is more than 3)."""

    name: str = ENGINE
    dim: int = 3
    input_size: tuple[int, int] = (4, 4)
    fingerprint: str = "any"
    runtime: str = "colors 1"
    batches: list[int] = field(default_factory=list)
    """Sizes of the batches encoded so far."""

    def prepare(self, image: Image.Image) -> images.U8Image:
        return images.resize(image, self.input_size, "nearest")

    def encode(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.batches.append(len(pixels))
        vectors = np.zeros((len(pixels), self.dim), np.float32)
        vectors[:, :3] = pixels[:, 0, 0, :]
        return vectors

    def reconstruction_errors(self, pixels: npt.NDArray[np.uint8]) -> None:
        return None


def embed_by(
    model: EmbeddingModel,
    catalog: Catalog,
    store: EmbeddingStore,
    shard_size: int = 1024,
    decoded: Mapping[bytes, images.U8Image] | None = None,
) -> EmbedReport:
    """Embed all photos of a catalog by a model."""
    embedder = Embedder(model, store, ImageLimits(), decoded=decoded)
    return embed(model.name, lambda: nullcontext(embedder), catalog, store, shard_size=shard_size)


class Shop:
    """A catalog with one engine, taken through the real stages with the color model."""

    def __init__(self, root: Path) -> None:
        self.config = Config.model_validate(
            {
                "name": "shop",
                "root": str(root),
                "source": {"type": "sample"},
                "images": {"min_side": 1},
                "engines": {ENGINE: {"type": "pretrained", "weights": "random"}},
            }
        )
        self.folder = self.config.folder
        self.limits = ImageLimits()
        self.catalog = Catalog(self.folder, create=True)
        self.engine = Engine(ENGINE, self.config)
        self.model = self.use_model("weights")

    def use_model(self, weights: str, **content: object) -> ModelFolder:
        """Publish a model folder with the configured settings, and make it the one in use."""
        recipe = models.recipe(self.config.engines[ENGINE])
        content = {
            "recipe": recipe,
            "embedding": {"type": "pretrained"},
            "dim": 3,
            "weights": weights,
            **content,
        }
        store = self.engine.models
        name = digest(content)
        with publish_folder(store.folder / name, content) as aside:
            (aside / WEIGHTS).write_text(weights)
        self.model = store.use(store.open(name))
        return self.model

    def offer(self, items: Mapping[str, Sequence[Color]]) -> IngestReport:
        """Ingest items, each with its photos' colors, as the whole of the source."""
        offers = [
            SourceItem(
                key,
                key.title(),
                "",
                tuple(SourcePhoto(f"{key}-{c}.png", data=png(c)) for c in colors),
            )
            for key, colors in items.items()
        ]
        return ingest(ListSource(offers), self.catalog, self.limits)

    def embed(self, shard_size: int = 4) -> EmbedReport:
        store = self.engine.embeddings(self.model.fingerprint)
        return embed_by(ColorModel(), self.catalog, store, shard_size)

    def index(self, keep: int = 2) -> Build:
        """Build the index, and publish it; `keep` publications stay."""
        settings = self.config.index.model_copy(update={"keep_publications": keep})
        config = self.config.model_copy(update={"index": settings})
        build = self.build_only()
        publish.publish(Workspace(config, self.catalog), partial(judge, config))
        return build

    def build_only(self) -> Build:
        """Build the index, and publish nothing."""
        vectors, builds = self.engine.embeddings(self.model.fingerprint), self.engine.builds
        return build_index(ENGINE, self.model, self.catalog, vectors, builds, self.config.index)

    def build(self, items: Mapping[str, Sequence[Color]], keep: int = 2) -> Build:
        """All stages."""
        self.offer(items)
        self.embed()
        return self.index(keep)

    def searcher(self) -> EngineSearcher:
        return open_engine(self.config, ENGINE)

    def id_of(self, key: str) -> int:
        item = self.catalog.item_by_key(key)
        assert item is not None
        return item.id


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """An empty catalog; queries by photo load the color model instead of a network."""

    def load(name: str, folder: ModelFolder, **_: object) -> EmbeddingModel:
        return ColorModel(name, fingerprint=folder.fingerprint)

    monkeypatch.setattr(models, "load", load)
    made = Shop(tmp_path)
    yield made
    made.catalog.close()


def offer_only(catalog: Catalog, *keys: str) -> int:
    """End an ingest that was offered these keys; return how many items it removed."""
    with Look(catalog) as look, catalog.transaction():
        for _ in look.differing(SourceItem(key, "", "", ()) for key in keys):
            pass
        return look.finish()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too: relative path → content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}
