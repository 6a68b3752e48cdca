"""Queries of any kind → the vectors that an index is searched with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Catalog, State
from pipeline.engine import Engine, image_limits
from pipeline.errors import NoLookError, PipelineError, QueryError, RejectedImage
from pipeline.images import Auto, Region, U8Image
from pipeline.index.base import F32Matrix, VectorIndex
from pipeline.index.builds import Build
from pipeline.models.base import EmbeddingModel
from pipeline.models.store import ModelFolder
from pipeline.search.loaded_models import LoadedModel
from pipeline.search.query import (
    EncodedPhoto,
    EncodedQuery,
    F32Vector,
    Item,
    Query,
    Text,
    describe,
    read_photo,
)
from pipeline.search.ranking import QueryVectors
from pipeline.search.word_hits import WordRanking, look_items, trimmed_mean

MIN_HELD_OUT = 30  # photos held out in training; with fewer nothing is called out of distribution


class PreparedPhoto(NamedTuple):
    """The pixels that the model takes of a photo, or of a region of it."""

    pixels: U8Image
    region: Region | None = None


PreparedQuery = EncodedQuery | PreparedPhoto | PipelineError


class QueryEncoder:
    """Encodes the queries of one engine, in two steps, so that photos are decoded in parallel."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        model_folder: ModelFolder,
        build: Build,
        index: VectorIndex,
        loaded: LoadedModel,
    ) -> None:
        self.engine, self._catalog = engine, catalog
        self._model_folder, self._build, self._index = model_folder, build, index
        self._limits = image_limits(engine.config)
        self._loaded = loaded

    @property
    def model(self) -> EmbeddingModel:
        """The model that made the vectors, loaded once, when a photo first needs it."""
        return self._loaded.model

    @property
    def is_normalized(self) -> bool:
        """Whether vectors have unit length."""
        return self._model_folder.is_normalized

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self._model_folder.dim

    def prepare(
        self,
        query: Query,
        region: Region | Auto | None = None,
        look: WordRanking | None = None,
    ) -> PreparedQuery:
        """Take a query up to where the model is needed; runs on several threads at once.

        With `look`, words are what the items look like that have them.
        """
        try:
            if region is not None and isinstance(query, Item | Text | np.ndarray):
                message = f"a region is a part of a photo, and {describe(query)} is none"
                raise QueryError(message, hint="search with a photo, or without a region")
            if isinstance(query, Item):
                return EncodedQuery(QueryVectors(self.vectors_of(query.id), (query.id,)))
            if isinstance(query, Text):
                return self._text(query.words, look)
            if isinstance(query, EncodedPhoto):
                return query.queries[self.engine.name]
            if isinstance(query, np.ndarray):
                return EncodedQuery(QueryVectors(self._vector(query)[np.newaxis]))
            if isinstance(query, int | np.integer):
                raise QueryError(f"{query!r} is no query; search with an item as Item({query!r})")
            # Before a model is loaded for it.
            photo, used = read_photo(query, self._limits, region)
            return PreparedPhoto(self.model.prepare(photo), used)
        except (QueryError, RejectedImage) as error:
            return error

    def encode(self, prepared: Sequence[PreparedQuery]) -> list[EncodedQuery | PipelineError]:
        """Turn the pixels among prepared queries into vectors, all in one batch."""
        photos = [query for query in prepared if isinstance(query, PreparedPhoto)]
        if not photos:
            return [query for query in prepared if not isinstance(query, PreparedPhoto)]
        pixels = np.stack([photo.pixels for photo in photos])
        columns = (*self._loaded.encode(pixels), self._ood_percentiles(pixels), photos)
        encoded = (self._photo(*row) for row in zip(*columns, strict=True))
        return [next(encoded) if isinstance(query, PreparedPhoto) else query for query in prepared]

    def _photo(
        self, vector: F32Vector, rounding: float, percentile: float | None, photo: PreparedPhoto
    ) -> EncodedQuery | QueryError:
        """Take a photo's vector for a query, unless it has no direction and so no neighbors."""
        if self.is_normalized and not vector.any():
            return QueryError(
                f"{self.engine.name} sees nothing in the photo: its vector is zero, and all photos"
                " are equally far from it",
                hint="search with another photo, or with another engine",
            )
        query = QueryVectors(vector[np.newaxis])
        return EncodedQuery(query, percentile, rounding, photo.region)

    def _ood_percentiles(self, photos: npt.NDArray[np.uint8]) -> Sequence[float | None]:
        """How far out of distribution these photos are, in percentiles of the held-out photos'."""
        held_out = self._held_out_errors
        errors = self.model.reconstruction_errors(photos) if len(held_out) else None
        if errors is None:
            return [None] * len(photos)
        # By the measure under which a photo is further out.
        ranks = [np.searchsorted(*measure) for measure in zip(held_out.T, errors.T, strict=True)]
        return [100.0 * rank / len(held_out) for rank in np.max(ranks, axis=0).tolist()]

    @cached_property
    def _held_out_errors(self) -> npt.NDArray[np.float32]:
        """(n, 2) float32: errors of photos held out in training; none if off, or if too few."""
        errors = self._model_folder.reconstruction_errors()
        is_used = self.engine.config.search.out_of_distribution and len(errors) >= MIN_HELD_OUT
        return errors if is_used else errors[:0]

    def vectors_of(self, item: int) -> F32Matrix:
        """Return the vectors of an item's photos: (m, dim) float32.

        Raises:
            QueryError: it is not in the index.
        """
        rows = self._build.rows_of(item)
        if not len(rows):
            message = f"item {item} is not in the index of {self.engine.name}"
            raise QueryError(message, hint=self._why_not_indexed(item))
        return self._index.vectors(rows)

    def _text(self, words: str, look: WordRanking | None) -> EncodedQuery:
        # What encodes words, if the model has it and the settings still want it.
        has_tower = getattr(self.engine.settings, "text", None) is not None
        tower = self._loaded.text_tower if has_tower else None
        if tower is not None:
            return EncodedQuery(QueryVectors(tower.encode([words])), is_calibrated=False)
        if look is None:
            message = f"{self.engine.name} cannot search with words"
            raise NoLookError(
                message, hint="search with look=True (--look): as what has them looks"
            )
        ids = self._build.ids
        shown = ids[np.isin(ids[:, 1], look_items(look.find(words)))]
        if not len(shown):
            raise NoLookError(f"no item that may be found has words of {words!r}")
        _, first = np.unique(shown[:, 1], return_index=True)
        mean = trimmed_mean(self._index.vectors(shown[first, 0]))
        if self.is_normalized:
            mean /= np.linalg.norm(mean) or 1
        return EncodedQuery(QueryVectors(mean[np.newaxis]))

    def _why_not_indexed(self, item: int) -> str:
        record = self._catalog.item(item)
        if record is None:
            return "`imgsearch query` shows ids"
        if record.state in (State.AVAILABLE, State.PENDING):
            return f"it is {record.state}: run `imgsearch build`"
        return f"{record.state}: {record.reason}"

    def _vector(self, vector: npt.NDArray[Any]) -> F32Vector:
        vector = np.asarray(vector, np.float32)
        dim = self._build.manifest["dim"]
        if vector.shape != (dim,) or not np.isfinite(vector).all():
            raise QueryError(
                f"a query vector of {self.engine.name} is {dim} finite numbers, this is an array of"
                f" shape {vector.shape}"
            )
        return vector
