"""One named embedding model of a catalog: its settings, and what it has made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import models
from pipeline.artifacts import sweep
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.pixel_files import PixelFolder
from pipeline.config import AutoencoderSettings, Config, DerivedSettings, source_of
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import NotBuiltError, QueryError, StaleIndexError
from pipeline.images import ImageLimits
from pipeline.index.builds import Build, BuildStore
from pipeline.models.store import ModelFolder, ModelStore
from pipeline.progress import SILENT, Progress

if TYPE_CHECKING:  # queries do without what embeds and indexes; methods import it
    from pipeline.embeddings.embed import EmbedReport
    from pipeline.embeddings.shards import Embedder


@dataclass(frozen=True)
class Engine:
    """One named embedding model of a catalog, and what it has made: `<catalog>/<engine>/`."""

    name: str
    config: Config

    @property
    def settings(self) -> models.EngineSettings:
        """Its entry under `engines`."""
        return self.config.engines[self.name]

    @property
    def folder(self) -> Path:
        """Where everything it makes is kept."""
        return self.config.folder / self.name

    @property
    def models(self) -> ModelStore:
        """Its models."""
        return ModelStore(self.folder / "model")

    @property
    def builds(self) -> BuildStore:
        """Its indexes."""
        return BuildStore(self.folder)

    @property
    def embedding_folders(self) -> list[Path]:
        """A folder of vectors for each model that has embedded photos."""
        return sorted((self.folder / "embeddings").glob("*"))

    def embeddings(self, fingerprint: str) -> EmbeddingStore:
        """Return its vectors by the model with this fingerprint."""
        return EmbeddingStore(self.folder / "embeddings" / fingerprint, self.builds.segments)

    @property
    def source(self) -> Engine | None:
        """The engine whose vectors it is made of, or taught by, if there is one."""
        name = source_of(self.settings)
        return None if name is None else Engine(name, self.config)

    def recipe(self, *, read_file: bool = True) -> dict[str, Any]:
        """Return what decides its model's weights and vectors, as `models.recipe` does."""
        return models.recipe(self.settings, self.config.engines, read_file=read_file)

    def matches_settings(self, model: ModelFolder) -> bool:
        """Whether a model was made by the settings of now."""
        return model.is_made_by(self.recipe(read_file=False))

    @property
    def model(self) -> ModelFolder:
        """The model in use.

        Raises:
            NotBuiltError: there is none, or other settings than those of now made it.
        """
        model = self.models.current()
        if model is None:
            raise NotBuiltError("no model yet", where=self.folder, hint="run `imgsearch train`")
        if not self.matches_settings(model):
            raise NotBuiltError(
                f"made with other settings than engines.{self.name} has now",
                where=model.path,
                hint="run `imgsearch train`",
            )
        if self.is_derived and model.embedding["source"] != self.source_model.fingerprint:
            raise NotBuiltError(
                f"made of vectors by another model than {self.source_model.path.name}",
                where=model.path,
                hint="run `imgsearch train`",
            )
        return model

    @property
    def source_model(self) -> ModelFolder:
        """The model in use of its source; it has one."""
        assert self.source is not None  # noqa: S101
        return self.source.model

    def current_build(self) -> Build:
        """Return the index that was made last.

        Raises:
            NotBuiltError: there is none yet.
        """
        build = self.builds.current()
        if build is None:
            hint = "run `imgsearch build`"
            raise NotBuiltError("no index here yet", where=self.folder, hint=hint)
        return build

    def model_of(self, build: Build) -> ModelFolder:
        """Return the model that made a build's vectors, whatever the settings are now.

        Raises:
            StaleIndexError: it is gone, or has become another one.
        """
        model = self.models.get(build.manifest["model"])
        if model and model.fingerprint == build.fingerprint:
            return model
        now = model.fingerprint if model else "no longer there"
        raise StaleIndexError(
            f"made by model {build.fingerprint}, the model of {self.name} is {now}",
            where=build.path,
            hint="run `imgsearch build`",
        )

    # --- the stages ------------------------------------------------------------------------------

    @property
    def source_vectors(self) -> EmbeddingStore:
        """Its source's vectors, by the model in use; it has a source."""
        assert self.source is not None  # noqa: S101
        return self.source.embeddings(self.source_model.fingerprint)

    @property
    def is_trained(self) -> bool:
        """Whether its model is trained on the catalog, and not fetched."""
        return isinstance(self.settings, AutoencoderSettings) or self.is_derived

    @property
    def is_derived(self) -> bool:
        """Whether its vectors are made of another engine's, and not of photos."""
        return isinstance(self.settings, DerivedSettings)

    def embed(self, catalog: Catalog, progress: Progress = SILENT) -> EmbedReport:
        """Give every available photo of the catalog its vector; those that have one keep it.

        Raises:
            NotBuiltError: there is no model yet.
            WeightsError: the model's vectors are not finite.
            NoRoomError: the disk is too small for the vectors that are missing.
            RunnerError: the machines of the runner cannot do it.
        """
        from pipeline.embeddings.embed import EmbedReport, count_missing, embed
        from pipeline.embeddings.runners import open_runner
        from pipeline.index.build import describe
        from pipeline.index.parent import find_parent
        from pipeline.models.runtimes import missing_runtime, runtime_of

        if self.is_derived:
            return self._project(catalog, progress)
        folder = self.model
        store = self.embeddings(folder.fingerprint)
        description = describe(self.name, folder, self.config.index)
        items = find_parent(catalog, self.builds, store, description).changed
        missing = count_missing(catalog, store, items)
        if not missing:
            report = EmbedReport(catalog.photo_count(), 0, 0)  # without loading the model
        else:
            self._check_room(missing, folder.dim, progress)
            if fault := missing_runtime(folder):
                progress.note(f"{self.name}: {fault}; embedding by {runtime_of(folder)}")
            report = embed(
                self.name,
                self.open_embedder,
                catalog,
                store,
                open_runner(self.config.runner),
                shard_size=self.config.embedding.shard_size,
                items=items,
                progress=progress,
            )
        self._decoded(folder).remove()
        return report

    @contextmanager
    def open_embedder(self) -> Iterator[Embedder]:
        """Load the model: `with engine.open_embedder() as embedder: embedder.embed_shard(photos)`.

        Raises:
            NotBuiltError: there is no model yet.
            DamagedArtifactError: its files are not what was published.
        """
        from pipeline.embeddings.shards import Embedder

        folder, settings = self.model, self.config.embedding
        with closing(self._decoded(folder)) as decoded:
            yield Embedder(
                models.load_on_gpu(self.name, folder) or models.load(self.name, folder),
                self.embeddings(folder.fingerprint),
                image_limits(self.config),
                settings.batch_size,
                settings.decoders,
                decoded,
            )

    def _decoded(self, folder: ModelFolder) -> PixelFolder:
        """The photos that training has decoded."""
        return PixelFolder(self.models.folder, folder.input_size, folder.embedding["resize"])

    def _project(self, catalog: Catalog, progress: Progress) -> EmbedReport:
        """Make its vectors of its source's."""
        from pipeline.derived.embed import embed_projected
        from pipeline.embeddings.embed import count_missing
        from pipeline.index.build import describe
        from pipeline.index.parent import find_parent
        from pipeline.models.projection import read_projection

        model = self.model
        store = self.embeddings(model.fingerprint)
        description = describe(self.name, model, self.config.index)
        items = find_parent(catalog, self.builds, store, description).changed
        self._check_room(count_missing(catalog, store, items), model.dim, progress)
        return embed_projected(
            self.name,
            read_projection(model),
            catalog,
            self.source_vectors,
            store,
            shard_size=self.config.embedding.shard_size,
            items=items,
            progress=progress,
        )

    def _check_room(self, photos: int, dim: int, progress: Progress) -> None:
        """Compare the disk with what new vectors take: in shards, and then in a segment as well."""
        from pipeline.index.room import check_disk
        from pipeline.index.sizes import index_size

        size = index_size(self.config.index.type, photos, dim, self.config.index.recall)
        name = f"{self.name}: embedding and indexing"
        check_disk(name, self.folder, size.vectors + size.disk, progress.note)

    def build_index(self, catalog: Catalog, progress: Progress = SILENT) -> Build:
        """Write the index of the photos that have a vector; it answers once it is published.

        Raises:
            NotBuiltError: there is no model, or no photo with a vector.
        """
        from pipeline.index.build import build_index

        vectors = self.embeddings(self.model.fingerprint)
        return build_index(
            self.name, self.model, catalog, vectors, self.builds, self.config.index, progress
        )

    def sweep(self) -> None:
        """Remove what killed runs left unfinished."""
        places = (
            *(self.folder, self.models.folder, self.builds.folder, self.builds.segments.folder),
            *self.embedding_folders,
        )
        for folder in places:
            sweep(folder)


def get_engine(config: Config, name: str) -> Engine:
    """Return an engine by its name.

    Raises:
        QueryError: the configuration has no such engine.
    """
    if name not in config.engines:
        raise QueryError(
            f"unknown engine {name!r}", hint=f"the configuration has {', '.join(config.engines)}"
        )
    return Engine(name, config)


def image_limits(config: Config) -> ImageLimits:
    """Return what counts as an acceptable photo."""
    return ImageLimits(**config.images.model_dump())
