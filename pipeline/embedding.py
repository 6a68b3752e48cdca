"""Give photos their vectors: by a network, or made of another engine's vectors."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from functools import partial

from pipeline import models
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.pixel_files import PixelFolder
from pipeline.derived.embed import embed_projected
from pipeline.embeddings.embed import EmbedReport, count_missing, embed
from pipeline.embeddings.runners import open_runner
from pipeline.embeddings.shards import Embedder
from pipeline.embeddings.store import EmbeddingStore
from pipeline.engine import Engine, image_limits
from pipeline.index.build import describe
from pipeline.index.parent import find_parent
from pipeline.index.room import check_disk
from pipeline.index.sizes import index_size
from pipeline.models.projection import read_projection
from pipeline.models.runtimes import missing_runtime, runtime_of
from pipeline.models.store import ModelFolder
from pipeline.progress import SILENT, Progress


def embed_photos(engine: Engine, catalog: Catalog, progress: Progress = SILENT) -> EmbedReport:
    """Give every available photo of the catalog its vector; those that have one keep it.

        embed_photos(engine, catalog).embedded

    Raises:
        NotBuiltError: there is no model yet.
        WeightsError: the model's vectors are not finite.
        NoRoomError: the disk is too small for the vectors that are missing.
        RunnerError: the machines of the runner cannot do it.
    """
    model = engine.model
    store = engine.embeddings(model.fingerprint)
    description = describe(engine.name, model, engine.config.index)
    items = find_parent(catalog, engine.builds, store, description).changed
    missing = count_missing(catalog, store, items)
    if missing:
        _check_room(engine, missing, model.dim, progress)
    if engine.is_derived:
        return embed_projected(
            engine.name,
            read_projection(model),
            catalog,
            engine.source_vectors,
            store,
            shard_size=engine.config.embedding.shard_size,
            items=items,
            progress=progress,
        )
    report = EmbedReport(catalog.photo_count(), 0, 0)  # without loading the model
    if missing:
        report = _encode(engine, model, catalog, store, items, progress)
    _decoded(engine, model).remove()
    return report


@contextmanager
def open_embedder(engine: Engine) -> Iterator[Embedder]:
    """Load an engine's model, to embed shards of photos with it.

        with open_embedder(engine) as embedder: ...

    Raises:
        NotBuiltError: there is no model yet.
        DamagedArtifactError: its files are not what was published.
    """
    model, settings = engine.model, engine.config.embedding
    with closing(_decoded(engine, model)) as decoded:
        yield Embedder(
            models.load_on_gpu(engine.name, model) or models.load(engine.name, model),
            engine.embeddings(model.fingerprint),
            image_limits(engine.config),
            settings.batch_size,
            settings.decoders,
            decoded,
        )


def _encode(
    engine: Engine,
    model: ModelFolder,
    catalog: Catalog,
    store: EmbeddingStore,
    items: Collection[int] | None,
    progress: Progress,
) -> EmbedReport:
    """Let the runner encode the photos that have no vector."""
    if fault := missing_runtime(model):
        progress.note(f"{engine.name}: {fault}; embedding by {runtime_of(model)}")
    return embed(
        engine.name,
        partial(open_embedder, engine),
        catalog,
        store,
        open_runner(engine.config.runner),
        shard_size=engine.config.embedding.shard_size,
        items=items,
        progress=progress,
    )


def _decoded(engine: Engine, model: ModelFolder) -> PixelFolder:
    """The photos that training has decoded."""
    return PixelFolder(engine.models.folder, model.input_size, model.embedding["resize"])


def _check_room(engine: Engine, photos: int, dim: int, progress: Progress) -> None:
    """Compare the disk with what new vectors take: in shards, and then in a segment as well."""
    settings = engine.config.index
    size = index_size(settings.type, photos, dim, settings.recall)
    name = f"{engine.name}: embedding and indexing"
    check_disk(name, engine.folder, size.vectors + size.disk, progress.note)
