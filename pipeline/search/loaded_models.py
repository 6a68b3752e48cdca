"""Models that encode queries: each is loaded once, and is asked once for those made of it too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from pipeline import models
from pipeline.models.base import EmbeddingModel, F32Matrix, U8Batch
from pipeline.models.onnx_file import TextTower
from pipeline.models.projection import ProjectedModel, source_of
from pipeline.models.runtimes.base import max_rounding
from pipeline.models.store import ModelFolder


class Encoded(NamedTuple):
    """Vectors of photos."""

    vectors: F32Matrix
    """(n, dim) float32."""
    rounding: Sequence[float]
    """How far, in Euclidean distance, runtimes may put each photo from its vector here."""


class LoadedModel:
    """A model, loaded when a photo first needs it; it may serve several threads."""

    def __init__(self, engine: str, folder: ModelFolder, source: LoadedModel | None) -> None:
        self._engine, self._folder, self._source = engine, folder, source
        self._model: EmbeddingModel | None = None
        self._text_tower: TextTower | None = None
        self._load_lock, self._encode_lock = Lock(), Lock()
        self._is_source = False  # of another one: then both are asked for the same photos
        self._last: tuple[U8Batch, Encoded] | None = None
        if source is not None:
            source._is_source = True

    @property
    def model(self) -> EmbeddingModel:
        """The model itself; what is made of another one holds that, loaded once."""
        with self._load_lock:
            if self._model is None:
                self._model = self._load()
            return self._model

    @property
    def text_tower(self) -> TextTower | None:
        """What encodes words into vectors beside those of photos; None if the model has none."""
        with self._load_lock:
            if self._text_tower is None:
                self._text_tower = models.load_text_tower(self._folder)
            return self._text_tower

    def encode(self, pixels: U8Batch) -> Encoded:
        """Encode (n, height, width, 3) uint8 pixels; for all engines made of it only once."""
        if not self._is_source:
            return self._encode(pixels)
        with self._encode_lock:
            if self._last is None or not np.array_equal(self._last[0], pixels):
                self._last = pixels, self._encode(pixels)
            return self._last[1]

    def _load(self) -> EmbeddingModel:
        if self._source is not None:
            return ProjectedModel(self._engine, self._folder, self._source.model)
        return models.load(self._engine, self._folder, for_queries=True)

    def _encode(self, pixels: U8Batch) -> Encoded:
        if self._source is None:
            vectors = self.model.encode(pixels)
            return Encoded(vectors, [max_rounding(vector) for vector in vectors])
        assert isinstance(self.model, ProjectedModel)  # noqa: S101
        projection, (vectors, rounding) = self.model.projection, self._source.encode(pixels)
        return Encoded(projection.project(vectors), projection.rounding(vectors, rounding))


def load_once(engine: str, folder: ModelFolder, loaded: dict[Path, Any]) -> LoadedModel:
    """Return the model of an engine, which is loaded when it is first needed.

    `loaded` are those that there are already, by their folders: what is made of one of them asks
    that one, and this one and its sources are added.

        load_once("small", folder, opened.loaded).encode(pixels)
    """
    if folder.path not in loaded:
        source = source_of(folder)
        of = None if source is None else load_once(source.engine, source, loaded)
        loaded[folder.path] = LoadedModel(engine, folder, of)
    model: LoadedModel = loaded[folder.path]
    return model
