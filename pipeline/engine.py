"""One named embedding model of a catalog: its settings, and what it has made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import models
from pipeline.artifacts import sweep
from pipeline.catalog.catalog import Catalog
from pipeline.config import AutoencoderSettings, Config, DerivedSettings, source_of
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import NotBuiltError, QueryError, StaleIndexError
from pipeline.images import ImageLimits
from pipeline.index.builds import Build, BuildStore
from pipeline.models.store import ModelFolder, ModelStore
from pipeline.progress import SILENT, Progress


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

    def build_index(self, catalog: Catalog, progress: Progress = SILENT) -> Build:
        """Write the index of the photos that have a vector; it answers once it is published.

        Raises:
            NotBuiltError: there is no model, or no photo with a vector.
        """
        from pipeline.index.build import build_index  # queries do without it

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
